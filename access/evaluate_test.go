package access_test

import (
	"net/netip"
	"testing"

	"weft/access"
	"weft/targets"
	"weft/vnet"
)

const (
	netA vnet.ID = "11111111-1111-1111-1111-111111111111"
	netB vnet.ID = "22222222-2222-2222-2222-222222222222"
)

func target(id, hostname, ip string, v vnet.ID) targets.Target {
	a := &targets.Address{Addr: netip.MustParseAddr(ip), VNET: v}
	t := targets.Target{ID: targets.ID(id), Hostname: hostname}
	if a.Addr.Is4() {
		t.IPv4 = a
	} else {
		t.IPv6 = a
	}
	return t
}

func onHost(port uint16, p targets.Protocol, hostnames ...string) targets.Criteria {
	return targets.Criteria{Attributes: map[string][]string{"hostname": hostnames}, Port: port, Protocol: p}
}

func ssh(users ...string) *access.SSHRules { return &access.SSHRules{Usernames: users} }

func compile(tb testing.TB, in access.Input) *access.Snapshot {
	tb.Helper()
	s, err := access.Compile(in)
	if err != nil {
		tb.Fatal(err)
	}
	for _, p := range s.Problems() {
		tb.Errorf("problem: %v", p)
	}
	return s
}

func user(email string) *access.Identity { return &access.Identity{UserID: "u-" + email, Email: email} }

func device() *access.Device {
	return &access.Device{ID: "d1", SourceIP: netip.MustParseAddr("192.0.2.7"), Country: "PT"}
}

// seedDestination is the address of the target in the seed's example.
var seedDestination = netip.MustParseAddrPort("187.26.29.249:22")

func demo() access.Input {
	return access.Input{
		Revision: 7,
		Targets:  []targets.Target{target("t1", "infra-access-target", "187.26.29.249", netA), target("t2", "other", "187.26.29.249", netB)},
		Applications: []access.Application{{
			ID: "app1", Name: "Example infrastructure app",
			Criteria: []targets.Criteria{onHost(22, targets.SSH, "Infra-Access-Target")},
			Policies: []access.Policy{{
				ID: "p1", Name: "Allow a specific email", Decision: "allow", Precedence: 1,
				Include: []access.Rule{access.EmailRule("jdoe@company.com")}, SSH: ssh("root", "ec2-user"),
			}},
		}},
	}
}

func TestEvaluate_TheSeedsExample(t *testing.T) {
	s := compile(t, demo())
	at := seedDestination
	tests := []struct {
		name   string
		query  access.Query
		reason access.Reason
	}{
		{"the flow", access.Query{Identity: user("jdoe@company.com"), Device: device(), VNET: netA, Destination: at, Transport: targets.TransportTCP}, access.Allowed},
		{"a granted login", access.Query{Identity: user("JDoe@Company.com"), Device: device(), VNET: netA, Destination: at, Transport: targets.TransportTCP, Login: "root"}, access.Allowed},
		{"another login", access.Query{Identity: user("jdoe@company.com"), Device: device(), VNET: netA, Destination: at, Transport: targets.TransportTCP, Login: "Root"}, access.LoginNotPermitted},
		{"another user", access.Query{Identity: user("eve@company.com"), Device: device(), VNET: netA, Destination: at, Transport: targets.TransportTCP}, access.NoPolicy},
		{"the same address elsewhere", access.Query{Identity: user("jdoe@company.com"), Device: device(), VNET: netB, Destination: at, Transport: targets.TransportTCP}, access.NoApplication},
		{"no network", access.Query{Identity: user("jdoe@company.com"), Device: device(), Destination: at, Transport: targets.TransportTCP}, access.NoTarget},
		{"over udp", access.Query{Identity: user("jdoe@company.com"), Device: device(), VNET: netA, Destination: at, Transport: targets.TransportUDP}, access.NoApplication},
		{"no transport", access.Query{Identity: user("jdoe@company.com"), Device: device(), VNET: netA, Destination: at}, access.NoApplication},
		{"another port", access.Query{Identity: user("jdoe@company.com"), Device: device(), VNET: netA, Destination: netip.AddrPortFrom(at.Addr(), 23), Transport: targets.TransportTCP}, access.NoApplication},
		{"nobody", access.Query{Device: device(), VNET: netA, Destination: at, Transport: targets.TransportTCP}, access.IdentityUnknown},
		{"an empty identity", access.Query{Identity: &access.Identity{Email: "jdoe@company.com"}, Device: device(), VNET: netA, Destination: at, Transport: targets.TransportTCP}, access.IdentityUnknown},
		{"a revoked identity", access.Query{Identity: &access.Identity{UserID: "u", Email: "jdoe@company.com", Revoked: true}, Device: device(), VNET: netA, Destination: at, Transport: targets.TransportTCP}, access.IdentityRevoked},
		{"no device", access.Query{Identity: user("jdoe@company.com"), VNET: netA, Destination: at, Transport: targets.TransportTCP}, access.DeviceUnknown},
		{"a revoked device", access.Query{Identity: user("jdoe@company.com"), Device: &access.Device{ID: "d", Revoked: true}, VNET: netA, Destination: at, Transport: targets.TransportTCP}, access.DeviceRevoked},
		{"the zero query", access.Query{}, access.IdentityUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := access.Evaluate(s, tt.query)
			if d.Reason != tt.reason || d.Allow != (tt.reason == access.Allowed) || d.Revision != 7 {
				t.Errorf("got %v, %q at revision %d; want %q", d.Allow, d.Reason, d.Revision, tt.reason)
			}
			if d.Allow && (d.Policy == nil || d.Policy.ID != "p1" || d.Application.ID != "app1" || d.Target.ID != "t1" || d.Protocol != targets.SSH) {
				t.Errorf("attributed to %+v", d)
			}
			if d := access.Evaluate(nil, tt.query); d.Allow || d.Reason != access.NoSnapshot {
				t.Errorf("without a snapshot: %v, %q", d.Allow, d.Reason)
			}
		})
	}
}

package targets_test

import (
	"testing"

	"weft/targets"
	"weft/vnet"
)

func TestFilter_Match(t *testing.T) {
	e := targets.Entry{
		Target:   targets.Target{ID: "t1", Hostname: "do-target", IPv4: address("10.0.0.9", "a"), IPv6: address("fd00::9", "b"), Tags: map[string]string{"env": "prod"}},
		Protocol: targets.SSH, Port: 22, Usernames: []string{"alice", "root"},
	}
	tests := []struct {
		name   string
		filter targets.Filter
		want   bool
	}{
		{"everything", targets.Filter{}, true},
		{"hostname in another case", targets.Filter{Attributes: map[string][]string{"hostname": {"x", "DO-target"}}}, true},
		{"another hostname", targets.Filter{Attributes: map[string][]string{"hostname": {"do"}}}, false},
		{"two attributes", targets.Filter{Attributes: map[string][]string{"hostname": {"do-target"}, "env": {"prod"}}}, true},
		{"one of two attributes", targets.Filter{Attributes: map[string][]string{"hostname": {"do-target"}, "env": {"test"}}}, false},
		{"an attribute without values", targets.Filter{Attributes: map[string][]string{"env": nil}}, true},
		{"a username", targets.Filter{Usernames: []string{"bob", "root"}}, true},
		{"a username in another case", targets.Filter{Usernames: []string{"Root"}}, false},
		{"a protocol", targets.Filter{Protocols: []targets.Protocol{targets.TCP, targets.SSH}}, true},
		{"another protocol", targets.Filter{Protocols: []targets.Protocol{targets.TCP}}, false},
		{"a port", targets.Filter{Ports: []uint16{23, 22}}, true},
		{"another port", targets.Filter{Ports: []uint16{23}}, false},
		{"the network of the IPv4 address", targets.Filter{VNETs: []vnet.ID{"a"}}, true},
		{"the network of the IPv6 address", targets.Filter{VNETs: []vnet.ID{"c", "b"}}, true},
		{"another network", targets.Filter{VNETs: []vnet.ID{"c"}}, false},
		{"an ID", targets.Filter{IDs: []targets.ID{"t0", "t1"}}, true},
		{"another ID", targets.Filter{IDs: []targets.ID{"t0"}}, false},
		{"several fields", targets.Filter{Ports: []uint16{22}, Usernames: []string{"alice"}, IDs: []targets.ID{"t1"}}, true},
		{"one of several fields fails", targets.Filter{Ports: []uint16{22}, Usernames: []string{"alice"}, IDs: []targets.ID{"t2"}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.filter.Match(&e); got != tt.want {
				t.Errorf("got %v; want %v", got, tt.want)
			}
		})
	}
	relayed := targets.Entry{Target: e.Target, Protocol: targets.TCP, Port: 80}
	if (&targets.Filter{Usernames: []string{""}}).Match(&relayed) {
		t.Error("an entry without usernames has one")
	}
}

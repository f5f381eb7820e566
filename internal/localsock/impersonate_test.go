package localsock_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/internal/localsock"
)

// fakeThread notes what is done to the thread, and in which order.
type fakeThread struct {
	done                        []string
	impersonates, asks, reverts error
	panics                      bool
}

func (t *fakeThread) Lock()   { t.done = append(t.done, "lock") }
func (t *fakeThread) Unlock() { t.done = append(t.done, "unlock") }
func (t *fakeThread) Impersonate() error {
	t.done = append(t.done, "impersonate")
	return t.impersonates
}
func (t *fakeThread) Revert() error { t.done = append(t.done, "revert"); return t.reverts }

func (t *fakeThread) Identity() (localsock.Caller, error) {
	t.done = append(t.done, "identity")
	if t.panics {
		panic("the token is gone")
	}
	return localsock.Caller{SID: "S-1-5-21-1", Privileged: true}, t.asks
}

// TestClientOf: a thread is given back only when it is this process's own for sure.
func TestClientOf(t *testing.T) {
	fails := errors.New("no")
	for _, tt := range []struct {
		name   string
		thread *fakeThread
		want   string
		ok     bool
	}{
		{"all is well", &fakeThread{}, "lock impersonate identity revert unlock", true},
		{"impersonation fails", &fakeThread{impersonates: fails}, "lock impersonate unlock", false},
		{"the token cannot be read", &fakeThread{asks: fails}, "lock impersonate identity revert unlock", false},
		{"the thread does not turn back", &fakeThread{reverts: fails}, "lock impersonate identity revert", false},
		{"neither token nor way back", &fakeThread{asks: fails, reverts: fails}, "lock impersonate identity revert", false},
		{"a panic in between", &fakeThread{panics: true}, "lock impersonate identity", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := localsock.ClientOfForTest(tt.thread)
			if got := strings.Join(tt.thread.done, " "); got != tt.want {
				t.Errorf("done: %s; want %s", got, tt.want)
			}
			if (err == nil) != tt.ok || !tt.ok && id != (localsock.Caller{}) {
				t.Errorf("got %+v, %v", id, err)
			}
		})
	}
}

// TestToken: being in the Administrators group is not enough.
func TestToken(t *testing.T) {
	const (
		enabled = 0x4 | 0x2 | 0x1 // SE_GROUP_ENABLED, ENABLED_BY_DEFAULT, MANDATORY
		denials = 0x10
	)
	admin := func(attrs uint32) []localsock.GroupForTest {
		return []localsock.GroupForTest{{Administrators: false, Attributes: enabled}, {Administrators: true, Attributes: attrs}}
	}
	for _, tt := range []struct {
		name     string
		system   bool
		elevated bool
		groups   []localsock.GroupForTest
		want     bool
	}{
		{"an ordinary user", false, false, nil, false},
		{"the full token of an administrator", false, true, admin(enabled), true},
		{"the filtered token of the same administrator", false, false, admin(denials), false},
		{"a filtered token with every bit set", false, true, admin(enabled | denials), false},
		{"enabled and not elevated", false, false, admin(enabled), false},
		{"elevated and the group disabled", false, true, admin(0x1), false},
		{"elevated and no administrator", false, true, nil, false},
		{"LocalSystem", true, true, admin(enabled), true},
		{"LocalSystem without groups", true, false, nil, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := localsock.TokenCallerForTest("S-1-5-21-1", tt.system, tt.elevated, tt.groups)
			if diff := cmp.Diff(localsock.Caller{SID: "S-1-5-21-1", Privileged: tt.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPipeSDDL: nobody but the owner may add an instance to the pipe, and nobody comes over the network.
func TestPipeSDDL(t *testing.T) {
	for _, tt := range []struct {
		name string
		me   localsock.Caller
		want string
	}{
		{
			"LocalSystem",
			localsock.Caller{SID: "S-1-5-18", Privileged: true},
			"O:SYD:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;S-1-5-18)(A;;GA;;;BA)(A;;0x0012019b;;;AU)",
		},
		{
			"an elevated administrator",
			localsock.Caller{SID: "S-1-5-21-1", Privileged: true},
			"O:BAD:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;S-1-5-21-1)(A;;GA;;;BA)(A;;0x0012019b;;;AU)",
		},
		{
			"a user",
			localsock.Caller{SID: "S-1-5-21-1"},
			"O:S-1-5-21-1D:P(D;;GA;;;NU)(A;;GA;;;SY)(A;;GA;;;S-1-5-21-1)(A;;0x0012019b;;;BA)",
		},
	} {
		if got := localsock.PipeSDDLForTest(tt.me); got != tt.want {
			t.Errorf("%s: %s; want %s", tt.name, got, tt.want)
		}
	}
	const createInstance = 0x4
	if localsock.PipeClientAccess&createInstance != 0 {
		t.Error("clients may add instances to the pipe")
	}
	if !strings.HasPrefix(localsock.ServicePipe, `\\.\pipe\ProtectedPrefix\Administrators\`) {
		t.Errorf("the service's pipe %s can be taken by anybody", localsock.ServicePipe)
	}
}

// TestMayTalk: a client sends nothing to a server of another ordinary user.
func TestMayTalk(t *testing.T) {
	system := localsock.Caller{SID: "S-1-5-18", Privileged: true}
	alice, aliceFull := localsock.Caller{SID: "S-1-5-21-1"}, localsock.Caller{SID: "S-1-5-21-1", Privileged: true}
	bob := localsock.Caller{SID: "S-1-5-21-2"}
	for _, tt := range []struct {
		name      string
		owner, me localsock.Caller
		want      bool
	}{
		{"the service's", system, alice, true},
		{"an own one", alice, alice, true},
		{"another user's", bob, alice, false},
		{"another user's, elevated", bob, aliceFull, true},
		{"an own one, elevated", alice, aliceFull, true},
	} {
		if got := localsock.MayTalkForTest(tt.owner, tt.me); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// TestCaller_PIDDecidesNothing: processes come and go, and another may have the number of one that was.
func TestCaller_PIDDecidesNothing(t *testing.T) {
	owners := []localsock.Caller{{UID: 1000}, {UID: 0, Privileged: true}, {SID: "S-1-5-21-1"}, {SID: "S-1-5-18", Privileged: true}}
	for _, o := range owners {
		for _, c := range owners {
			var answers []string
			for _, pid := range []int{0, 1, 4711} {
				c.PID = pid
				for _, opid := range []int{0, 1, 4711} {
					o.PID = opid
					answers = append(answers, c.Account(), c.String(), map[bool]string{true: "yes", false: "no"}[c.Operates(o)],
						map[bool]string{true: "yes", false: "no"}[c.SameUser(o)])
				}
			}
			for i := range answers {
				if answers[i] != answers[i%4] {
					t.Errorf("%+v at %+v: the answer depends on a PID: %q", c, o, answers)
				}
			}
		}
	}
}

func TestValidAccount(t *testing.T) {
	for s, want := range map[string]bool{
		"0": true, "1000": true, "4294967295": true, "S-1-5-18": true, "S-1-5-21-1-2-3-1001": true,
		"": false, "01000": false, "-1": false, "+1": false, "4294967296": false, "1000/x": false, "..": false, "S-1-": false,
		"S-1-5/../x": false, "S-1-5-21-x": false, "s-1-5-18": false, "S-1-" + strings.Repeat("1", 200): false,
	} {
		if got := localsock.ValidAccount(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func FuzzValidAccount(f *testing.F) {
	for _, s := range []string{"0", "1000", "S-1-5-18", "../x", "S-1-5-\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if localsock.ValidAccount(s) && (s == "" || strings.ContainsAny(s, "/\\.:\x00 ") || len(s) > 184) {
			t.Errorf("%q would be the name of a directory", s)
		}
	})
}

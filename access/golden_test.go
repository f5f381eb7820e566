package access_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"weft/access"
	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

var update = flag.Bool("update", false, "rewrite the expected part of golden files")

// A case in testdata/policy is an archive of
//
//	policies.json       the policies of application "app1" on SSH at port 22 of hostname "web"
//	applications.json   instead: whole applications, as on the wire
//	groups.json         rule groups
//	lists.json          lists, as the snapshot has them
//	targets.json        the targets; by default "web" (t1) at 10.0.0.9 in network "net-a"
//	identity.json       who asks; device.json from what (by default a plain device)
//	queries             lines of: network address:port transport [login]
//	want                the answers, written by -update and then read with care
type goldenCase struct {
	in       access.Input
	invalid  error
	identity *access.Identity
	device   *access.Device
	queries  []string
}

type wirePolicy struct {
	ID         string
	Name       string
	Decision   string
	Precedence int
	Include    []access.Rule
	Require    []access.Rule
	Exclude    []access.Rule
	Connection struct {
		SSH *struct {
			Usernames []string
			Alias     bool `json:"allow_email_alias"`
		}
	} `json:"connection_rules"`
}

func (w wirePolicy) policy() access.Policy {
	p := access.Policy{ID: w.ID, Name: w.Name, Decision: w.Decision, Precedence: w.Precedence, Include: w.Include, Require: w.Require, Exclude: w.Exclude}
	if w.Connection.SSH != nil {
		p.SSH = &access.SSHRules{Usernames: w.Connection.SSH.Usernames, AllowEmailAlias: w.Connection.SSH.Alias}
	}
	return p
}

type wireApplication struct {
	ID       string
	Name     string
	Criteria []struct {
		Attributes map[string][]string `json:"target_attributes"`
		Port       uint16
		Protocol   targets.Protocol
	} `json:"target_criteria"`
	Policies []wirePolicy
}

func (w wireApplication) application() access.Application {
	a := access.Application{ID: w.ID, Name: w.Name}
	for _, c := range w.Criteria {
		a.Criteria = append(a.Criteria, targets.Criteria{Attributes: c.Attributes, Port: c.Port, Protocol: c.Protocol})
	}
	for _, p := range w.Policies {
		a.Policies = append(a.Policies, p.policy())
	}
	return a
}

// decode reads JSON with unknown fields refused, so that a typing error in a
// case is not a case of something else.
func decode(t *testing.T, name string, data []byte, into any) error {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err != nil && kind.Of(err) != kind.Invalid {
		t.Fatalf("%s: %v", name, err)
	}
	return err
}

func readCase(t *testing.T, a *txtar.Archive) goldenCase {
	t.Helper()
	c := goldenCase{device: &access.Device{ID: "d1", SourceIP: netip.MustParseAddr("192.0.2.7"), Country: "PT"}}
	c.in.Targets = []targets.Target{target("t1", "web", "10.0.0.9", "net-a")}
	for _, f := range a.Files {
		var err error
		switch f.Name {
		case "policies.json":
			app := wireApplication{ID: "app1", Name: "web servers"}
			err = decode(t, f.Name, f.Data, &app.Policies)
			one := app.application()
			one.Criteria = []targets.Criteria{onHost(22, targets.SSH, "web")}
			c.in.Applications = append(c.in.Applications, one)
		case "applications.json":
			var apps []wireApplication
			err = decode(t, f.Name, f.Data, &apps)
			for _, w := range apps {
				c.in.Applications = append(c.in.Applications, w.application())
			}
		case "groups.json":
			err = decode(t, f.Name, f.Data, &c.in.Groups)
		case "lists.json":
			err = decode(t, f.Name, f.Data, &c.in.Lists)
		case "targets.json":
			c.in.Targets = nil
			err = decode(t, f.Name, f.Data, &c.in.Targets)
		case "identity.json":
			err = decode(t, f.Name, f.Data, &c.identity)
		case "device.json":
			c.device = nil
			err = decode(t, f.Name, f.Data, &c.device)
		case "queries":
			c.queries = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
		case "want":
		default:
			t.Fatalf("a case has no file %q", f.Name)
		}
		if err != nil && c.invalid == nil {
			c.invalid = err
		}
	}
	return c
}

// answers is what stands in "want".
func (c *goldenCase) answers(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	if c.invalid != nil {
		return fmt.Sprintf("unreadable: %v\n", c.invalid)
	}
	for i := range c.in.Applications {
		if err := c.in.Applications[i].Validate(); err != nil {
			fmt.Fprintf(&b, "refused on write: %v\n", err)
		}
	}
	for i := range c.in.Groups {
		if err := c.in.Groups[i].Validate(); err != nil {
			fmt.Fprintf(&b, "refused on write: %v\n", err)
		}
	}
	s, err := access.Compile(c.in)
	if err != nil {
		fmt.Fprintf(&b, "not compiled: %v\n", err)
		return b.String()
	}
	for _, p := range s.Problems() {
		fmt.Fprintf(&b, "problem: %v\n", p)
	}
	for _, line := range c.queries {
		f := append(strings.Fields(line), "")
		q := access.Query{
			Identity: c.identity, Device: c.device, VNET: vnet.ID(f[0]),
			Destination: netip.MustParseAddrPort(f[1]), Transport: targets.Transport(f[2]), Login: f[3],
		}
		d := access.Evaluate(s, q)
		a := asAnswer(d)
		verdict := "deny"
		if d.Allow {
			verdict = "ALLOW"
		}
		fmt.Fprintf(&b, "%s\n\t%s %s", line, verdict, d.Reason)
		for _, n := range []struct{ label, value string }{{"target", a.Target}, {"application", a.App}, {"policy", a.Policy}} {
			if n.value != "" {
				fmt.Fprintf(&b, " %s=%s", n.label, n.value)
			}
		}
		fmt.Fprintf(&b, "\n\t%s\n", d.Message())
		if q.Login == "" {
			for _, g := range access.Grants(s, q) {
				var by []string
				for _, p := range g.Policies {
					by = append(by, p.ID)
				}
				fmt.Fprintf(&b, "\tas %s by %s\n", g.Username, strings.Join(by, ", "))
			}
		}
	}
	return b.String()
}

func TestEvaluate_Golden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "policy", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 25 {
		t.Fatalf("only %d cases", len(files))
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c := readCase(t, archive)
			got := c.answers(t)
			want := ""
			for i := range archive.Files {
				if f := &archive.Files[i]; f.Name == "want" {
					want = string(f.Data)
					f.Data = []byte(got)
				}
			}
			if diff := cmp.Diff(want, got); diff == "" {
				return
			} else if !*update {
				t.Fatalf("want (-) and got (+) differ:\n%s", diff)
			}
			if err := os.WriteFile(name, txtar.Format(archive), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
}

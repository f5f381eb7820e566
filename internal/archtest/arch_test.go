package archtest_test

import (
	"bufio"
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers orders the domain: a package may import what stands before it, never
// what stands after it or beside it.
var layers = []struct {
	folder string
	may    []string // folders of this module, beside internal
}{
	{"vnet", nil},
	{"targets", []string{"vnet"}},
	{"access", []string{"vnet", "targets"}},
	{"api", []string{"vnet", "targets", "access"}},
	{"tunnel", nil},
	{"agent", []string{"vnet", "targets", "api", "tunnel"}},
	{"control", []string{"vnet", "targets", "access", "api"}},
	{"gateway", []string{"vnet", "targets", "access", "api", "tunnel"}},
	{"connector", []string{"vnet", "targets", "api"}},
	{"probe", []string{"vnet", "targets", "api"}},
	{"cli", []string{"agent", "vnet", "targets"}},
	{"internal", nil},
}

func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	for folder, imports := range directImports(t) {
		i := slices.IndexFunc(layers, func(l struct {
			folder string
			may    []string
		},
		) bool {
			return l.folder == folder
		})
		if i < 0 {
			continue
		}
		for _, imported := range imports {
			if imported == folder || imported == "internal" || slices.Contains(layers[i].may, imported) {
				continue
			}
			t.Errorf("%s imports %s; it may import only %v and internal", folder, imported, layers[i].may)
		}
	}
}

func TestPureFoldersTouchNothing(t *testing.T) {
	t.Parallel()
	banned := []string{"net/http", "os", "os/exec", "log", "log/slog", "database/sql", "crypto/tls", "math/rand", "math/rand/v2"}
	for _, folder := range []string{"vnet", "targets", "access"} {
		for _, p := range golist(t, "-f", `{{join .Imports "\n"}}`, "./"+folder+"/...") {
			if slices.Contains(banned, p) {
				t.Errorf("%s imports %s, but it is pure", folder, p)
			}
		}
	}
}

func TestWhatEachProgramMayNotLink(t *testing.T) {
	t.Parallel()
	const (
		gvisor    = "gvisor.dev/gvisor"
		wireguard = "golang.zx2c4.com/wireguard"
		sqlite    = "modernc.org/sqlite"
		postgres  = "github.com/jackc"
		quic      = "github.com/quic-go/quic-go"
		ssh       = "golang.org/x/crypto/ssh"
	)
	for program, banned := range map[string][]string{
		"./cmd/warp-cli": {gvisor, wireguard, sqlite, postgres, quic, ssh, "weft/access", "weft/api", "weft/tunnel", "weft/control", "weft/gateway"},
		"./cmd/warp-svc": {sqlite, postgres, quic, ssh, "database/sql", "weft/control", "weft/gateway", "weft/connector", "weft/cli"},
		"./cmd/weft":     {"weft/agent", "weft/cli"},
		"./probe":        {"weft/tunnel"},
		"./connector":    {gvisor, wireguard, sqlite, postgres, "weft/tunnel"},
		"./gateway":      {sqlite, postgres, "database/sql", "github.com/spf13/cobra"},
	} {
		deps := golist(t, "-deps", "-f", "{{.ImportPath}}", program)
		for _, dep := range deps {
			for _, b := range banned {
				// UUIDs implement an interface of database/sql/driver without any
				// database; tables (warp-cli) know database/sql's null types.
				if dep == b || b != "database/sql" && strings.HasPrefix(dep, b+"/") {
					t.Errorf("%s links %s", program, dep)
				}
			}
		}
	}
}

// directImports maps each top-level folder to the folders of this module that
// its packages (tests left out) import.
func directImports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, line := range golist(t, "-f", `{{$p := .ImportPath}}{{range .Imports}}{{$p}} {{.}}{{"\n"}}{{end}}`, "./...") {
		from, to, ok := strings.Cut(line, " ")
		if !ok || !strings.HasPrefix(to, "weft/") {
			continue
		}
		f, g := folder(from), folder(to)
		if !isTestHelper(from) && !slices.Contains(found[f], g) {
			found[f] = append(found[f], g)
		}
	}
	return found
}

// isTestHelper reports packages that only tests import, such as controltest:
// they may compose what they like.
func isTestHelper(path string) bool { return strings.HasSuffix(path, "test") }

func folder(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "weft/"), "/")
	return name
}

func golist(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %v: %v\n%s", args, err, stderr.String())
	}
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		if line := strings.TrimSpace(s.Text()); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

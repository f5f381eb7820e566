package cli

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"weft/agent/localapi"
)

// programTemplate is a program with its arguments, each with placeholders in braces.
type programTemplate struct {
	argv []string
	// pkg names what to install, by system.
	pkg string
	// kubeconfig has the program run with a configuration file of its own.
	kubeconfig bool
	// launches says that the program hands over to another and ends at once: the door stays open until interrupted.
	launches bool
}

// placeholders are the words that braces may hold.
var placeholders = []string{"host", "port", "addr", "user", "target", "vnet"}

// expand fills one argument in. {{ and }} are braces; any other use of them is an error, so that a mistyped
// placeholder is not passed on.
func expand(s string, values map[string]string) (string, error) {
	var b strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		rest := s[i:]
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			b.WriteByte(rest[0])
			s = rest[2:]
		case rest[0] == '}':
			return "", usageErrorHint("write }} for a brace", "a brace is closed that was not opened: %q", s)
		default:
			word, after, ok := strings.Cut(rest[1:], "}")
			value, known := values[word]
			if !ok || !known {
				return "", usageErrorHint("known: {"+strings.Join(placeholders, "}, {")+"}; write {{ for a brace", "unknown placeholder %q", rest[:min(len(rest), len(word)+2)])
			}
			b.WriteString(value)
			s = after
		}
	}
	return b.String(), nil
}

// literal writes arguments so that expand leaves them as they are.
func literal(args []string) []string {
	braces := strings.NewReplacer("{", "{{", "}", "}}")
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = braces.Replace(a)
	}
	return out
}

// expandAll fills arguments in. One that is a placeholder without a value is left out together with the option before it,
// so that {user} needs no user.
func expandAll(args []string, values map[string]string) ([]string, error) {
	var out []string
	for i, arg := range args {
		if name, ok := strings.CutPrefix(arg, "{"); ok && strings.HasSuffix(name, "}") && slices.Contains(placeholders, strings.TrimSuffix(name, "}")) &&
			values[strings.TrimSuffix(name, "}")] == "" {
			if i > 0 && len(out) > 1 && strings.HasPrefix(args[i-1], "-") {
				out = out[:len(out)-1]
			}
			continue
		}
		s, err := expand(arg, values)
		if err != nil {
			return nil, err
		}
		// What a value brings along must not become an option.
		if strings.HasPrefix(arg, "{") && !strings.HasPrefix(arg, "{{") && strings.HasPrefix(s, "-") {
			return nil, usageError("%q would be taken for an option", s)
		}
		out = append(out, s)
	}
	return out, nil
}

// builtin returns the program for a protocol on a system; nil: there is none.
func builtin(goos, protocol string, to *connection) *programTemplate {
	switch protocol {
	case "SSH":
		// The key is known as warp-cli ssh knows it, and not by a port that is another's tomorrow.
		argv := append([]string{"ssh", "-p", "{port}"}, literal(to.identity.options())...)
		argv = append(argv, "-l", "{user}", "--", "{host}")
		return &programTemplate{argv: argv, pkg: "openssh-client"}
	case "POSTGRES":
		// Certificates and ~/.pgpass are looked up by the target's name, whatever the address.
		return &programTemplate{argv: []string{"psql", "host={target} hostaddr={host} port={port}", "-U", "{user}"}, pkg: "postgresql-client"}
	case "MYSQL":
		return &programTemplate{argv: []string{"mysql", "--protocol=TCP", "-h", "{host}", "-P", "{port}", "-u", "{user}", "-p"}, pkg: "mariadb-client or mysql-client"}
	case "REDIS":
		return &programTemplate{argv: []string{"redis-cli", "-h", "{host}", "-p", "{port}", "--user", "{user}"}, pkg: "redis-tools"}
	case "MONGODB":
		return &programTemplate{argv: []string{"mongosh", "--host", "{host}", "--port", "{port}", "-u", "{user}"}, pkg: "mongodb-mongosh"}
	case "KUBERNETES":
		return &programTemplate{argv: []string{"kubectl", "get", "nodes"}, kubeconfig: true, pkg: "kubernetes-client (kubectl)"}
	case "RDP":
		switch goos {
		case "windows":
			return &programTemplate{argv: []string{"mstsc.exe", "/v:{addr}"}, pkg: "Remote Desktop Connection"}
		case "darwin":
			return &programTemplate{argv: []string{"open", "rdp://full%20address=s:{addr}"}, launches: true, pkg: "Windows App"}
		}
		return &programTemplate{argv: []string{"xfreerdp", "/v:{addr}", "/cert:tofu"}, pkg: "freerdp2-x11 or freerdp3-x11"}
	case "VNC":
		if goos == "darwin" {
			return &programTemplate{argv: []string{"open", "vnc://{addr}"}, launches: true, pkg: "Screen Sharing"}
		}
		return &programTemplate{argv: []string{"vncviewer", "{host}::{port}"}, pkg: "tigervnc-viewer"}
	case "HTTP", "HTTPS":
		url := strings.ToLower(protocol) + "://{addr}/"
		switch goos {
		case "windows":
			return &programTemplate{argv: []string{"rundll32.exe", "url.dll,FileProtocolHandler", url}, launches: true, pkg: "a browser"}
		case "darwin":
			return &programTemplate{argv: []string{"open", url}, launches: true, pkg: "a browser"}
		}
		return &programTemplate{argv: []string{"xdg-open", url}, launches: true, pkg: "xdg-utils"}
	}
	return nil
}

// connectFile is $XDG_CONFIG_HOME/weft/connect.json.
type connectFile struct {
	SchemaVersion int                 `json:"schema_version"`
	Templates     map[string][]string `json:"templates"`
}

const maxConnectFile = 1 << 20

// parseConnectFile reads it strictly: a mistake is told before anything is run.
func parseConnectFile(data []byte) (map[string][]string, error) {
	var f connectFile
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&f); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("data after the object")
	}
	if f.SchemaVersion != localapi.SchemaVersion {
		return nil, errors.New("schema_version must be " + strconv.Itoa(localapi.SchemaVersion))
	}
	dummy := map[string]string{}
	for _, p := range placeholders {
		dummy[p] = "x"
	}
	out := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(f.Templates)) {
		argv := f.Templates[name]
		if len(argv) == 0 || argv[0] == "" || strings.ContainsAny(argv[0], "{}") {
			return nil, errors.New("template " + strconv.Quote(name) + " names no program")
		}
		if _, err := expandAll(argv, dummy); err != nil {
			return nil, errors.New("template " + strconv.Quote(name) + ": " + err.Error())
		}
		if _, twice := out[strings.ToUpper(name)]; twice {
			return nil, errors.New("template " + strconv.Quote(name) + " stands there twice")
		}
		out[strings.ToUpper(name)] = argv
	}
	return out, nil
}

// userTemplates reads the user's file; a missing one holds nothing.
func (a *app) userTemplates() (map[string][]string, error) {
	path := a.connectFilePath()
	if path == "" {
		return nil, nil
	}
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var data []byte
	if err == nil && fi.Size() > maxConnectFile {
		err = errors.New("it is too large")
	}
	if err == nil {
		data, err = os.ReadFile(path)
	}
	var t map[string][]string
	if err == nil {
		t, err = parseConnectFile(data)
	}
	if err != nil {
		return nil, usageErrorHint("mend the file, or move it away", "%s cannot be used: %v", path, err)
	}
	return t, nil
}

func (a *app) connectFilePath() string {
	dir := a.cfg.Getenv("XDG_CONFIG_HOME")
	switch {
	case filepath.IsAbs(dir):
	case runtime.GOOS == "windows":
		dir = a.cfg.Getenv("AppData")
	case a.cfg.Getenv("HOME") != "":
		dir = filepath.Join(a.cfg.Getenv("HOME"), ".config")
	}
	if !filepath.IsAbs(dir) {
		return ""
	}
	return filepath.Join(dir, "weft", "connect.json")
}

// connectTemplate chooses what to run; nil: nothing.
func (a *app) connectTemplate(to *connection, program []string, o *connectOptions) (*programTemplate, error) {
	if o.print {
		return nil, nil
	}
	if len(program) > 0 {
		if strings.ContainsAny(program[0], "{}") {
			return nil, usageError("the program itself cannot be a placeholder: %q", program[0])
		}
		return &programTemplate{argv: program, kubeconfig: to.protocol == "KUBERNETES"}, nil
	}
	users, err := a.userTemplates()
	if err != nil {
		return nil, err
	}
	name := to.protocol
	if o.template != "" {
		name = strings.ToUpper(o.template)
	}
	if argv, ok := users[name]; ok {
		return &programTemplate{argv: argv, kubeconfig: to.protocol == "KUBERNETES"}, nil
	}
	if t := builtin(runtime.GOOS, name, to); t != nil && o.unixPath == "" {
		return t, nil
	}
	switch {
	case o.template != "":
		return nil, usageErrorHint("known: a protocol, or a name in "+a.connectFilePath(), "no program is known as %q", o.template)
	case o.exec:
		return nil, usageErrorHint("name one: warp-cli target connect "+to.target+" -- PROGRAM {host} {port}", "no program is known for protocol %s", to.protocol)
	}
	return nil, nil
}

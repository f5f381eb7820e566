package server

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// hosts are the Host headers that are served: a name that no name service can
// know (RFC 6761 section 6.4), and what people give to curl --unix-socket.
var hosts = []string{"weft-agent", "local-agent.weft.invalid", "localhost"}

// tier is what a caller may do.
type tier int

const (
	reader   tier = iota // sees status, targets, VNETs and events
	operator             // changes them, and opens connections as the device's user
)

// route is one method of one path.
type route struct {
	method, path string
	tier         tier
	handle       func(http.ResponseWriter, *http.Request) error
	query        []string // the parameters it knows; others are refused
	command      string   // for hints: what does the same
}

// routeTable is the whole local API; what is not in it does not exist.
func (s *Server) routeTable() []route {
	get, post, del := http.MethodGet, http.MethodPost, http.MethodDelete
	return []route{
		{get, localapi.PathVersion, reader, s.version, nil, "version"},
		{get, localapi.PathStatus, reader, s.status, nil, "status"},
		{get, localapi.PathRegistration, reader, s.registration, nil, "registration show"},
		{post, localapi.PathRegistration, operator, s.register, nil, "registration new ENROLMENT"},
		{del, localapi.PathRegistration, operator, s.unregister, nil, "registration delete"},
		{post, localapi.PathConnect, operator, s.connect, nil, "connect"},
		{post, localapi.PathDisconnect, operator, s.disconnect, nil, "disconnect"},
		{get, localapi.PathVNET, reader, s.vnets, nil, "vnet"},
		{post, localapi.PathVNET, operator, s.selectVNET, nil, "vnet NAME"},
		{get, localapi.PathTargets, reader, s.targets, []string{"attribute", "username", "protocol", "port", "vnet", "id"}, "target list"},
		{get, localapi.PathResolve, reader, s.resolve, []string{"name", "vnet", "port"}, "target list"},
		{get, localapi.PathSSHHost, reader, s.sshHost, []string{"name", "port"}, "target list"},
		{get, localapi.PathForwards, reader, s.forwards, nil, "forward list"},
		{post, localapi.PathForwards, operator, s.addForward, nil, "forward add LISTEN TARGET"},
		{del, localapi.PathForwards, operator, s.removeForward, []string{"name"}, "forward remove NAME"},
		{post, localapi.PathDial, operator, s.dial, nil, "nc NAME PORT"},
		{get, localapi.PathEvents, reader, s.events, nil, "status"},
	}
}

func (s *Server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, rt := range s.routeTable() {
		mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) { s.run(w, r, rt) })
		methods[rt.path] = append(methods[rt.path], rt.method)
	}
	for path, allowed := range methods {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			s.writeStatus(w, r, http.StatusMethodNotAllowed, fault.New(string(kind.Invalid), "%s allows %s", path, strings.Join(allowed, ", ")))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.writeError(w, r, fault.New(string(kind.NotFound), "the local API has no such path").
			WithHint("warp-cli and warp-svc may be of different versions: compare warp-cli version"))
	})
	return mux
}

// serveHTTP turns away what can only come from a browser, then routes.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	_, origin := r.Header["Origin"]
	if origin || !slices.Contains(hosts, r.Host) {
		s.browser.Add(1)
		s.writeError(w, r, fault.New(localapi.CodePermission, "the local API does not serve browsers"))
		return
	}
	if isOver(r) {
		w.Header().Set("Connection", "close")
		s.writeError(w, r, fault.New(string(kind.Limit), "too many connections to the agent").WithHint("close some and try again"))
		return
	}
	s.mux.ServeHTTP(w, r)
}

// run checks the caller and the parameters, then answers.
func (s *Server) run(w http.ResponseWriter, r *http.Request, rt route) {
	id, err := callerOf(r)
	if err != nil {
		s.notAllowed.Add(1)
		s.writeError(w, r, fault.New(localapi.CodePermission, "the system does not say who is calling").WithCause(err))
		return
	}
	if rt.tier == operator && !id.Operates(s.cfg.Owner) {
		s.notAllowed.Add(1)
		s.log.InfoContext(r.Context(), "local API refused a caller", "path", rt.path, "caller", id)
		s.writeError(w, r, s.refusal(id, rt))
		return
	}
	if err := checkQuery(r, rt.query); err != nil {
		s.writeError(w, r, err)
		return
	}
	if err := rt.handle(w, r); err != nil {
		s.writeError(w, r, err)
	}
}

func checkQuery(r *http.Request, known []string) error {
	for k := range r.URL.Query() {
		if !slices.Contains(known, k) {
			return fault.New(string(kind.Invalid), "unknown parameter %q", clip(k))
		}
	}
	return nil
}

// clip bounds what is repeated to the caller.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}

// refusal names the caller and a command that would work.
func (s *Server) refusal(id localsock.Caller, rt route) *fault.Error {
	return fault.New(localapi.CodePermission, "%s may not do this: the agent belongs to %s", id, s.cfg.Owner).
		WithHint("run: %s", s.elevated(rt.command))
}

// elevated is the command line that does what command does with the right to do it.
func (s *Server) elevated(command string) string {
	cli := "warp-cli"
	if s.cfg.Socket != "" {
		cli += " --socket " + quote(s.cfg.Socket)
	}
	switch {
	case runtime.GOOS == "windows":
		return cli + " " + command + "   (in a terminal opened as administrator)"
	case s.cfg.Owner.Privileged:
		return "sudo " + cli + " " + command
	default:
		return fmt.Sprintf("sudo -u '#%d' %s %s", s.cfg.Owner.UID, cli, command)
	}
}

// quote makes a path safe to paste into a shell.
func quote(s string) string {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("/._-+:@\\", r):
		default:
			return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return s
}

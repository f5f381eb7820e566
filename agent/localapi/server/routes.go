package server

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
)

// hosts are the Host headers that are served: a name that no name service can
// know (RFC 6761 section 6.4), and what people give to curl --unix-socket.
var hosts = []string{"weft-agent", "local-agent.weft.invalid", "localhost"}

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
	version := reader
	if s.cfg.Version != "" {
		version |= noSession // so that a watchdog starts none
	}
	return append(s.profileRoutes(), []route{
		{get, localapi.PathVersion, version, s.version, nil, "version"},
		{get, localapi.PathStatus, reader, s.status, nil, "status"},
		{get, localapi.PathRegistration, reader, s.registration, nil, "registration show"},
		{post, localapi.PathRegistration, operator, s.register, nil, "registration new ENROLMENT"},
		{del, localapi.PathRegistration, operator, s.unregister, nil, "registration delete"},
		{post, localapi.PathConnect, operator, s.connect, nil, "connect"},
		{post, localapi.PathDisconnect, operator, s.disconnect, nil, "disconnect"},
		{get, localapi.PathVNET, reader, s.vnets, nil, "vnet"},
		{post, localapi.PathVNET, operator, s.selectVNET, nil, "vnet NAME"},
		{get, localapi.PathTargets, reader, s.targets, []string{"attribute", "username", "hostname", "protocol", "port", "vnet", "id", "ip"}, "target list"},
		{get, localapi.PathResolve, reader, s.resolve, []string{"name", "vnet", "port"}, "target list"},
		{get, localapi.PathSSHHost, reader, s.sshHost, []string{"name", "port"}, "target list"},
		{get, localapi.PathForwards, reader, s.forwards, nil, "forward list"},
		{post, localapi.PathForwards, operator, s.addForward, nil, "forward add LISTEN TARGET"},
		{del, localapi.PathForwards, operator, s.removeForward, []string{"name"}, "forward remove NAME"},
		{post, localapi.PathDial, operator, s.dial, nil, "nc NAME PORT"},
		{post, localapi.PathExplain, operator, s.explain, nil, "explain TARGET:PORT"},
		{post, localapi.PathDiag, operator, s.diag, nil, "diag"},
		{post, localapi.PathDiagBundle, operator, s.diagBundle, nil, "diag --bundle FILE"},
		{get, localapi.PathEvents, reader, s.events, []string{"targets"}, "status"},
		{get, localapi.PathFlows, operator, s.flows, []string{"vnet", "target"}, "flow list"},
		{post, localapi.PathFlowsClose, operator, s.closeFlows, nil, "flow close ID"},
		{get, localapi.PathTunnel, reader, s.tunnel, nil, "tunnel stats"},
		{post, localapi.PathTunnelRotate, operator, s.rotateKeys, nil, "tunnel rotate-keys"},
		{get, localapi.PathDevices, operator, s.devices, nil, "registration devices"},
		{get, localapi.PathDebugLog, operator, s.agentLog, []string{"follow", "level"}, "debug log"},
		{get, localapi.PathDebugConnectivity, operator, s.connectivity, nil, "debug connectivity-check"},
		{get, localapi.PathDebugNetwork, reader, s.network, nil, "debug network"},
		{get, localapi.PathDebugRuntime, admin, s.runtime, []string{"stacks"}, "debug runtime"},
		{get, localapi.PathSettings, reader, s.settings, nil, "settings list"},
		{post, localapi.PathSettings, operator, s.setSetting, nil, "settings set NAME VALUE"},
		{post, localapi.PathSettingsReset, operator, s.resetSettings, nil, "settings reset"},
		{get, localapi.PathMDM, reader, s.managed, nil, "mdm get-configs"},
		{post, localapi.PathMDMRefresh, operator, s.refreshManaged, nil, "mdm refresh"},
		{post, localapi.PathMDM, machine, s.setManaged, nil, "mdm set-config FILE"},
	}...)
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

var errOverConns = fault.New(string(kind.Limit), "too many connections to the agent").WithHint("close some and try again")

// serveHTTP turns away what is no plain request of a local program, then routes.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	c, counted := r.Context().Value(connKey{}).(*countedConn)
	if counted {
		c.inHead.Store(false)
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if isOver(r) {
		w.Header().Set("Connection", "close")
		s.writeError(w, r, errOverConns)
		return
	}
	id, err := callerOf(r)
	if err != nil {
		s.notAllowed.Add(1)
		w.Header().Set("Connection", "close")
		s.writeError(w, r, fault.New(localapi.CodePermission, "the system does not say who is calling").WithCause(err))
		return
	}
	if counted && !c.settle(id.String()) {
		s.overConns.Add(1)
		w.Header().Set("Connection", "close")
		s.writeError(w, r, errOverConns)
		return
	}
	if err := s.checkForm(w, r); err != nil {
		w.Header().Set("Connection", "close")
		s.writeError(w, r, err)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// run checks the caller and the parameters, then answers.
func (s *Server) run(w http.ResponseWriter, r *http.Request, rt route) {
	q, release, err := s.prepare(r, rt)
	if err != nil {
		s.writeError(w, r, err)
		return
	}
	defer release()
	if err := rt.handle(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, q))); err != nil {
		s.writeError(w, r, err)
	}
}

// prepare finds out who calls, whether they may, and the agent that answers. Every request passes here, whichever
// connection it came on and whatever came before it.
func (s *Server) prepare(r *http.Request, rt route) (q request, release func(), err error) {
	id, err := callerOf(r)
	if err != nil {
		s.notAllowed.Add(1)
		return q, nil, fault.New(localapi.CodePermission, "the system does not say who is calling").WithCause(err)
	}
	a, err := askedBy(r.Header)
	if err != nil {
		return q, nil, err
	}
	if q.account, err = s.admit(id, a, rt); err != nil {
		if fault.From(err).Code == localapi.CodePermission {
			s.notAllowed.Add(1)
			s.log.InfoContext(r.Context(), "local API refused a caller", "method", rt.method, "path", rt.path, "caller", id, "for_user", fault.Clip(a.forUser))
		}
		return q, nil, err
	}
	if err := checkQuery(r, rt.query); err != nil {
		return q, nil, err
	}
	if a.forUser != "" && q.account != id.Account() {
		s.log.InfoContext(r.Context(), "administrator acts for a user",
			"method", rt.method, "path", rt.path, "caller", id, "user_id", q.account, "profile", a.profile)
	}
	if rt.tier&noSession != 0 {
		return q, func() {}, nil
	}
	q.agent, release, err = s.sessions.Session(r.Context(), q.account, a.profile)
	return q, release, err
}

func checkQuery(r *http.Request, known []string) error {
	for k := range r.URL.Query() {
		if !slices.Contains(known, k) {
			return fault.New(string(kind.Invalid), "unknown parameter %q", fault.Clip(k))
		}
	}
	return nil
}

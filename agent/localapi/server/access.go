package server

import (
	"context"
	"fmt"
	"net/http"
	"os/user"
	"runtime"
	"strings"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
	"weft/internal/localsock"
)

// The tiers of a route: what a caller must be allowed to do. Each account reads and operates the sessions of its own
// and no other's.
const (
	reader   tier = iota // sees the status, targets, VNETs and events of its own session
	operator             // changes them, and opens connections as the session's user
	admin                // the whole service: sessions of others, its settings, its log, its end
	machine              // what an administrator of the machine has set, even for a service that is the user's own

	// noSession is added to the tier of a route whose handler asks for no agent: none is started for it.
	noSession tier = 1 << 4
)

// tier is what a caller must be allowed to do.
type tier int

func (t tier) level() tier { return t &^ noSession }

func (t tier) String() string {
	return [...]string{"reader", "operator", "admin", "machine"}[t.level()]
}

// Sessions are the agents of a service, by account and profile. Accounts are localsock.Caller.Account's: a uid or SID
// that the server has found the caller to be entitled to. Errors are *fault.Error, *kind.Error, or internal.
type Sessions interface {
	// Session returns the agent of an account's profile; an empty profile means the current one. The agent stays
	// until release is called.
	Session(ctx context.Context, account, profile string) (a Agent, release func(), err error)
	Profiles(ctx context.Context, account string) (localapi.ProfileList, error)
	AddProfile(ctx context.Context, account, name string) (localapi.ProfileList, error)
	UseProfile(ctx context.Context, account, name string) (localapi.ProfileList, error)
	RemoveProfile(ctx context.Context, account, name string, force bool) (localapi.ProfileList, error)
	RenameProfile(ctx context.Context, account, name, newName string) (localapi.ProfileList, error)
	// Sessions lists those of all accounts.
	Sessions() localapi.SessionList
}

// request is what the checks found out about a request, for its handler.
type request struct {
	agent   Agent  // nil for a route without one
	account string // whose session it is about
}

type requestKey struct{}

func requestOf(r *http.Request) request {
	q, _ := r.Context().Value(requestKey{}).(request)
	return q
}

// agent returns the agent that serves r. Routes with noSession have none.
func (s *Server) agent(r *http.Request) Agent { return requestOf(r).agent }

// account returns whose session r is about.
func (s *Server) account(r *http.Request) string { return requestOf(r).account }

// asked is what a request says about the session it wants.
type asked struct{ profile, forUser string }

// askedBy reads the headers. One that is there twice is refused: two readers might choose differently.
func askedBy(h http.Header) (a asked, err error) {
	for _, f := range []struct {
		name string
		to   *string
	}{{localapi.HeaderProfile, &a.profile}, {localapi.HeaderForUser, &a.forUser}} {
		v := h[f.name]
		if len(v) > 1 || len(v) == 1 && v[0] == "" {
			return a, fault.New(string(kind.Invalid), "the header %s must be there once, with a value", f.name)
		}
		if len(v) == 1 {
			*f.to = v[0]
		}
	}
	if a.profile != "" && !localapi.ValidProfileName(a.profile) {
		return a, fault.New(string(kind.Invalid), "%q is no name of a profile", fault.Clip(a.profile))
	}
	return a, nil
}

// admit decides whether id may use rt, and on whose session. The rules, in this order:
//
//  1. A route of the tier admin is for callers that operate the service itself: privileged ones, and the account that
//     an unprivileged service runs as. A privileged service delegates to nobody. One of the tier machine is for
//     privileged callers alone.
//  2. Without a user named, the session is the caller's own; a privileged caller may name another.
//  3. An unprivileged service has sessions of its own account only, so that a privileged caller must name that one.
//  4. The session of a privileged service's own account is for privileged callers: on Windows an account's filtered
//     and full token share one SID. Only the version is told, which is how a service that counts as privileged looks
//     whether it answers.
func (s *Server) admit(id localsock.Caller, a asked, rt route) (account string, err error) {
	owner := s.cfg.Owner
	whole := rt.tier.level() >= admin
	if rt.tier.level() == machine && !id.Privileged {
		line, where := s.asAdministrator(rt.command)
		return "", fault.New(localapi.CodePermission, "%s may not do this: it is for administrators of this machine", id).
			WithHint("run: %s%s", line, where).WithCommand(line)
	}
	if whole && !id.Operates(owner) {
		return "", s.refusal(id, a, rt, fmt.Sprintf("%s may not do this: it is for administrators of the agent", id))
	}
	account = id.Account()
	if a.forUser != "" && a.forUser != account {
		if !id.Privileged { // before the name is looked up: who exists is not told
			return "", s.refusal(id, a, rt, fmt.Sprintf("%s may not act for another user", id))
		}
		if account, err = lookupAccount(a.forUser); err != nil {
			return "", err
		}
	}
	switch own := account == owner.Account(); {
	case whole && a.forUser == "":
		return owner.Account(), nil
	case !owner.Privileged && !own:
		return "", s.refusal(id, a, rt, fmt.Sprintf("%s may not do this: the agent belongs to %s", id, owner))
	case owner.Privileged && own && !id.Privileged && (rt.path != localapi.PathVersion || rt.tier&noSession == 0):
		return "", s.refusal(id, a, rt, fmt.Sprintf("%s may not do this without elevation: the agent is a privileged service", id))
	}
	return account, nil
}

// lookupAccount turns what an administrator typed into an account: a uid, a SID, or the name of a user.
func lookupAccount(name string) (string, error) {
	if localsock.ValidAccount(name) {
		return name, nil
	}
	u, err := user.Lookup(name)
	if err != nil || !localsock.ValidAccount(u.Uid) {
		return "", fault.New(string(kind.NotFound), "this system has no user %q", fault.Clip(name)).
			WithHint("give the user's uid (Windows: SID)").WithCause(err)
	}
	return u.Uid, nil
}

// refusal says who was refused what, and the command line that would be allowed.
func (s *Server) refusal(id localsock.Caller, a asked, rt route, message string) *fault.Error {
	line, where := s.elevated(id, a, rt.command)
	return fault.New(localapi.CodePermission, "%s", message).WithHint("run: %s%s", line, where).WithCommand(line)
}

// elevated is the command line that does what command does with the right to do it, and where to run it.
func (s *Server) elevated(id localsock.Caller, a asked, command string) (line, where string) {
	owner := s.cfg.Owner
	line = "warp-cli"
	if s.cfg.Socket != "" {
		line += " --socket " + quote(s.cfg.Socket)
	}
	forUser := a.forUser
	if id.Privileged && !owner.Privileged {
		forUser = owner.Account()
	}
	if forUser != "" {
		line += " --for-user " + quote(forUser)
	}
	if a.profile != "" {
		line += " --profile " + quote(a.profile)
	}
	line += " " + command
	switch {
	case id.Privileged:
		return line, ""
	case runtime.GOOS == "windows":
		return line, "   (in a terminal opened as administrator)"
	case owner.Privileged || a.forUser != "":
		return "sudo " + line, ""
	default:
		return fmt.Sprintf("sudo -u '#%d' %s", owner.UID, line), ""
	}
}

// asAdministrator is the command line that does what command does with every right.
func (s *Server) asAdministrator(command string) (line, where string) {
	line = "warp-cli"
	if s.cfg.Socket != "" {
		line += " --socket " + quote(s.cfg.Socket)
	}
	if runtime.GOOS == "windows" {
		return line + " " + command, "   (in a terminal opened as administrator)"
	}
	return "sudo " + line + " " + command, ""
}

// quote makes a word safe to paste into a shell.
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

// single are the sessions of a server with one agent: that of the server's own account.
type single struct {
	agent Agent
	owner string
}

var _ Sessions = single{}

func (o single) Session(_ context.Context, account, profile string) (Agent, func(), error) {
	if account != o.owner {
		return nil, nil, fault.New(localapi.CodePermission, "this agent serves its own account only")
	}
	if profile != "" && profile != localapi.DefaultProfile {
		return nil, nil, fault.New(localapi.CodeUnknownProfile, "there is no profile %s", profile)
	}
	return o.agent, func() {}, nil
}

var errOneProfile = fault.New(string(kind.Invalid), "this agent has one profile only")

func (o single) Profiles(_ context.Context, account string) (localapi.ProfileList, error) {
	if account != o.owner {
		return localapi.ProfileList{}, fault.New(localapi.CodePermission, "this agent serves its own account only")
	}
	return localapi.ProfileList{
		SchemaVersion: localapi.SchemaVersion,
		Profiles:      []localapi.Profile{ProfileOf(o.agent, localapi.DefaultProfile, true)},
	}, nil
}

func (single) AddProfile(context.Context, string, string) (localapi.ProfileList, error) {
	return localapi.ProfileList{}, errOneProfile
}

func (single) UseProfile(context.Context, string, string) (localapi.ProfileList, error) {
	return localapi.ProfileList{}, errOneProfile
}

func (single) RemoveProfile(context.Context, string, string, bool) (localapi.ProfileList, error) {
	return localapi.ProfileList{}, errOneProfile
}

func (single) RenameProfile(context.Context, string, string, string) (localapi.ProfileList, error) {
	return localapi.ProfileList{}, errOneProfile
}

func (o single) Sessions() localapi.SessionList {
	st := o.agent.Status()
	return localapi.SessionList{
		SchemaVersion: localapi.SchemaVersion, MaxSessions: 1,
		Sessions: []localapi.Session{{UserID: o.owner, Profile: localapi.DefaultProfile, State: st.State, Email: st.Email}},
	}
}

package server

import (
	"net/http"

	"weft/agent/fault"
	"weft/agent/localapi"
	"weft/internal/kind"
)

// profileRoutes are the routes of profiles and sessions: no agent is started for them.
func (s *Server) profileRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, localapi.PathProfiles, reader | noSession, s.profiles, []string{"name"}, "profile list"},
		{post, localapi.PathProfiles, operator | noSession, s.addProfile, nil, "profile add NAME"},
		{post, localapi.PathProfileUse, operator | noSession, s.useProfile, nil, "profile use NAME"},
		{post, localapi.PathProfileRemove, operator | noSession, s.removeProfile, nil, "profile remove NAME"},
		{post, localapi.PathProfileRename, operator | noSession, s.renameProfile, nil, "profile rename NAME NEW"},
		{get, localapi.PathSessions, admin | noSession, s.listSessions, nil, "profile sessions"},
	}
}

// ProfileOf describes the profile that a serves. The proxy's address is that of the status.
func ProfileOf(a Agent, name string, current bool) localapi.Profile {
	st := a.Status()
	p := localapi.Profile{Name: name, Current: current, State: st.State, Email: st.Email, ProxyAddress: st.ProxyAddress}
	if st.VNET != nil {
		p.VNET = st.VNET.Name
	}
	if reg, err := a.Registration(); err == nil {
		p.AccountID, p.ControlURL, p.Email = reg.AccountID, reg.ControlURL, reg.Email
	}
	return p
}

func (s *Server) profiles(w http.ResponseWriter, r *http.Request) error {
	list, err := s.sessions.Profiles(r.Context(), s.account(r))
	if err != nil {
		return err
	}
	if r.URL.Query().Has("name") {
		name := r.URL.Query().Get("name")
		if err := checkProfileName(name); err != nil {
			return err
		}
		for _, p := range list.Profiles {
			if p.Name == name {
				list.Profiles = []localapi.Profile{p}
				return s.write(w, r, list)
			}
		}
		return fault.New(localapi.CodeUnknownProfile, "there is no profile %s", name)
	}
	return s.write(w, r, list)
}

func (s *Server) addProfile(w http.ResponseWriter, r *http.Request) error {
	var in localapi.NewProfile
	if err := s.readProfile(w, r, &in, &in.Name); err != nil {
		return err
	}
	return s.answerProfiles(w, r)(s.sessions.AddProfile(r.Context(), s.account(r), in.Name))
}

func (s *Server) useProfile(w http.ResponseWriter, r *http.Request) error {
	var in localapi.UseProfile
	if err := s.readProfile(w, r, &in, &in.Name); err != nil {
		return err
	}
	return s.answerProfiles(w, r)(s.sessions.UseProfile(r.Context(), s.account(r), in.Name))
}

func (s *Server) removeProfile(w http.ResponseWriter, r *http.Request) error {
	var in localapi.RemoveProfile
	if err := s.readProfile(w, r, &in, &in.Name); err != nil {
		return err
	}
	return s.answerProfiles(w, r)(s.sessions.RemoveProfile(r.Context(), s.account(r), in.Name, in.Force))
}

func (s *Server) renameProfile(w http.ResponseWriter, r *http.Request) error {
	var in localapi.RenameProfile
	if err := s.readProfile(w, r, &in, &in.Name, &in.NewName); err != nil {
		return err
	}
	return s.answerProfiles(w, r)(s.sessions.RenameProfile(r.Context(), s.account(r), in.Name, in.NewName))
}

func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) error {
	return s.write(w, r, s.sessions.Sessions())
}

// readProfile reads a body and checks the names in it.
func (s *Server) readProfile(w http.ResponseWriter, r *http.Request, in any, names ...*string) error {
	if err := s.read(w, r, in); err != nil {
		return err
	}
	for _, name := range names {
		if err := checkProfileName(*name); err != nil {
			return err
		}
	}
	return nil
}

func checkProfileName(name string) error {
	if !localapi.ValidProfileName(name) {
		return fault.New(string(kind.Invalid), "%q is no name of a profile", fault.Clip(name)).
			WithHint("1 to %d lower-case letters, digits, '-', '_' and '.', beginning with a letter or digit", localapi.MaxProfileName)
	}
	return nil
}

// answerProfiles writes what a change of profiles returned.
func (s *Server) answerProfiles(w http.ResponseWriter, r *http.Request) func(localapi.ProfileList, error) error {
	return func(list localapi.ProfileList, err error) error {
		if err != nil {
			return err
		}
		return s.write(w, r, list)
	}
}

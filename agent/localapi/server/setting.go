package server

import (
	"context"
	"net/http"

	"weft/agent/fault"
	"weft/agent/localapi"
)

// SettingAgent is what of the agent can be set, by its user or its administrator.
type SettingAgent interface {
	Settings() localapi.SettingList
	SetSetting(ctx context.Context, name, value string) (localapi.SettingList, error)
	// ResetSettings forgets the user's choice; no name means all.
	ResetSettings(ctx context.Context, names []string) (localapi.SettingList, error)
	ManagedConfig() localapi.ManagedConfig
	RefreshManaged(ctx context.Context) (localapi.ManagedConfig, error)
	// SetManagedConfig is called for privileged callers only.
	SetManagedConfig(ctx context.Context, content string) (localapi.ManagedConfig, error)
}

// maxNames bounds a list of settings to reset.
const maxNames = 64

func (s *Server) settings(w http.ResponseWriter, r *http.Request) error {
	return s.write(w, r, s.agent(r).Settings())
}

func (s *Server) setSetting(w http.ResponseWriter, r *http.Request) error {
	var in localapi.SetSetting
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	l, err := s.agent(r).SetSetting(r.Context(), in.Name, in.Value)
	if err != nil {
		return err
	}
	return s.write(w, r, l)
}

func (s *Server) resetSettings(w http.ResponseWriter, r *http.Request) error {
	var in localapi.ResetSettings
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	if len(in.Names) > maxNames {
		return fault.New("invalid", "more than %d names", maxNames)
	}
	l, err := s.agent(r).ResetSettings(r.Context(), in.Names)
	if err != nil {
		return err
	}
	return s.write(w, r, l)
}

func (s *Server) managed(w http.ResponseWriter, r *http.Request) error {
	return s.write(w, r, s.agent(r).ManagedConfig())
}

func (s *Server) refreshManaged(w http.ResponseWriter, r *http.Request) error {
	var in struct{}
	if err := s.read(w, r, &in); err != nil {
		return err
	}
	c, err := s.agent(r).RefreshManaged(r.Context())
	if err != nil {
		return err
	}
	return s.write(w, r, c)
}

func (s *Server) setManaged(w http.ResponseWriter, r *http.Request) error {
	var in localapi.SetManagedConfig
	if err := s.readUpTo(w, r, &in, maxManagedBytes); err != nil {
		return err
	}
	c, err := s.agent(r).SetManagedConfig(r.Context(), in.Content)
	if err != nil {
		return err
	}
	return s.write(w, r, c)
}

// maxManagedBytes is a settings file of 64 KiB in JSON's longest form.
const maxManagedBytes = 6*64<<10 + 1024

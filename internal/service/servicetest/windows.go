package servicetest

import (
	"slices"
	"time"

	"weft/internal/service"
)

// fakeSCM keeps one service.
type fakeSCM struct{ f *Fake }

var _ service.SCM = fakeSCM{}

func (m fakeSCM) change(line string, do func(*state)) error {
	s, err := m.f.load()
	if err != nil {
		return err
	}
	if s.Line == "" {
		return service.ErrNotInstalled
	}
	do(&s)
	s.Log = append(s.Log, line)
	return m.f.save(s)
}

// Set implements service.SCM.
func (m fakeSCM) Set(c service.SCMConfig) (bool, error) {
	s, err := m.f.load()
	if err != nil || s.Line == c.CommandLine && s.Delays == len(c.RestartDelays) {
		return false, err
	}
	s.Line, s.Delays, s.Enabled = c.CommandLine, len(c.RestartDelays), []string{"service"}
	s.Log = append(s.Log, "set")
	return true, m.f.save(s)
}

// Delete implements service.SCM.
func (m fakeSCM) Delete() error { return m.change("delete", func(s *state) { *s = state{Log: s.Log} }) }

// Start implements service.SCM.
func (m fakeSCM) Start() error {
	return m.change("start", func(s *state) { s.Active, s.Failed = []string{"service"}, false })
}

// Stop implements service.SCM.
func (m fakeSCM) Stop() error { return m.change("stop", func(s *state) { s.Active = nil }) }

// Query implements service.SCM.
func (m fakeSCM) Query() (service.SCMState, error) {
	s, err := m.f.load()
	if err != nil {
		return service.SCMState{}, err
	}
	if s.Line == "" {
		return service.SCMState{}, service.ErrNotInstalled
	}
	q := service.SCMState{State: service.Stopped, Automatic: slices.Contains(s.Enabled, "service"), CommandLine: s.Line}
	switch {
	case s.Failed:
		q.State, q.ExitCode = service.Failed, 3
	case len(s.Active) > 0:
		q.State, q.PID = service.Running, PID
	}
	return q, nil
}

// fakeRunKey keeps one value and one process.
type fakeRunKey struct{ f *Fake }

var _ service.RunKey = fakeRunKey{}

// Get implements service.RunKey.
func (k fakeRunKey) Get() (string, error) {
	s, err := k.f.load()
	return s.Line, err
}

// Set implements service.RunKey.
func (k fakeRunKey) Set(line string) error {
	s, err := k.f.load()
	if err != nil {
		return err
	}
	s.Line, s.Log = line, append(s.Log, "set")
	return k.f.save(s)
}

// Delete implements service.RunKey.
func (k fakeRunKey) Delete() error { return fakeSCM(k).Delete() }

// Find implements service.RunKey.
func (k fakeRunKey) Find(string) (int, time.Time, error) {
	s, err := k.f.load()
	if err != nil || len(s.Active) == 0 {
		return 0, time.Time{}, err
	}
	return PID, Since, nil
}

// Start implements service.RunKey.
func (k fakeRunKey) Start(string) error { return fakeSCM(k).Start() }

// Stop implements service.RunKey.
func (k fakeRunKey) Stop() (bool, error) { return true, fakeSCM(k).Stop() }

package sshproxy

import "strconv"

// Tap is shown what goes over one session channel, each thing before it is passed on. Its methods must be quick and must not
// keep the slices; those for data may be called at once with each other, one call for each direction.
type Tap interface {
	Env(name, value string)
	PTY(term string, columns, rows int, modes []byte)
	Resize(columns, rows int)
	// Start is called before the target is asked: with EventShell, EventExec and the command, or EventSubsystem and its name.
	// When it ends the context of Serve before it returns, nothing is started.
	Start(event, what string)
	Input(b []byte)
	Output(b []byte)
	Stderr(b []byte)
	Signal(name string)
	Break()
	Exit(status uint32)
	ExitSignal(name string)
	Close()
}

// noTap is the Tap of a session that nobody looks at.
type noTap struct{}

var _ Tap = noTap{}

func (noTap) Env(string, string)           {}
func (noTap) PTY(string, int, int, []byte) {}
func (noTap) Resize(int, int)              {}
func (noTap) Start(string, string)         {}
func (noTap) Input([]byte)                 {}
func (noTap) Output([]byte)                {}
func (noTap) Stderr([]byte)                {}
func (noTap) Signal(string)                {}
func (noTap) Break()                       {}
func (noTap) Exit(uint32)                  {}
func (noTap) ExitSignal(string)            {}
func (noTap) Close()                       {}

// tap asks for the Tap of a channel.
func (x *session) tap(id string) Tap {
	if x.s.Tap == nil {
		return noTap{}
	}
	n, err := strconv.Atoi(id)
	if err != nil { // channels are numbered
		return noTap{}
	}
	if t := x.s.Tap(n); t != nil {
		return t
	}
	return noTap{}
}

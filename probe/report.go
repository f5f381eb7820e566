package probe

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Class says which part failed.
type Class string

// The classes and their exit codes.
const (
	Control     Class = "control"     // 10
	Handshake   Class = "handshake"   // 11
	Denied      Class = "denied"      // 12
	Refused     Class = "refused"     // 13
	Timeout     Class = "timeout"     // 14
	Unreachable Class = "unreachable" // 15
)

var exitCodes = map[Class]int{Control: 10, Handshake: 11, Denied: 12, Refused: 13, Timeout: 14, Unreachable: 15}

// Failure is the first step that did not hold.
type Failure struct {
	Class Class
	Err   error
}

// Error names the class and the cause.
func (f *Failure) Error() string { return string(f.Class) + ": " + f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// ExitCode is the exit status of weft probe.
func (f *Failure) ExitCode() int { return exitCodes[f.Class] }

// Step is one step of a probe.
type Step struct {
	Name  string  `json:"name"`
	OK    bool    `json:"ok"`
	MS    float64 `json:"ms"`
	Error string  `json:"error,omitempty"`
}

// Report says what a probe saw. Its JSON form is stable.
type Report struct {
	Started  time.Time `json:"started"`
	OK       bool      `json:"ok"`
	Class    Class     `json:"class,omitempty"` // of the failure
	ExitCode int       `json:"exit_code"`
	Target   string    `json:"target"`
	VNET     string    `json:"vnet"`
	Gateway  string    `json:"gateway"`
	Endpoint string    `json:"endpoint"`
	Steps    []Step    `json:"steps"`
}

// step starts the clock; the returned function records the outcome and returns it.
func (r *Report) step(name string) func(error) error {
	start := time.Now()
	return func(err error) error {
		s := Step{Name: name, OK: err == nil, MS: float64(time.Since(start).Microseconds()) / 1000}
		if err != nil {
			s.Error = err.Error()
		}
		r.Steps = append(r.Steps, s)
		return err
	}
}

func (r *Report) finish(err error) {
	r.OK = err == nil
	if f, ok := errors.AsType[*Failure](err); ok {
		r.Class, r.ExitCode = f.Class, f.ExitCode()
	} else if err != nil {
		r.ExitCode = 1
	}
}

// Text is the report for people: a line per step.
func (r *Report) Text() string {
	var b strings.Builder
	for _, s := range r.Steps {
		if s.OK {
			fmt.Fprintf(&b, "%-10s ok    %9.3f ms\n", s.Name, s.MS)
		} else {
			fmt.Fprintf(&b, "%-10s FAIL  %9.3f ms  %s\n", s.Name, s.MS, s.Error)
		}
	}
	verdict := "ok"
	if !r.OK {
		verdict = "failed: " + string(r.Class)
	}
	fmt.Fprintf(&b, "%s in %s through gateway %s (%s): %s\n", r.Target, orUnknown(r.VNET), orUnknown(r.Gateway), orUnknown(r.Endpoint), verdict)
	return b.String()
}

func orUnknown(s string) string {
	if s == "" {
		return "?"
	}
	return s
}

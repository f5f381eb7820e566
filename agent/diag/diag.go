// Package diag looks for what is wrong with an agent and its surroundings: some thirty checks, each with a stable code that
// names the fault it looks for, evidence, a remedy and a severity.
//
// The checks run at the same time, each within a deadline; one that needs another waits for it and is skipped when that
// fails, so that of a chain of faults only the first is told. Nothing is sent to anybody but the account's own control
// plane and gateways. What the checks see of the system is in Env, what they see of the agent in Subject; tests
// replace both.
package diag

import (
	"context"
	"fmt"
	"sync"
	"time"

	"weft/agent/localapi"
)

// checkDeadline bounds one check, and grace how long one that ignores its context is waited for.
const (
	checkDeadline = 12 * time.Second
	grace         = time.Second
)

// Finding is what a check found.
type Finding struct {
	State    string
	Evidence string
	Remedy   string // instead of the check's own
}

func ok(format string, args ...any) Finding {
	return Finding{State: localapi.CheckOK, Evidence: fmt.Sprintf(format, args...)}
}

func failed(format string, args ...any) Finding {
	return Finding{State: localapi.CheckFailed, Evidence: fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) Finding {
	return Finding{State: localapi.CheckSkipped, Evidence: fmt.Sprintf(format, args...)}
}

func unknown(format string, args ...any) Finding {
	return Finding{State: localapi.CheckUnknown, Evidence: fmt.Sprintf(format, args...)}
}

// Check looks for one fault.
type Check struct {
	Code     string
	Title    string // what is right when it passes
	Severity string
	Remedy   string
	// Needs are codes of checks that come before it in the list; it is skipped unless they passed.
	Needs []string
	run   func(context.Context, *inquiry) Finding
}

// inquiry is one run of the checks, with what several of them need and only one must find out.
type inquiry struct {
	env     *Env
	subject *Subject

	controlOnce sync.Once
	controlSeen controlFacts
	silenceOnce sync.Once
	silenceSeen silenceFacts
	echoOnce    sync.Once
	echoSeen    echoFacts
}

// Run runs the checks with the codes, nil meaning all, and those that they need. An unknown code has no check.
func Run(ctx context.Context, env Env, subject Subject, codes []string) []localapi.DiagCheck {
	env = env.withDefaults()
	q := &inquiry{env: &env, subject: &subject}
	checks := selected(Checks(), codes)
	type result struct {
		done  chan struct{}
		check localapi.DiagCheck
	}
	results := make(map[string]*result, len(checks))
	for i := range checks {
		results[checks[i].Code] = &result{done: make(chan struct{})}
	}
	for i := range checks {
		c, r := &checks[i], results[checks[i].Code]
		go func() {
			defer close(r.done)
			for _, need := range c.Needs {
				n := results[need]
				<-n.done
				if n.check.State != localapi.CheckOK {
					r.check = c.report(skipped("%s did not pass", need), 0)
					return
				}
			}
			r.check = c.perform(ctx, q)
		}()
	}
	out := make([]localapi.DiagCheck, 0, len(checks))
	for i := range checks {
		r := results[checks[i].Code]
		<-r.done
		out = append(out, r.check)
	}
	return out
}

// perform runs a check; one that does not come back is left to itself.
func (c *Check) perform(ctx context.Context, q *inquiry) localapi.DiagCheck {
	ctx, cancel := context.WithTimeout(ctx, checkDeadline)
	defer cancel()
	begin := time.Now()
	found := make(chan Finding, 1)
	go func() { found <- c.run(ctx, q) }()
	timer := time.NewTimer(checkDeadline + grace)
	defer timer.Stop()
	select {
	case f := <-found:
		return c.report(f, time.Since(begin))
	case <-timer.C:
		return c.report(unknown("the check did not end within %s", checkDeadline+grace), time.Since(begin))
	}
}

func (c *Check) report(f Finding, took time.Duration) localapi.DiagCheck {
	r := localapi.DiagCheck{
		Code: c.Code, Title: c.Title, Severity: c.Severity, State: f.State, Evidence: f.Evidence,
		TookMS: float64(took.Microseconds()) / 1000,
	}
	if f.State == localapi.CheckFailed {
		r.Remedy = c.Remedy
		if f.Remedy != "" {
			r.Remedy = f.Remedy
		}
	}
	return r
}

// selected keeps the checks with the codes, and what they need.
func selected(all []Check, codes []string) []Check {
	if len(codes) == 0 {
		return all
	}
	want := make(map[string]bool, len(codes))
	for _, c := range codes {
		want[c] = true
	}
	for i := len(all) - 1; i >= 0; i-- {
		if want[all[i].Code] {
			for _, n := range all[i].Needs {
				want[n] = true
			}
		}
	}
	var out []Check
	for _, c := range all {
		if want[c.Code] {
			out = append(out, c)
		}
	}
	return out
}

// Known reports whether there is a check with a code.
func Known(code string) bool {
	for _, c := range Checks() {
		if c.Code == code {
			return true
		}
	}
	return false
}

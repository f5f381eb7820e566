package access

import (
	"time"

	"weft/internal/kind"
)

// The bounds of MaxSessionDuration and IdleTimeout.
const (
	MinSessionLimit = time.Second
	MaxSessionLimit = 366 * 24 * time.Hour
)

// ParseSessionLimit reads a duration of a policy in the spelling of the management API: a sequence of decimal numbers,
// each with a unit, as in "8h", "15m" or "1h30m" (Go's time.ParseDuration).
func ParseSessionLimit(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, kind.New(kind.Invalid, `%q is not a duration: it is written as "8h", "15m" or "1h30m"`, clip(text))
	}
	return d, checkSessionLimit(d)
}

func checkSessionLimit(d time.Duration) error {
	if d < MinSessionLimit || d > MaxSessionLimit {
		return kind.New(kind.Invalid, "a limit of a session is %s to %s, not %s", MinSessionLimit, MaxSessionLimit, d).
			WithHint("to set no limit leave it out")
	}
	return nil
}

// validateLimits checks both limits; zero is none.
func (s *SSHRules) validateLimits() error {
	if s.MaxSessionDuration != 0 {
		if err := checkSessionLimit(s.MaxSessionDuration); err != nil {
			return at("/max_session_duration", err)
		}
	}
	if s.IdleTimeout != 0 {
		return at("/idle_timeout", checkSessionLimit(s.IdleTimeout))
	}
	return nil
}

package render

import (
	"fmt"
	"io"
	"strings"

	"weft/agent/localapi"
)

// Diag writes what failed, with evidence and remedy, then the rest, a line per check.
func Diag(w io.Writer, st Style, r *localapi.DiagReport) error {
	var b strings.Builder
	counts := map[string]int{}
	for i := range r.Checks {
		c := &r.Checks[i]
		counts[c.State]++
		fmt.Fprintf(&b, "%s  %-22s  %s\n", checkMark(st, c), Clean(c.Code), Clean(c.Evidence))
		if c.State == localapi.CheckFailed {
			fmt.Fprintf(&b, "%35s%s\n", "", Clean(c.Remedy))
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %d failed, %d skipped, %d unknown\n", counts[localapi.CheckOK], counts[localapi.CheckFailed],
		counts[localapi.CheckSkipped], counts[localapi.CheckUnknown])
	if r.Verdict == "" {
		fmt.Fprintf(&b, "%s\n", st.Green("Nothing is wrong."))
	} else {
		fmt.Fprintf(&b, "%s %s\n", st.Red("Begin with:"), Clean(r.Verdict))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// checkMark is the state of a check, nine characters wide.
func checkMark(st Style, c *localapi.DiagCheck) string {
	switch c.State {
	case localapi.CheckOK:
		return st.Green("ok       ")
	case localapi.CheckFailed:
		text := fmt.Sprintf("%-9s", Clean(c.Severity))
		if c.Severity == localapi.SeverityError {
			return st.Red(text)
		}
		return st.Yellow(text)
	default:
		return fmt.Sprintf("%-9s", Clean(c.State))
	}
}

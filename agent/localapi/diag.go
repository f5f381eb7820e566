package localapi

import "time"

// Paths of diagnostics.
const (
	PathDiag       = "/v1/diag"        // POST DiagRequest -> DiagReport; it may take some seconds
	PathDiagBundle = "/v1/diag/bundle" // POST BundleRequest -> Bundle
)

// DiagRequest selects checks by code; none: all.
type DiagRequest struct {
	Checks []string `json:"checks"`
}

// The states of a check.
const (
	CheckOK      = "ok"
	CheckFailed  = "failed"
	CheckSkipped = "skipped" // a check that it needs failed, or it makes no sense here
	CheckUnknown = "unknown" // it did not end in time, or this system does not tell
)

// The severities of a check that fails.
const (
	SeverityError   = "error"   // something does not work
	SeverityWarning = "warning" // something may not work, or soon will not
	SeverityInfo    = "info"    // something happened that explains what was seen
)

// DiagCheck is one check. Its code names the fault that it looks for.
type DiagCheck struct {
	Code     string  `json:"code"`
	Title    string  `json:"title"`
	Severity string  `json:"severity"`
	State    string  `json:"state"`
	Evidence string  `json:"evidence"`
	Remedy   string  `json:"remedy"` // when it failed
	TookMS   float64 `json:"took_ms"`
}

// DiagReport is what the checks found. Their order is that of cause and effect, so the first failure is where to begin.
type DiagReport struct {
	SchemaVersion int         `json:"schema_version"`
	Time          time.Time   `json:"time"`
	Version       string      `json:"version"`
	OS            string      `json:"os"`
	Arch          string      `json:"arch"`
	Verdict       string      `json:"verdict"` // the code to begin with; empty: nothing is wrong
	Checks        []DiagCheck `json:"checks"`
}

// Judge sets the verdict: the first error, else the first warning, else the first info that failed.
func (r *DiagReport) Judge() {
	r.Verdict = ""
	for _, severity := range []string{SeverityError, SeverityWarning, SeverityInfo} {
		for i := range r.Checks {
			if c := &r.Checks[i]; c.State == CheckFailed && c.Severity == severity {
				r.Verdict = c.Code
				return
			}
		}
	}
}

// BundleRequest asks for what a support bundle holds.
type BundleRequest struct {
	// Anonymize also replaces e-mail addresses, host names and addresses, each always by the same.
	Anonymize bool `json:"anonymize"`
}

// Bundle is the contents of a support bundle: redacted, and never sent anywhere by Weft.
type Bundle struct {
	SchemaVersion int          `json:"schema_version"`
	Files         []BundleFile `json:"files"`
}

// BundleFile is one file of a bundle.
type BundleFile struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

package render

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"weft/agent/localapi"
)

// timeLayout is how a moment is written for people, in their own time zone.
const timeLayout = "2006-01-02 15:04:05 MST"

// lines collects "Label: value" lines.
type lines struct{ b strings.Builder }

// add writes a line unless value is empty.
func (l *lines) add(label, value string) {
	if value != "" {
		l.b.WriteString(label + ": " + value + "\n")
	}
}

// Status writes the state of the agent in the words that people know.
func Status(w io.Writer, st Style, s *localapi.Status) error {
	var l lines
	l.add("Status update", stateText(st, s))
	if s.State == localapi.Connected && s.Reason == localapi.ReasonHealthy {
		l.add("Network", "healthy")
	} else {
		l.add("Reason", ReasonText(s))
	}
	if s.ResumeAt != nil {
		l.add("Connects again", moment(*s.ResumeAt))
	}
	l.add("Since", moment(s.Since))
	l.add("Profile", Clean(s.Profile))
	l.add("Account", Clean(s.Email))
	if s.VNET != nil {
		l.add("Virtual network", Clean(s.VNET.Name))
	}
	l.add("Gateway", gateway(s))
	l.add("Proxy", Clean(s.ProxyAddress))
	l.add("Targets", freshness(s))
	if s.KeyStore == "file" {
		l.add("Key store", "file (no usable keyring; only the agent's user may read it)")
	}
	for _, n := range s.Notices {
		l.add("Notice", strings.TrimSpace(moment(n.Time)+" "+Clean(n.Message)))
	}
	if s.State == localapi.Unregistered {
		l.add("Next", "warp-cli registration new ENROLMENT")
	} else if s.State == localapi.Disconnected && s.Reason == localapi.ReasonManual {
		l.add("Next", "warp-cli connect")
	}
	_, err := io.WriteString(w, l.b.String())
	return err
}

func stateText(st Style, s *localapi.Status) string {
	switch s.State {
	case localapi.Connected:
		return st.Green("Connected")
	case localapi.Connecting:
		return st.Yellow("Connecting")
	case localapi.Disconnected:
		return st.Red("Disconnected")
	case localapi.Unregistered:
		return st.Red("Unable")
	default:
		return Clean(string(s.State))
	}
}

// reasonTexts are the reasons in the words that people know.
var reasonTexts = map[localapi.Reason]string{
	localapi.ReasonNeverRegistered:    "Registration Missing",
	localapi.ReasonRevoked:            "Registration Revoked",
	localapi.ReasonManual:             "Manual Disconnection",
	localapi.ReasonStarting:           "Establishing Connection",
	localapi.ReasonControlUnreachable: "Control Plane Unreachable",
	localapi.ReasonGatewayUnreachable: "Gateway Unreachable",
	localapi.ReasonGatewayRestarted:   "Gateway Restarted",
	localapi.ReasonNetworkChanged:     "Network Changed",
	localapi.ReasonNoGateway:          "No Gateway",
	localapi.ReasonHealthy:            "Network Healthy",
	localapi.ReasonKeyStore:           "Key Store Unavailable",
}

// ReasonText says why the agent is in its state, with the detail when there is one.
func ReasonText(s *localapi.Status) string {
	text, ok := reasonTexts[s.Reason]
	if !ok {
		text = Clean(string(s.Reason))
	}
	detail := Clean(s.Detail)
	switch {
	case text == "":
		return detail
	case detail == "":
		return text
	default:
		return text + " (" + detail + ")"
	}
}

// Via says through what the agent is connected, as the end of a sentence.
func Via(s *localapi.Status) string {
	var b strings.Builder
	if g := gateway(s); g != "" {
		b.WriteString(" through gateway " + g)
	}
	if s.VNET != nil {
		b.WriteString("; new connections use virtual network " + Clean(s.VNET.Name))
	}
	return b.String()
}

func gateway(s *localapi.Status) string {
	g := Clean(s.Gateway)
	if g == "" {
		return ""
	}
	var more []string
	if s.Endpoint != "" {
		more = append(more, Clean(s.Endpoint))
	}
	if s.LatencyMS > 0 {
		more = append(more, fmt.Sprintf("%.1f ms", s.LatencyMS))
	}
	if len(more) > 0 {
		g += " (" + strings.Join(more, ", ") + ")"
	}
	return g
}

// freshness says how current the target list is.
func freshness(s *localapi.Status) string {
	switch {
	case s.StateRevision == 0:
		return ""
	case s.ControlConnected:
		return fmt.Sprintf("kept current (revision %d)", s.StateRevision)
	default:
		return fmt.Sprintf("%s old (revision %d); the control plane is not being heard", Age(s.StateAgeSeconds), s.StateRevision)
	}
}

// Age writes a number of seconds for people.
func Age(seconds float64) string {
	if math.IsNaN(seconds) || seconds < 0 || seconds > 100*365*24*3600 {
		return "unknown time"
	}
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

// Moment writes a time for people.
func Moment(t time.Time) string { return moment(t) }

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(timeLayout)
}

// Registration writes this device's registration.
func Registration(w io.Writer, r *localapi.Registration) error {
	var l lines
	l.add("Account ID", Clean(r.AccountID))
	l.add("Device ID", Clean(r.DeviceID))
	l.add("Email", Clean(r.Email))
	l.add("Control plane", Clean(r.ControlURL))
	l.add("Public key", Clean(r.PublicKey))
	l.add("Key store", Clean(r.KeyStore))
	l.add("Registered", moment(r.RegisteredAt))
	_, err := io.WriteString(w, l.b.String())
	return err
}

package render

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"weft/agent/localapi"
)

// Managed writes the administrator's settings.
func Managed(w io.Writer, c *localapi.ManagedConfig) error {
	var l lines
	if c.Path == "" {
		l.add("Managed", "nothing")
		l.add("Looked for", Clean(strings.Join(c.Searched, ", ")))
		_, err := io.WriteString(w, l.b.String())
		return err
	}
	l.add("Managed by", Clean(c.Path))
	l.add("Read", moment(c.LoadedAt))
	for _, s := range c.Settings {
		l.add(Clean(s.Key), Clean(s.Value))
	}
	l.add("Without meaning here", Clean(strings.Join(c.Ignored, ", ")))
	_, err := io.WriteString(w, l.b.String())
	return err
}

// Network writes the interfaces of this machine.
func Network(w io.Writer, n *localapi.Network) error {
	var l lines
	l.add("Towards the gateway", strings.TrimSpace(Clean(n.LocalAddress)+" to "+orNone(n.Endpoint)))
	l.add("Proxy", Clean(n.ProxyAddress))
	for _, i := range n.Interfaces {
		state := "down"
		if i.Up {
			state = "up"
		}
		l.add("Interface "+Clean(i.Name), fmt.Sprintf("%s, MTU %d, %s", state, i.MTU, orNone(strings.Join(i.Addresses, ", "))))
	}
	_, err := io.WriteString(w, l.b.String())
	return err
}

// Connectivity writes what was tried.
func Connectivity(w io.Writer, st Style, c *localapi.Connectivity) error {
	for _, check := range c.Checks {
		verdict := st.Green("ok")
		if !check.OK {
			verdict = st.Red("failed")
		}
		if _, err := fmt.Fprintf(w, "%s: %s (%s; %s)\n", Clean(check.Name), verdict, Clean(check.Detail), ms(check.TookMS)); err != nil {
			return err
		}
	}
	return nil
}

// LogLine writes one line of the agent's log.
func LogLine(w io.Writer, st Style, l *localapi.LogLine) error {
	level := strings.ToUpper(Clean(l.Level))
	switch l.Level {
	case "error":
		level = st.Red(level)
	case "warn":
		level = st.Yellow(level)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", moment(l.Time), level, Clean(l.Message))
	for _, k := range slices.Sorted(maps.Keys(l.Attributes)) {
		fmt.Fprintf(&b, " %s=%s", Clean(k), Clean(l.Attributes[k]))
	}
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}

// Devices draws the devices of a user.
func Devices(w io.Writer, l *localapi.DeviceList) error {
	rows := make([][]string, len(l.Devices))
	for i := range l.Devices {
		d := &l.Devices[i]
		rows[i] = []string{
			Clean(d.Name), Clean(d.ID), Clean(d.OS), Clean(d.Version), moment(d.CreatedAt), moment(d.LastSeenAt), mark(d.This), mark(d.Revoked),
		}
	}
	return Table(w, []string{"Name", "Device ID", "OS", "Version", "Registered", "Last seen", "This", "Revoked"}, rows)
}

// StatusUpdate writes the state alone, in the words that people know.
func StatusUpdate(w io.Writer, st Style, s *localapi.Status) error {
	var l lines
	l.add("Status update", stateText(st, s))
	if s.State == localapi.Connected && s.Reason == localapi.ReasonHealthy {
		l.add("Network", "healthy")
	} else {
		l.add("Reason", ReasonText(s))
	}
	_, err := io.WriteString(w, l.b.String())
	return err
}

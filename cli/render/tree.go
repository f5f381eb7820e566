package render

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"weft/agent/localapi"
)

// Lines writes "Label: value" for each pair whose value is not empty.
func Lines(w io.Writer, pairs ...string) error {
	var l lines
	for i := 0; i+1 < len(pairs); i += 2 {
		l.add(pairs[i], Clean(pairs[i+1]))
	}
	_, err := io.WriteString(w, l.b.String())
	return err
}

// Count writes a number of things.
func Count(n int, thing string) string {
	switch n {
	case 0:
		return "no " + thing
	case 1:
		return "1 " + thing
	default:
		return strconv.Itoa(n) + " " + thing + "s"
	}
}

// Bytes writes a number of bytes for people, in powers of 1024.
func Bytes(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatUint(n, 10) + " B"
	}
	f, unit := float64(n)/1024, 0
	for f >= 1023.95 && unit < len(units)-1 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[unit])
}

// Flows draws the open connections.
func Flows(w io.Writer, l *localapi.FlowList) error {
	rows := make([][]string, len(l.Flows))
	for i := range l.Flows {
		f := &l.Flows[i]
		to := f.IP + ":" + strconv.Itoa(int(f.Port))
		if strings.Contains(f.IP, ":") {
			to = "[" + f.IP + "]:" + strconv.Itoa(int(f.Port))
		}
		if f.Hostname != "" {
			to = f.Hostname + " (" + to + ")"
		}
		rows[i] = []string{
			Clean(f.ID), Clean(f.Protocol), Clean(f.VNETName), Clean(to), Clean(f.Entrance), Clean(program(f)),
			Age(f.AgeSeconds), Bytes(f.SentBytes), Bytes(f.ReceivedBytes),
		}
	}
	return Table(w, []string{"ID", "Protocol", "Virtual Network", "Target", "Entrance", "Program", "Age", "Sent", "Received"}, rows)
}

func program(f *localapi.Flow) string {
	switch {
	case f.Program != "" && f.PID != 0:
		return f.Program + " (" + strconv.Itoa(f.PID) + ")"
	case f.Program != "":
		return f.Program
	default:
		return f.Client
	}
}

// Settings draws the settings.
func Settings(w io.Writer, l *localapi.SettingList) error {
	rows := make([][]string, len(l.Settings))
	for i := range l.Settings {
		s := &l.Settings[i]
		rows[i] = []string{Clean(s.Name), Clean(s.Value), Clean(s.Origin), mark(s.Locked), Clean(s.Description)}
	}
	return Table(w, []string{"Setting", "Value", "Origin", "Locked", "Meaning"}, rows)
}

// TunnelStats writes what the tunnel has carried.
func TunnelStats(w io.Writer, st Style, t *localapi.Tunnel) error {
	var l lines
	state := st.Red("down")
	if t.Up {
		state = st.Green("up")
	}
	l.add("Tunnel", state)
	l.add("Protocol", Clean(t.Protocol))
	l.add("Gateway", Clean(t.Gateway))
	l.add("Endpoint", Clean(t.Endpoint))
	if t.LastHandshakeAt != nil {
		l.add("Last handshake", Age(t.HandshakeAgeSeconds)+" ago")
	} else {
		l.add("Last handshake", "never")
	}
	if t.RTTMS > 0 {
		l.add("Round trip", ms(t.RTTMS))
	}
	if t.ProbesSent > 0 {
		l.add("Loss", fmt.Sprintf("%.1f %% (%d of %d probes answered)", t.LossPercent, t.ProbesAnswered, t.ProbesSent))
	}
	l.add("Sent", fmt.Sprintf("%s in %d packets", Bytes(t.SentBytes), t.SentPackets))
	l.add("Received", fmt.Sprintf("%s in %d packets", Bytes(t.ReceivedBytes), t.ReceivedPackets))
	l.add("Dropped", counters(t.Drops))
	l.add("Refused", counters(t.Limits))
	if _, err := io.WriteString(w, l.b.String()); err != nil || len(t.VNETs) == 0 {
		return err
	}
	rows := make([][]string, len(t.VNETs))
	for i := range t.VNETs {
		v := &t.VNETs[i]
		rows[i] = []string{
			Clean(v.VNETName), mark(v.Selected), strconv.Itoa(v.FlowsOpen), strconv.FormatUint(v.FlowsOpened, 10),
			Bytes(v.SentBytes), Bytes(v.ReceivedBytes),
		}
	}
	return Table(w, []string{"Virtual Network", "Selected", "Open", "Opened", "Sent", "Received"}, rows)
}

func ms(f float64) string {
	if math.IsNaN(f) || f < 0 {
		return "unknown"
	}
	return fmt.Sprintf("%.1f ms", f)
}

// counters writes those that are not 0.
func counters(cs []localapi.Counter) string {
	var parts []string
	for _, c := range cs {
		if c.Count > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", Clean(c.Name), c.Count))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// TunnelDump writes the tunnel in full, much as "wg show" does.
func TunnelDump(w io.Writer, t *localapi.Tunnel) error {
	var b strings.Builder
	fmt.Fprintf(&b, "interface: weft (%s, in user space)\n", Clean(t.Protocol))
	fmt.Fprintf(&b, "  public key: %s\n  private key: (hidden)\n  listening port: %d\n  mtu: %d\n", orNone(t.PublicKey), t.ListenPort, t.MTU)
	for i := range t.VNETs {
		v := &t.VNETs[i]
		fmt.Fprintf(&b, "  address: %s, %s (virtual network %s)\n", orNone(v.IPv4), orNone(v.IPv6), Clean(v.VNETName))
	}
	if t.GatewayPublicKey != "" {
		fmt.Fprintf(&b, "\npeer: %s (gateway %s)\n  endpoint: %s (%s)\n  candidates: %s\n", Clean(t.GatewayPublicKey), Clean(t.Gateway),
			orNone(t.Endpoint), Clean(t.EndpointOrigin), orNone(strings.Join(t.Endpoints, ", ")))
		fmt.Fprintf(&b, "  allowed ips: 0.0.0.0/0, ::/0 (the gateway decides about each connection)\n")
		if t.LastHandshakeAt != nil {
			fmt.Fprintf(&b, "  latest handshake: %s ago\n", Age(t.HandshakeAgeSeconds))
		}
		fmt.Fprintf(&b, "  transfer: %s received, %s sent\n", Bytes(t.ReceivedBytes), Bytes(t.SentBytes))
	}
	fmt.Fprintf(&b, "\ndropped: %s\nrefused: %s\n", counters(t.Drops), counters(t.Limits))
	_, err := io.WriteString(w, b.String())
	return err
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return Clean(s)
}

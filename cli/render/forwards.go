package render

import (
	"io"
	"net"
	"strconv"
	"strings"

	"weft/agent/localapi"
)

// Forwards draws the list of forwards.
func Forwards(w io.Writer, l *localapi.ForwardList) error {
	rows := make([][]string, len(l.Forwards))
	for i := range l.Forwards {
		f := &l.Forwards[i]
		rows[i] = []string{
			Clean(f.Name), Clean(ForwardFrom(f)), Clean(ForwardTo(f)), Clean(forwardState(f)),
			strconv.FormatInt(f.Open, 10), strconv.FormatUint(f.Accepted, 10), strconv.FormatUint(f.Refused, 10),
		}
	}
	return Table(w, []string{"Name", "Listens at", "Leads to", "State", "Open", "Accepted", "Refused"}, rows)
}

// ForwardFrom is the local side: an address, or unix:PATH; UDP is told.
func ForwardFrom(f *localapi.Forward) string {
	switch f.Network {
	case "unix":
		return "unix:" + f.Listen
	case "udp":
		return f.Listen + " (UDP)"
	default:
		return f.Listen
	}
}

// ForwardTo is the target's side.
func ForwardTo(f *localapi.Forward) string {
	to := net.JoinHostPort(f.Target, strconv.Itoa(int(f.Port)))
	if f.VNETName == "" {
		return to + " (" + f.VNETID + ")"
	}
	return to + " (" + f.VNETName + ")"
}

func forwardState(f *localapi.Forward) string {
	s := strings.ReplaceAll(f.State, "_", " ")
	if f.Detail != "" {
		s += ": " + f.Detail
	}
	return s
}

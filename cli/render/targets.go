package render

import (
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"weft/agent/localapi"
)

// targetHeader is the header of the public product's list. Two columns are at
// least as wide as there, whatever they hold: the width of the widest port, and 21.
var targetHeader = []string{"Target ID", "Protocol", "Port ", "Attributes           ", "IP (Virtual Network)", "Usernames"}

// Targets draws the target list, one row per target and port.
func Targets(w io.Writer, l *localapi.TargetList) error {
	rows := make([][]string, len(l.Targets))
	for i := range l.Targets {
		t := &l.Targets[i]
		rows[i] = []string{
			Clean(t.ID), Clean(t.Protocol), strconv.Itoa(int(t.Port)),
			attributes(t.Attributes), addresses(t.Addresses), Clean(strings.Join(t.Usernames, ", ")),
		}
	}
	return Table(w, targetHeader, rows)
}

// attributes writes the hostname first, then the tags by name.
func attributes(m map[string]string) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		if (a == "hostname") != (b == "hostname") {
			if a == "hostname" {
				return -1
			}
			return 1
		}
		return strings.Compare(a, b)
	})
	var b strings.Builder
	for i, k := range keys {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(k + ": " + m[k])
	}
	return Clean(b.String())
}

// addresses writes each address with the name of its virtual network.
func addresses(as []localapi.Address) string {
	parts := make([]string, len(as))
	for i, a := range as {
		parts[i] = a.IP + " (" + a.VNETName + ")"
	}
	return Clean(strings.Join(parts, ", "))
}

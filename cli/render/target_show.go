package render

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"weft/agent/localapi"
)

// Details is everything about one target.
type Details struct {
	SchemaVersion int     `json:"schema_version"`
	Revision      uint64  `json:"revision"`
	AgeSeconds    float64 `json:"age_seconds"`
	Stale         bool    `json:"stale"`
	Target        Machine `json:"target"`
}

// Machine is a target with all of its ports.
type Machine struct {
	ID         string             `json:"id"`
	Hostname   string             `json:"hostname"`
	Name       string             `json:"name"` // what to call it on a command line
	Attributes map[string]string  `json:"attributes"`
	Addresses  []localapi.Address `json:"addresses"`
	Ports      []Port             `json:"ports"` // by number
}

// Port is one port of a target.
type Port struct {
	Port      uint16   `json:"port"`
	Protocol  string   `json:"protocol"`
	Usernames []string `json:"usernames"`
	// Commands reach it; none for what has no connection.
	Commands []string `json:"commands"`
}

// MachineOf gathers the rows of the target with the given ID among all rows.
func MachineOf(rows []Row, id string) Machine {
	m := Machine{ID: id, Attributes: map[string]string{}, Addresses: []localapi.Address{}, Ports: []Port{}}
	for i, name := range UniqueNames(rows) {
		r := &rows[i]
		if r.ID != id {
			continue
		}
		m.Hostname, m.Name, m.Addresses = r.Hostname, name, r.Addresses
		if r.Attributes != nil {
			m.Attributes = r.Attributes
		}
		m.Ports = append(m.Ports, Port{
			Port: r.Port, Protocol: r.Protocol, Usernames: append([]string{}, r.Usernames...), Commands: commands(r, name),
		})
	}
	slices.SortFunc(m.Ports, func(a, b Port) int {
		if a.Port != b.Port {
			return int(a.Port) - int(b.Port)
		}
		return strings.Compare(a.Protocol, b.Protocol)
	})
	return m
}

// commands are the command lines that reach a row.
func commands(r *Row, name string) []string {
	port := strconv.Itoa(int(r.Port))
	switch r.Protocol {
	case "SSH":
		option := ""
		if r.Port != 22 {
			option = "-p " + port + " "
		}
		if len(r.Usernames) == 0 {
			return []string{"warp-cli ssh " + option + name}
		}
		var lines []string
		for _, u := range r.Usernames {
			lines = append(lines, "warp-cli ssh "+option+u+"@"+name)
		}
		return lines
	case "UDP":
		return []string{}
	default:
		return []string{"warp-cli target connect " + name + ":" + port, "warp-cli nc " + name + " " + port}
	}
}

// Target writes everything about one target.
func Target(w io.Writer, m *Machine) error {
	var l lines
	l.add("Target ID", Clean(m.ID))
	l.add("Hostname", Clean(m.Hostname))
	l.add("Name", Clean(m.Name))
	row := Row{Target: &localapi.Target{Attributes: m.Attributes, Addresses: m.Addresses}}
	l.add("Attributes", string(appendAttributes(nil, &row, true)))
	for i := range m.Addresses {
		a := &m.Addresses[i]
		l.add("Address", fmt.Sprintf("%s in virtual network %s (%s)", Clean(a.IP), Clean(a.VNETName), Clean(a.VNETID)))
	}
	for i := range m.Ports {
		p := &m.Ports[i]
		text := fmt.Sprintf("%d %s", p.Port, Clean(p.Protocol))
		if len(p.Usernames) > 0 {
			text += " as " + Clean(strings.Join(p.Usernames, ", "))
		}
		l.add("Port", text)
	}
	for i := range m.Ports {
		for _, c := range m.Ports[i].Commands {
			l.add("Reach it", Clean(c))
		}
	}
	_, err := io.WriteString(w, l.b.String())
	return err
}

package vnet

import (
	"fmt"
	"strings"

	"weft/internal/kind"
)

// maxListed bounds the candidates that an error spells out.
const maxListed = 10

// Resolve finds the network that ref names: an exact ID, else a name without
// regard to case. The error is kind.NotFound, or kind.Conflict listing the
// candidates; an empty ref is kind.Invalid, never the default network.
func Resolve(networks []Network, ref string) (Network, error) {
	if ref == "" {
		return Network{}, kind.New(kind.Invalid, "the name of a virtual network is empty")
	}
	var found []Network
	for _, n := range networks {
		if string(n.ID) == ref {
			return n, nil
		}
		if strings.EqualFold(n.Name, ref) {
			found = append(found, n)
		}
	}
	switch len(found) {
	case 0:
		return Network{}, notFound(networks, ref)
	case 1:
		return found[0], nil
	}
	return Network{}, kind.New(kind.Conflict, "virtual network %q is ambiguous: %s", ref, list(found)).
		WithHint("use the ID of one of them")
}

// notFound says what could have been meant.
func notFound(networks []Network, ref string) error {
	err := kind.New(kind.NotFound, "no virtual network is called %q", ref)
	if len(networks) == 0 {
		return err.WithHint("no virtual network is available to you")
	}
	return err.WithHint("available: %s", list(networks))
}

// list spells out networks by name and ID, the first few of them.
func list(networks []Network) string {
	var b strings.Builder
	for i, n := range networks {
		if i == maxListed {
			fmt.Fprintf(&b, " and %d more", len(networks)-i)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q (%s)", n.Name, n.ID)
	}
	return b.String()
}

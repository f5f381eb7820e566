package store

import (
	"strings"

	"weft/internal/kind"
)

// nouns are what the rows of a table are to people, where that is not the table's name without its s.
var nouns = map[string]string{
	"api_tokens": "API token", "gateway_cas": "gateway CA", "policies": "policy", "target_addresses": "target address",
	"device_blocks": "block of tunnel addresses", "ssh_host_cas": "host CA",
}

// taken is the conflict of two rows that a unique index does not let be. The rules are checked before each write, with
// errors that name the other object; this is for what a check has missed, and leaves as little behind.
func taken(table string, cause error) error {
	noun, ok := nouns[table]
	if !ok {
		noun = strings.ReplaceAll(strings.TrimSuffix(table, "s"), "_", " ")
	}
	return kind.New(kind.Conflict, "another %s already has what must be its alone", noun).WithCause(cause)
}

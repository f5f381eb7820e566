package render

import (
	"weft/agent/localapi"
)

// Row is one row of a target list: a target at one port.
type Row struct {
	*localapi.Target
	// Reachability is what became of trying it; nil when it was not tried.
	Reachability *Reachability `json:"reachability,omitempty"`
}

// Reachability is what became of opening a connection to a target.
type Reachability struct {
	Reachable bool `json:"reachable"`
	// LatencyMS is how long the target took to accept; 0 when it did not.
	LatencyMS float64 `json:"latency_ms"`
	// Code and Message say why not; empty when it did.
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Rows makes rows of targets, which they share.
func Rows(ts []localapi.Target) []Row {
	rows := make([]Row, len(ts))
	for i := range ts {
		rows[i].Target = &ts[i]
	}
	return rows
}

// List is a target list with its rows.
type List struct {
	SchemaVersion int     `json:"schema_version"`
	Revision      uint64  `json:"revision"`
	AgeSeconds    float64 `json:"age_seconds"`
	Stale         bool    `json:"stale"`
	Targets       []Row   `json:"targets"`
}

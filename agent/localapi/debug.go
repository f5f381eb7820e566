package localapi

import "time"

// Paths for finding faults.
const (
	PathDebugLog          = "/v1/debug/log"          // GET ?follow=&level= -> stream of LogLine
	PathDebugConnectivity = "/v1/debug/connectivity" // GET -> Connectivity
	PathDebugNetwork      = "/v1/debug/network"      // GET -> Network
	PathDebugRuntime      = "/v1/debug/runtime"      // GET -> Runtime
	PathDevices           = "/v1/devices"            // GET -> DeviceList
)

// LogLine is a line of the agent's log, secrets redacted.
type LogLine struct {
	SchemaVersion int               `json:"schema_version"`
	Time          time.Time         `json:"time"`
	Level         string            `json:"level"` // "debug", "info", "warn" or "error"
	Message       string            `json:"message"`
	Attributes    map[string]string `json:"attributes"`
}

// Connectivity is what the agent found when it tried each way just now.
type Connectivity struct {
	SchemaVersion int     `json:"schema_version"`
	OK            bool    `json:"ok"` // all checks are
	Checks        []Check `json:"checks"`
}

// Check is one way that was tried.
type Check struct {
	Name   string  `json:"name"`
	OK     bool    `json:"ok"`
	Detail string  `json:"detail"`
	TookMS float64 `json:"took_ms"`
}

// Network is this machine's network as the agent sees it.
type Network struct {
	SchemaVersion int         `json:"schema_version"`
	Interfaces    []Interface `json:"interfaces"`
	// LocalAddress is the one that the system uses towards the gateway; "": there is no way, or no gateway.
	LocalAddress string `json:"local_address"`
	Endpoint     string `json:"endpoint"`
	ProxyAddress string `json:"proxy_address"`
}

// Interface is a network interface.
type Interface struct {
	Name      string   `json:"name"`
	Up        bool     `json:"up"`
	MTU       int      `json:"mtu"`
	Addresses []string `json:"addresses"`
}

// Runtime is what the agent's process uses.
type Runtime struct {
	SchemaVersion int     `json:"schema_version"`
	PID           int     `json:"pid"`
	UptimeSeconds float64 `json:"uptime_seconds"`
	Goroutines    int     `json:"goroutines"`
	HeapBytes     uint64  `json:"heap_bytes"`
	SystemBytes   uint64  `json:"system_bytes"` // taken from the system
	GCCycles      uint32  `json:"gc_cycles"`
	CPUs          int     `json:"cpus"`
	GoVersion     string  `json:"go_version"`
	// Stacks are the stacks of all goroutines, if they were asked for.
	Stacks string `json:"stacks"`
}

// Device is a registered device of the same user.
type Device struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	OS         string    `json:"os"`
	Version    string    `json:"version"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	Revoked    bool      `json:"revoked"`
	This       bool      `json:"this"` // it is this one
}

// DeviceList answers PathDevices.
type DeviceList struct {
	SchemaVersion int      `json:"schema_version"`
	Devices       []Device `json:"devices"`
}

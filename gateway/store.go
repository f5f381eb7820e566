package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"weft/api"
)

// The files of StateDir that hold what the gateway knew.
const (
	fileState   = "state.json"
	fileRuntime = "runtime.json"
	filePins    = "host_keys.json"
)

// savedState is the last state that control sent and that compiled.
type savedState struct {
	Revision uint64            `json:"revision"`
	State    *api.GatewayState `json:"state"`
}

// savedRuntime is what helps a restarted gateway: how old its state is, and where its peers were.
type savedRuntime struct {
	Contact    time.Time                 `json:"contact"` // last with control
	Endpoints  map[string]netip.AddrPort `json:"endpoints"`
	Connectors []netip.AddrPort          `json:"connectors,omitempty"`
}

// store reads and writes StateDir. The methods are for one goroutine at a time.
type store struct{ dir string }

func (s store) loadState() (savedState, error)     { return load[savedState](s.dir, fileState) }
func (s store) loadRuntime() (savedRuntime, error) { return load[savedRuntime](s.dir, fileRuntime) }
func (s store) saveState(v savedState) error       { return save(s.dir, fileState, v) }
func (s store) saveRuntime(v savedRuntime) error   { return save(s.dir, fileRuntime, v) }

// load reads a JSON file; one that does not exist is the zero value.
func load[T any](dir, name string) (T, error) {
	var v T
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		var zero T
		return zero, fmt.Errorf("read %s: %w", name, err)
	}
	return v, nil
}

func save(dir, name string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return writeFile(filepath.Join(dir, name), append(b, '\n'))
}

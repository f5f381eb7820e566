//go:build !linux

package posture

import (
	"errors"
	"fmt"
	"runtime"

	"weft/api"
)

func (p *Prober) running(string) (string, error) {
	return "", fmt.Errorf("processes are not looked at on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func (p *Prober) disks() ([]api.PostureDisk, error) {
	return nil, fmt.Errorf("disks are not looked at on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

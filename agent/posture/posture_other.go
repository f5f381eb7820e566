//go:build !linux && !darwin && !windows

package posture

import "weft/api"

func (p *Prober) facts() api.DeviceFacts { return api.DeviceFacts{} }

package posture

import (
	"fmt"

	"golang.org/x/sys/windows"

	"weft/api"
)

func (p *Prober) facts() api.DeviceFacts {
	v := windows.RtlGetVersion()
	return api.DeviceFacts{OSVersion: fmt.Sprintf("%d.%d.%d", v.MajorVersion, v.MinorVersion, v.BuildNumber)}
}

package posture

import (
	"golang.org/x/sys/unix"

	"weft/api"
)

// facts asks the kernel (sysctl(3)); the serial number needs a framework and is not told.
func (p *Prober) facts() api.DeviceFacts {
	f := api.DeviceFacts{Manufacturer: "Apple"}
	for name, to := range map[string]*string{"kern.osproductversion": &f.OSVersion, "hw.model": &f.Model} {
		if v, err := unix.Sysctl(name); err == nil {
			*to = v
		}
	}
	return f
}

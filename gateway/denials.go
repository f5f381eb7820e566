package gateway

import (
	"sync"

	"golang.org/x/time/rate"
)

// Denials of one device on record: so many at once, then so many a second. The others are counted.
const (
	denialBurst     = 20
	denialPerSecond = 5
)

// denials limits how many lines a device can cause. Safe for concurrent use.
type denials struct {
	mu      sync.Mutex
	devices map[string]*denialRate // "" is every source that is no device's
}

type denialRate struct {
	limiter    *rate.Limiter
	suppressed uint64
}

func newDenials() *denials { return &denials{devices: make(map[string]*denialRate)} }

// take reports whether a denial of the device may be written, and how many were not since the last one.
func (d *denials) take(device string) (suppressed uint64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	r := d.devices[device]
	if r == nil {
		r = &denialRate{limiter: rate.NewLimiter(denialPerSecond, denialBurst)}
		d.devices[device] = r
	}
	if !r.limiter.Allow() {
		r.suppressed++
		return 0, false
	}
	suppressed, r.suppressed = r.suppressed, 0
	return suppressed, true
}

// keep forgets devices that are no more, so that the map is bounded by their number.
func (d *denials) keep(exists func(device string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.devices {
		if id != "" && !exists(id) {
			delete(d.devices, id)
		}
	}
}

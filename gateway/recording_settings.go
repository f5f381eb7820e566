package gateway

import (
	"weft/api"
	"weft/gateway/recording"
)

// recordingOf says whether the sessions of an application are recorded, and what becomes of one that cannot be. For an
// application counts what control says of it, then the gateway's own flag; for all what control says, then the flags. A
// fail mode that is not known is that which lets nothing pass.
func (g *Gateway) recordingOf(application string) (on bool, mode recording.FailMode) {
	flags := &g.cfg.Recording
	on, mode = flags.Enabled, flags.FailMode
	take := func(s api.RecordingSetting) {
		if s.Enabled != nil {
			on = *s.Enabled
		}
		switch s.FailMode {
		case "":
		case api.RecordingFailAlarm:
			mode = recording.FailAlarm
		default:
			mode = recording.FailStop
		}
	}
	view := g.view.Load()
	if view != nil {
		take(view.Recording(api.RecordingAccount))
	}
	if m, ok := flags.Applications[application]; ok {
		mode = m
	}
	if view != nil {
		take(view.Recording(application))
	}
	if mode != recording.FailAlarm {
		mode = recording.FailStop
	}
	return on, mode
}

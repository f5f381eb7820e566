package agent

import (
	"context"
	"net/http"

	"weft/agent/posture"
	"weft/api"
)

// reportPosture tells control what this machine looks like, for as long as the session lives.
func (s *session) reportPosture(ctx context.Context, client *api.Client) {
	var p posture.Prober
	r := posture.Reporter{
		Logger: s.a.log, Look: p.Report,
		Checks: func() []api.PostureCheck {
			v := s.a.view.Load()
			if v == nil {
				return nil
			}
			return v.state.Self.Posture
		},
		Send: func(ctx context.Context, report api.PostureReport) error {
			return client.Do(ctx, http.MethodPut, api.PathAgentPosture, report, nil)
		},
	}
	r.Run(ctx, s.postures)
}

// lookAtMachine has the posture looked at now.
func (s *session) lookAtMachine() {
	select {
	case s.postures <- struct{}{}:
	default:
	}
}

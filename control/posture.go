package control

import (
	"context"
	"log/slog"
	"time"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

// postureInterval is how often results that outlived their time are looked for.
const postureInterval = 10 * time.Second

// Limits of a report.
const (
	maxObservations = 1000
	maxReportDisks  = 256
	maxFactBytes    = 200
)

var postureNoise = []string{"id", "created_at", "updated_at"}

func (c *Control) postureEndpoints(to map[string]serveFunc, devices string) {
	crud(c, to, devices+"/posture", resource[api.PostureRule, api.PostureRuleWrite]{
		read: func(q *call) (in api.PostureRuleWrite, err error) { return in, q.body(&in, postureNoise...) },
		list: func(ctx context.Context, r *store.Reader, _ *call) ([]api.PostureRule, error) {
			return r.PostureRules(ctx)
		},
		get: (*store.Reader).PostureRule, create: (*store.Tx).CreatePostureRule,
		replace: (*store.Tx).ReplacePostureRule, remove: (*store.Tx).DeletePostureRule, unpaged: true,
	})
	integrations := devices + "/posture/integration"
	readIntegration := func(q *call) (in api.PostureIntegrationWrite, err error) { return in, q.body(&in, postureNoise...) }
	crud(c, to, integrations, resource[api.PostureIntegration, api.PostureIntegrationWrite]{
		read: readIntegration, unpaged: true,
		list: func(ctx context.Context, r *store.Reader, _ *call) ([]api.PostureIntegration, error) {
			return r.PostureIntegrations(ctx)
		},
		get: (*store.Reader).PostureIntegration, create: (*store.Tx).CreatePostureIntegration, remove: (*store.Tx).DeletePostureIntegration,
	})
	to["PATCH "+integrations+"/{id}"] = func(ctx context.Context, q *call) (answer, error) {
		return write(ctx, c, q, readIntegration, func(tx *store.Tx, in api.PostureIntegrationWrite) (api.PostureIntegration, error) {
			return tx.UpdatePostureIntegration(ctx, q.params["id"], in)
		})
	}
}

// reportPosture takes what a device says of itself and answers how it did.
func (c *Control) reportPosture(ctx context.Context, q *call) (answer, error) {
	var in api.PostureReport
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	if err := checkPostureReport(&in); err != nil {
		return answer{}, err
	}
	if !c.moves.allow("posture "+q.device.ID, time.Now()) {
		return answer{}, tooMany("the device reports too often")
	}
	if in.Facts.OS != q.device.OS {
		return answer{}, kind.Field("/facts/os", "the device was enrolled as %q", q.device.OS).WithHint("enrol the device again")
	}
	return change(ctx, c, q, func(tx *store.Tx) (api.PostureAnswer, error) {
		results, err := tx.ReportPosture(ctx, q.device.ID, in)
		return api.PostureAnswer{Results: results}, err
	})
}

func checkPostureReport(in *api.PostureReport) error {
	if len(in.Observations) > maxObservations {
		return kind.New(kind.Limit, "a report can hold %d observations", maxObservations)
	}
	f := &in.Facts
	for name, v := range map[string]string{
		"os": f.OS, "os_version": f.OSVersion, "os_version_extra": f.OSVersionExtra, "os_distro_name": f.OSDistroName, "os_distro_revision": f.OSDistroRevision,
		"serial_number": f.SerialNumber, "unique_client_id": f.UniqueClientID, "manufacturer": f.Manufacturer, "model": f.Model,
	} {
		if err := store.CheckShort("/facts/"+name, v, maxFactBytes); err != nil {
			return err
		}
	}
	for id, o := range in.Observations {
		if len(o.Disks) > maxReportDisks {
			return kind.New(kind.Limit, "an observation can hold %d disks", maxReportDisks)
		}
		if err := store.CheckShort("/observations/"+id, o.Error, 1024); err != nil {
			return err
		}
	}
	return nil
}

// lapsePosture fails results that outlived their time, until ctx ends.
func (c *Control) lapsePosture(ctx context.Context) {
	tick := time.NewTicker(postureInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := c.LapsePosture(ctx); err != nil && ctx.Err() == nil {
			c.log.LogAttrs(ctx, slog.LevelError, "fail posture results that are too old", slog.Any("error", err))
		}
	}
}

// LapsePosture fails posture results that outlived their time. Run does so every ten seconds.
func (c *Control) LapsePosture(ctx context.Context) error {
	var lapsed bool
	err := c.store.View(ctx, func(r *store.Reader) (err error) {
		lapsed, err = r.LapsedPosture(ctx)
		return err
	})
	if err != nil || !lapsed {
		return err
	}
	return c.store.Update(ctx, store.System, func(tx *store.Tx) error { return tx.LapsePosture(ctx) })
}

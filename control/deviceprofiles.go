package control

import (
	"context"
	"net/http"
	"strings"

	"weft/api"
	"weft/control/store"
)

// profileNoise are keys that clients send back from an answer.
var profileNoise = []string{"policy_id", "default", "gateway_unique_id", "fallback_domains", "target_tests"}

func (c *Control) profileEndpoints(to map[string]serveFunc, devices string) {
	one, all, settings := devices+"/policy", devices+"/policies", devices+"/settings"
	to["GET "+all] = func(ctx context.Context, q *call) (answer, error) {
		return listOf(ctx, c, q, &resource[api.DeviceProfile, struct{}]{
			list: func(ctx context.Context, r *store.Reader, _ *call) ([]api.DeviceProfile, error) {
				return r.DeviceProfiles(ctx)
			},
		})
	}
	to["POST "+one] = c.createProfile
	for path, id := range map[string]string{one: store.DefaultProfileID, one + "/{id}": ""} {
		name := func(q *call) string {
			if id != "" {
				return id
			}
			return q.params["id"]
		}
		to["GET "+path] = func(ctx context.Context, q *call) (answer, error) {
			return shown(look(ctx, c, func(r *store.Reader) (api.DeviceProfile, error) { return r.DeviceProfile(ctx, name(q)) }))
		}
		to["PATCH "+path] = func(ctx context.Context, q *call) (answer, error) { return shown(c.patchProfile(ctx, q, name(q))) }
		profilePart(c, to, path+"/exclude", name, func(p *api.DeviceProfile) *[]api.SplitTunnel { return &p.Exclude })
		profilePart(c, to, path+"/include", name, func(p *api.DeviceProfile) *[]api.SplitTunnel { return &p.Include })
		profilePart(c, to, path+"/fallback_domains", name, func(p *api.DeviceProfile) *[]api.FallbackDomain { return &p.FallbackDomains })
	}
	to["DELETE "+one+"/{id}"] = c.deleteProfile
	to["GET "+settings] = func(ctx context.Context, _ *call) (answer, error) {
		return look(ctx, c, func(r *store.Reader) (api.DeviceSettings, error) { return r.DeviceSettings(ctx) })
	}
	to["PATCH "+settings] = c.changeSettings(func(edit settingsEdit) settingsEdit { return edit })
	to["PUT "+settings] = c.changeSettings(func(edit settingsEdit) settingsEdit {
		return func(_, preset api.DeviceSettings) (api.DeviceSettings, error) { return edit(preset, preset) }
	})
	to["DELETE "+settings] = func(ctx context.Context, q *call) (answer, error) {
		return change(ctx, c, q, func(tx *store.Tx) (api.DeviceSettings, error) {
			return tx.UpdateDeviceSettings(ctx, func(api.DeviceSettings) (api.DeviceSettings, error) { return api.DeviceSettings{}, nil })
		})
	}
}

// settingsEdit makes settings of those of before and of those that stand for null.
type settingsEdit = func(base, preset api.DeviceSettings) (api.DeviceSettings, error)

func (c *Control) changeSettings(how func(settingsEdit) settingsEdit) serveFunc {
	return func(ctx context.Context, q *call) (answer, error) {
		edit, err := overlay[api.DeviceSettings](q)
		if err != nil {
			return answer{}, err
		}
		return change(ctx, c, q, func(tx *store.Tx) (api.DeviceSettings, error) {
			return tx.UpdateDeviceSettings(ctx, func(s api.DeviceSettings) (api.DeviceSettings, error) { return how(edit)(s, api.DeviceSettings{}) })
		})
	}
}

func (c *Control) createProfile(ctx context.Context, q *call) (answer, error) {
	edit, err := overlay[api.DeviceProfile](q, profileNoise...)
	if err != nil {
		return answer{}, err
	}
	return change(ctx, c, q, func(tx *store.Tx) (api.DeviceProfile, error) {
		p, err := edit(store.NewDeviceProfile(), store.NewDeviceProfile())
		if err != nil {
			return p, err
		}
		return tx.CreateDeviceProfile(ctx, p)
	})
}

func (c *Control) patchProfile(ctx context.Context, q *call, id string) (answer, error) {
	edit, err := overlay[api.DeviceProfile](q, profileNoise...)
	if err != nil {
		return answer{}, err
	}
	return change(ctx, c, q, func(tx *store.Tx) (api.DeviceProfile, error) {
		return tx.UpdateDeviceProfile(ctx, id, func(p api.DeviceProfile) (api.DeviceProfile, error) {
			written, err := edit(store.NewDeviceProfile(), store.NewDeviceProfile())
			if err != nil {
				return p, err
			}
			switch { // one list takes the place of the other; both in one body are refused
			case len(written.Include) > 0 && len(written.Exclude) == 0:
				p.Exclude = []api.SplitTunnel{}
			case len(written.Exclude) > 0 && len(written.Include) == 0:
				p.Include = []api.SplitTunnel{}
			}
			return edit(p, store.NewDeviceProfile())
		})
	})
}

// defaultProfile is the default profile as clients know it: a client that was told a name or description which its user did not
// write (it sends neither, for this profile) would want to change it for ever.
type defaultProfile struct {
	api.DeviceProfile
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
}

// shown answers with the default profile as clients know it, and with any other as it is.
func shown(a answer, err error) (answer, error) {
	if p, ok := a.result.(api.DeviceProfile); ok && p.Default {
		a.result = defaultProfile{DeviceProfile: p, Description: p.Description}
	}
	return a, err
}

// deleteProfile answers with the profiles that remain, as clients expect.
func (c *Control) deleteProfile(ctx context.Context, q *call) (answer, error) {
	return change(ctx, c, q, func(tx *store.Tx) ([]api.DeviceProfile, error) {
		if err := tx.DeleteDeviceProfile(ctx, q.params["id"]); err != nil {
			return nil, err
		}
		return tx.DeviceProfiles(ctx)
	})
}

// profilePart serves one list of a profile: read, and replaced by a bare array.
func profilePart[T any](c *Control, to map[string]serveFunc, path string, id func(*call) string, part func(*api.DeviceProfile) *[]T) {
	to["GET "+path] = func(ctx context.Context, q *call) (answer, error) {
		return look(ctx, c, func(r *store.Reader) ([]T, error) {
			p, err := r.DeviceProfile(ctx, id(q))
			return *part(&p), err
		})
	}
	set := func(ctx context.Context, q *call) (answer, error) {
		reset, err := q.queryBool("reset_defaults")
		if err != nil {
			return answer{}, err
		}
		list := []T{}
		if !deref(reset) && q.r.Method != http.MethodDelete {
			if err := q.body(&list); err != nil {
				return answer{}, err
			}
		}
		if list == nil {
			list = []T{}
		}
		return change(ctx, c, q, func(tx *store.Tx) ([]T, error) {
			p, err := tx.UpdateDeviceProfile(ctx, id(q), func(p api.DeviceProfile) (api.DeviceProfile, error) {
				*part(&p) = list
				switch { // one list takes the place of the other
				case len(list) == 0:
				case strings.HasSuffix(path, "/exclude"):
					p.Include = []api.SplitTunnel{}
				case strings.HasSuffix(path, "/include"):
					p.Exclude = []api.SplitTunnel{}
				}
				return p, nil
			})
			return *part(&p), err
		})
	}
	to["PUT "+path] = set
	if strings.HasSuffix(path, "/fallback_domains") { // one client restores the defaults, which are none, so
		to["DELETE "+path] = set
	}
}

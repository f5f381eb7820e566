package cli_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"weft/agent/localapi"
)

// treeWorld is the part of a world that the command tree asks for.
type treeWorld struct {
	Flows        []localapi.Flow        `json:"flows"`
	Settings     []localapi.Setting     `json:"settings"`
	Managed      localapi.ManagedConfig `json:"managed"`
	Tunnel       localapi.Tunnel        `json:"tunnel"`
	Rotation     localapi.KeyRotation   `json:"rotation"`
	Devices      []localapi.Device      `json:"devices"`
	Connectivity localapi.Connectivity  `json:"connectivity"`
	Network      localapi.Network       `json:"network"`
	Runtime      localapi.Runtime       `json:"runtime"`
	Log          []localapi.LogLine     `json:"log"`
	// Later are events that follow the snapshot, and then the stream ends unless Holds.
	Later []localapi.Event `json:"later"`
	Holds bool             `json:"holds"`
}

// answerTree answers what the command tree asks; it is called with the lock held.
func (f *fakeAgent) answerTree(w http.ResponseWriter, r *http.Request, key string, body []byte) (known bool) {
	t := &f.w.treeWorld
	const version = localapi.SchemaVersion
	var v any
	switch key {
	case "GET " + localapi.PathFlows:
		l := localapi.FlowList{SchemaVersion: version, Flows: []localapi.Flow{}}
		q := r.URL.Query()
		for _, fl := range t.Flows {
			if fits(q["vnet"], fl.VNETName, fl.VNETID) && fits(q["target"], fl.Hostname, fl.IP, fl.TargetID) {
				l.Flows = append(l.Flows, fl)
			}
		}
		v = l
	case "POST " + localapi.PathFlowsClose:
		var c localapi.CloseFlows
		_ = json.Unmarshal(body, &c)
		before := len(t.Flows)
		t.Flows = slices.DeleteFunc(t.Flows, func(fl localapi.Flow) bool { return c.ID == fl.ID || c.All || c.VNET != "" && c.VNET == fl.VNETName })
		if c.ID != "" && len(t.Flows) == before {
			reply(w, http.StatusNotFound, localapi.Error{Code: "not_found", Message: "no open connection has the ID " + c.ID, Hint: "see: warp-cli flow list"})
			return true
		}
		v = localapi.FlowsClosed{SchemaVersion: version, Closed: before - len(t.Flows)}
	case "GET " + localapi.PathSettings:
		v = localapi.SettingList{SchemaVersion: version, Settings: t.Settings}
	case "POST " + localapi.PathSettings:
		f.setSetting(w, body)
		return true
	case "POST " + localapi.PathSettingsReset:
		var in localapi.ResetSettings
		_ = json.Unmarshal(body, &in)
		for i := range t.Settings {
			if s := &t.Settings[i]; len(in.Names) == 0 || slices.Contains(in.Names, s.Name) {
				s.Value, s.Origin = s.Default, localapi.OriginDefault
			}
		}
		v = localapi.SettingList{SchemaVersion: version, Settings: t.Settings}
	case "GET " + localapi.PathMDM, "POST " + localapi.PathMDM, "POST " + localapi.PathMDMRefresh:
		t.Managed.SchemaVersion = version
		v = t.Managed
	case "GET " + localapi.PathTunnel:
		t.Tunnel.SchemaVersion = version
		v = t.Tunnel
	case "POST " + localapi.PathTunnelRotate:
		t.Rotation.SchemaVersion = version
		v = t.Rotation
	case "GET " + localapi.PathDevices:
		v = localapi.DeviceList{SchemaVersion: version, Devices: t.Devices}
	case "GET " + localapi.PathDebugConnectivity:
		t.Connectivity.SchemaVersion = version
		v = t.Connectivity
	case "GET " + localapi.PathDebugNetwork:
		t.Network.SchemaVersion = version
		v = t.Network
	case "GET " + localapi.PathDebugRuntime:
		t.Runtime.SchemaVersion = version
		v = t.Runtime
	case "GET " + localapi.PathDebugLog:
		for _, l := range t.Log {
			l.SchemaVersion = version
			_ = json.NewEncoder(w).Encode(l)
		}
		return true
	case "GET " + localapi.PathEvents:
		f.events(w, r)
		return true
	default:
		return false
	}
	reply(w, http.StatusOK, v)
	return true
}

func (f *fakeAgent) setSetting(w http.ResponseWriter, body []byte) {
	var in localapi.SetSetting
	_ = json.Unmarshal(body, &in)
	for i := range f.w.Settings {
		s := &f.w.Settings[i]
		if s.Name != in.Name {
			continue
		}
		if s.Locked {
			reply(w, http.StatusForbidden, localapi.Error{
				Code: localapi.CodePermission, Message: "setting " + s.Name + " is managed by your administrator (mdm)", Hint: "to see what is managed run: warp-cli mdm get-configs",
			})
			return
		}
		s.Value, s.Origin = in.Value, localapi.OriginUser
		reply(w, http.StatusOK, localapi.SettingList{SchemaVersion: localapi.SchemaVersion, Settings: f.w.Settings})
		return
	}
	reply(w, http.StatusNotFound, localapi.Error{Code: "not_found", Message: "there is no setting " + in.Name})
}

// events writes the snapshot and what comes later.
func (f *fakeAgent) events(w http.ResponseWriter, r *http.Request) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	st, list := f.w.Status, f.w.Targets
	st.SchemaVersion, list.SchemaVersion = localapi.SchemaVersion, localapi.SchemaVersion
	events := append([]localapi.Event{
		{Type: "status", Status: &st},
		{Type: "targets", Targets: &list},
		{Type: "vnets", VNETs: &localapi.VNETList{SchemaVersion: localapi.SchemaVersion, VNETs: f.w.VNETs}},
	}, f.w.Later...)
	enc := json.NewEncoder(w)
	for i := range events {
		events[i].SchemaVersion, events[i].Time = localapi.SchemaVersion, at
		_ = enc.Encode(events[i])
	}
	_ = http.NewResponseController(w).Flush()
	if f.w.Holds {
		f.mu.Unlock() // others may ask meanwhile
		<-r.Context().Done()
		f.mu.Lock()
	}
}

package control

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"weft/access"
	"weft/access/posture"
	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
	"weft/targets"
	"weft/vnet"
)

// staleAfterSeconds is how long a gateway goes on by what it was told last before it denies what is new.
const staleAfterSeconds = 3600

// probePort is the UDP port of a gateway's liveness probe, inside the tunnel.
const probePort = 4460

// inputs are the account as one revision has it. Slices are shared between revisions that did not touch them.
type inputs struct {
	networks     []vnet.Network
	routes       []vnet.Route
	targets      []targets.Target
	applications []access.Application
	identities   []access.Identity
	devices      []store.Device
	tunnels      []store.TunnelKey
	gateways     []store.Gateway
	userCAs      []store.UserCA
	targetCAs    []api.GatewayTargetCA
	hostCAs      []string // authorized_keys form, the newest first
	networkRules []access.NetworkRule
	lists        []access.List
	groups       []access.RuleGroup
	recording    api.RecordingSettings
	logKey       string              // of SSH session logs; "": none
	postureRules []posture.Rule      // by ID
	passed       map[string][]string // by device: the posture rules that it passes, sorted
	profiles     []store.Profile     // in the order in which they are tried
}

// view is everything that follows from one revision. It is built once and shared by all streams; nothing in it is
// modified afterwards, but for the memo.
type view struct {
	revision  uint64
	revisions map[string]uint64
	in        inputs
	account   store.Account
	pool      vnet.Pool
	// explainAlmost lets users hear of a policy that includes them and still does not let them in.
	explainAlmost bool
	snapshot      *access.Snapshot
	identity      map[string]*access.Identity
	device        map[string]*store.Device
	limits        map[string]limit // by device
	// shared are the collections that every gateway gets alike.
	shared map[string]api.Collection
	// changed are the objects of a collection that differ from the view before, nil when that is not known.
	changed map[string][]string
	// superseded is closed when a newer view is there.
	superseded chan struct{}

	mu   sync.Mutex
	memo map[string]api.Document // by what a document is for; nil once superseded
}

// load reads what changed since the view before (nil: everything).
func load(ctx context.Context, r *store.Reader, old *view) (*view, error) {
	v := &view{superseded: make(chan struct{}), memo: map[string]api.Document{}, shared: map[string]api.Collection{}, changed: map[string][]string{}}
	var err error
	if v.revisions, err = r.Revisions(ctx); err != nil {
		return nil, err
	}
	for _, rev := range v.revisions {
		v.revision = max(v.revision, rev)
	}
	if old != nil {
		v.in = old.in
	}
	for name, read := range map[string]func() error{
		store.Networks:       func() (err error) { v.in.networks, err = r.DomainNetworks(ctx); return },
		store.Routes:         func() (err error) { v.in.routes, err = r.DomainRoutes(ctx); return },
		store.Targets:        func() error { return v.loadTargets(ctx, r, old) },
		store.Applications:   func() error { return v.loadApplications(ctx, r, old) },
		store.Users:          func() (err error) { v.in.identities, err = r.Identities(ctx); return },
		store.Devices:        func() (err error) { v.in.devices, err = r.ActiveDevices(ctx); return },
		store.Tunnels:        func() (err error) { v.in.tunnels, err = r.TunnelKeys(ctx); return },
		store.NetworkRules:   func() (err error) { v.in.networkRules, err = r.DomainNetworkRules(ctx); return },
		store.RuleGroups:     func() (err error) { v.in.groups, err = r.DomainRuleGroups(ctx); return },
		store.Lists:          func() (err error) { v.in.lists, err = r.DomainLists(ctx); return },
		store.PostureRules:   func() (err error) { v.in.postureRules, err = r.DomainPostureRules(ctx); return },
		store.PostureResults: func() (err error) { v.in.passed, err = r.PassedPosture(ctx); return },
		store.DeviceProfiles: func() (err error) { v.in.profiles, err = r.DomainProfiles(ctx); return },
		store.SessionSettings: func() (err error) {
			if v.in.recording, err = r.RecordingSettings(ctx); err != nil {
				return err
			}
			audit, err := r.AuditSSHSettings(ctx)
			v.in.logKey = audit.PublicKey
			return err
		},
		store.Gateways:   func() (err error) { v.in.gateways, err = r.Gateways(ctx); return },
		store.GatewayCAs: func() (err error) { v.in.userCAs, err = r.UserCAs(ctx); return },
		store.TargetHostCAs: func() error {
			cas, err := r.TargetHostCAs(ctx)
			v.in.targetCAs = gatewayTargetCAs(cas)
			return err
		},
		store.SSHHostCAs: func() error {
			cas, err := r.SSHHostCAs(ctx)
			v.in.hostCAs = make([]string, len(cas))
			for i, c := range cas {
				v.in.hostCAs[i] = c.PublicKey
			}
			return err
		},
	} {
		if v.same(old, name) {
			continue
		}
		if err := read(); err != nil {
			return nil, fmt.Errorf("load %s: %w", name, err)
		}
	}
	return v, nil
}

// same reports whether none of the collections changed since old.
func (v *view) same(old *view, collections ...string) bool {
	if old == nil {
		return false
	}
	for _, name := range collections {
		if v.revisions[name] != old.revisions[name] {
			return false
		}
	}
	return true
}

// compile makes the snapshot that decides. It is kept while nothing that it is made of changed.
func (v *view) compile(old *view) error {
	if v.same(old, store.Networks, store.Targets, store.Applications, store.RuleGroups, store.NetworkRules, store.Lists) {
		v.snapshot = old.snapshot
		return nil
	}
	var before *access.Snapshot
	if old != nil {
		before = old.snapshot
	}
	s, err := access.CompileAfter(before, access.Input{
		Revision: v.revision, Networks: v.in.networks, Targets: v.in.targets, Applications: v.in.applications,
		Groups: v.in.groups, NetworkRules: v.in.networkRules, Lists: v.in.lists,
	})
	v.snapshot = s // nil denies: better nothing than what was allowed before
	return err
}

// index makes the look-ups and the shared collections.
func (v *view) index(old *view) error {
	v.identity = make(map[string]*access.Identity, len(v.in.identities))
	for i := range v.in.identities {
		v.identity[v.in.identities[i].UserID] = &v.in.identities[i]
	}
	v.device = make(map[string]*store.Device, len(v.in.devices))
	for i := range v.in.devices {
		v.device[v.in.devices[i].ID] = &v.in.devices[i]
	}
	v.limitDevices(old)
	for name, c := range map[string]struct {
		from []string
		make func() (api.Collection, error)
	}{
		"networks":      {[]string{store.Networks}, v.wireNetworks},
		"routes":        {[]string{store.Routes}, func() (api.Collection, error) { return api.NewCollection(v.wireRoutes("")) }},
		"targets":       {[]string{store.Targets}, func() (api.Collection, error) { return v.wireTargets(old) }},
		"applications":  {[]string{store.Applications}, func() (api.Collection, error) { return v.wireApplications(old) }},
		"identities":    {[]string{store.Users}, v.wireIdentities},
		"network_rules": {[]string{store.NetworkRules}, v.wireNetworkRules},
		"groups":        {[]string{store.RuleGroups}, v.wireRuleGroups},
		"lists":         {[]string{store.Lists}, v.wireLists},
		"recording":     {[]string{store.SessionSettings}, v.wireRecording},
	} {
		if err := v.collection(old, name, c.make, c.from...); err != nil {
			return err
		}
	}
	// Slots follow from more than the devices' own rows, so this one is always compared.
	return v.collection(old, "devices", v.wireDevices)
}

func (v *view) collection(old *view, name string, build func() (api.Collection, error), from ...string) error {
	if len(from) > 0 && v.same(old, from...) {
		v.shared[name] = old.shared[name]
		return nil
	}
	c, err := build()
	if err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	if old != nil && v.changed[name] == nil { // share what did not change, so that old views cost little
		for k, raw := range c {
			if was, ok := old.shared[name][k]; ok && bytes.Equal(was, raw) {
				c[k] = was
			}
		}
	}
	v.shared[name] = c
	return nil
}

func (v *view) wireNetworks() (api.Collection, error) {
	m := make(map[string]api.WireNetwork, len(v.in.networks))
	for _, n := range v.in.networks {
		m[string(n.ID)] = api.WireNetwork{ID: n.ID, Name: n.Name, Default: n.Default}
	}
	return api.NewCollection(m)
}

// wireRoutes are the routes of a tunnel, or all.
func (v *view) wireRoutes(tunnel vnet.TunnelID) map[string]api.WireRoute {
	m := map[string]api.WireRoute{}
	for _, r := range v.in.routes {
		if tunnel == "" || r.Tunnel == tunnel {
			m[r.ID] = api.WireRoute{ID: r.ID, Prefix: r.Prefix, VNET: r.VNET, Tunnel: r.Tunnel}
		}
	}
	return m
}

func wireAddress(a *targets.Address) *api.AgentAddress {
	if a == nil {
		return nil
	}
	return &api.AgentAddress{Addr: a.Addr, VNET: a.VNET}
}

func (v *view) wireIdentities() (api.Collection, error) {
	m := make(map[string]access.Identity, len(v.in.identities))
	for _, i := range v.in.identities {
		m[i.UserID] = i
	}
	return api.NewCollection(m)
}

func (v *view) wireNetworkRules() (api.Collection, error) {
	m := make(map[string]access.NetworkRule, len(v.in.networkRules))
	for _, r := range v.in.networkRules {
		m[r.ID] = r
	}
	return api.NewCollection(m)
}

func (v *view) wireRuleGroups() (api.Collection, error) {
	m := make(map[string]access.RuleGroup, len(v.in.groups))
	for _, g := range v.in.groups {
		m[g.ID] = g
	}
	return api.NewCollection(m)
}

func (v *view) wireLists() (api.Collection, error) {
	m := make(map[string]access.List, len(v.in.lists))
	for _, l := range v.in.lists {
		m[l.ID] = l
	}
	return api.NewCollection(m)
}

func (v *view) wireRecording() (api.Collection, error) {
	m := map[string]api.RecordingSetting{api.RecordingAccount: v.in.recording.Account}
	for _, a := range v.in.recording.Applications {
		m[a.ApplicationID] = a.RecordingSetting
	}
	return api.NewCollection(m)
}

func (v *view) wireDevices() (api.Collection, error) {
	m := make(map[string]api.GatewayDevice, len(v.in.devices))
	for i := range v.in.devices {
		d := &v.in.devices[i]
		m[d.ID] = api.GatewayDevice{
			ID: d.ID, Name: d.Name, UserID: d.UserID, PublicKey: d.PublicKey, NextPublicKey: d.NextPublicKey, BlockIndex: d.BlockIndex,
			Slots: v.slotsOf(d), SourceIP: d.SourceIP, PassedChecks: v.passedChecks(d.ID),
		}
	}
	return api.NewCollection(m)
}

// entries is the target list of a device.
func (v *view) entries(d *store.Device) []targets.Entry {
	return access.Entries(v.snapshot, v.identity[d.UserID], v.accessDevice(d))
}

// entryNetworks are the virtual networks of the targets on a list.
func entryNetworks(entries []targets.Entry) map[vnet.ID]bool {
	m := map[vnet.ID]bool{}
	for i := range entries {
		for _, a := range []*targets.Address{entries[i].Target.IPv4, entries[i].Target.IPv6} {
			if a != nil {
				m[a.VNET] = true
			}
		}
	}
	return m
}

// document remembers what build made for a key, so that streams for the same receiver share it.
func (v *view) document(key string, build func() (api.Document, error)) (api.Document, error) {
	v.mu.Lock()
	d, ok := v.memo[key]
	v.mu.Unlock()
	if ok {
		return d, nil
	}
	d, err := build()
	if err != nil {
		return d, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.memo != nil {
		v.memo[key] = d
	}
	return d, nil
}

// retire wakes whoever waits for the next view and forgets the memo.
func (v *view) retire() {
	v.mu.Lock()
	v.memo = nil
	v.mu.Unlock()
	close(v.superseded)
}

// agentDocument is what a device gets. A device that is gone is kind.Unauthenticated.
func (v *view) agentDocument(id string) (api.Document, error) {
	d, ok := v.device[id]
	if !ok {
		return api.Document{}, kind.New(kind.Unauthenticated, "the registration of this device was revoked or deleted")
	}
	return v.document("agent/"+id, func() (api.Document, error) {
		block, err := v.pool.Block(d.BlockIndex)
		if err != nil {
			return api.Document{}, fmt.Errorf("block of device %s: %w", id, err)
		}
		entries := v.entries(d)
		s := api.AgentState{
			Self: api.AgentSyncSelf{
				DeviceID: d.ID, Email: d.Email, Name: d.Name, PublicKey: d.PublicKey, BlockV4: block.V4, BlockV6: block.V6, StaleAfterSeconds: staleAfterSeconds,
				SSHHostCAs: v.in.hostCAs, Posture: v.checksOf(d),
			},
			Gateways: v.agentGateways(), Networks: v.agentNetworks(d, entries), Entries: agentEntries(entries),
		}
		return api.DocumentOf(&s)
	})
}

func (v *view) agentGateways() map[string]api.AgentGateway {
	m := map[string]api.AgentGateway{}
	v4, v6 := v.pool.GatewayAddrs()
	for _, g := range v.in.gateways {
		if g.Report.PublicKey == "" {
			continue // it has not started yet
		}
		m[g.ID] = api.AgentGateway{
			ID: g.ID, Name: g.Name, PublicKey: g.Report.PublicKey, Endpoints: g.Report.Endpoints,
			ProbeV4: v4, ProbeV6: v6, ProbePort: probePort, Epoch: g.Report.Epoch,
			CheckEndpoints: g.Report.ConnectorEndpoints, Draining: g.Draining(),
		}
	}
	return m
}

// agentNetworks are the networks that a device has a slot for and that lead somewhere for it: those with a route,
// those of its targets, and the default.
func (v *view) agentNetworks(d *store.Device, entries []targets.Entry) map[string]api.AgentNetwork {
	useful := entryNetworks(entries)
	for _, r := range v.in.routes {
		useful[r.VNET] = true
	}
	m := map[string]api.AgentNetwork{}
	slots := v.slotsOf(d)
	for _, n := range v.in.networks {
		standard := v.isDefault(d, &n)
		if slot, ok := slots[n.ID]; ok && (standard || n.Default || useful[n.ID]) {
			m[string(n.ID)] = api.AgentNetwork{ID: n.ID, Name: n.Name, Comment: n.Comment, Default: standard, Slot: slot}
		}
	}
	return m
}

func agentEntries(entries []targets.Entry) map[string]api.AgentEntry {
	m := make(map[string]api.AgentEntry, len(entries))
	for i := range entries {
		e := &entries[i]
		m[string(e.Target.ID)+"/"+strconv.Itoa(int(e.Port))+"/"+string(e.Protocol)] = api.AgentEntry{
			TargetID: e.Target.ID, Hostname: e.Target.Hostname, Tags: e.Target.Tags, IPv4: wireAddress(e.Target.IPv4), IPv6: wireAddress(e.Target.IPv6),
			Protocol: e.Protocol, Port: e.Port, Usernames: e.Usernames,
		}
	}
	return m
}

// gatewayDocument is what a gateway gets, while the token is in force by which it came.
func (v *view) gatewayDocument(id, tokenHash string) (api.Document, error) {
	i := slices.IndexFunc(v.in.gateways, func(g store.Gateway) bool { return g.ID == id })
	if i < 0 || v.in.gateways[i].TokenHash != tokenHash {
		return api.Document{}, kind.New(kind.Unauthenticated, "the gateway was deleted or its token replaced")
	}
	return v.document("gateway/"+id, func() (api.Document, error) {
		self, err := json.Marshal(api.GatewaySyncSelf{
			GatewayID: id, AccountID: v.account.ID, PoolV4: v.pool.V4, PoolV6: v.pool.V6, ProbePort: probePort,
			StaleAfterSeconds: staleAfterSeconds, SSHCAPublicKey: signingKey(v.in.userCAs), SSHUserCAs: userKeys(v.in.userCAs),
			SSHTargetCAs: v.in.targetCAs, SSHHostCAs: v.in.hostCAs, ExplainAlmost: v.explainAlmost, PostureRules: v.ruleIDs(),
			Draining: v.in.gateways[i].DrainedAt != "", SSHLogKey: v.in.logKey,
		})
		if err != nil {
			return api.Document{}, fmt.Errorf("render self: %w", err)
		}
		tunnels := make(map[string]api.GatewayTunnel, len(v.in.tunnels))
		for _, t := range v.in.tunnels {
			tunnels[string(t.ID)] = api.GatewayTunnel{ID: t.ID, Name: t.Name, Key: connectorKey(t, id)}
		}
		c, err := api.NewCollection(tunnels)
		if err != nil {
			return api.Document{}, fmt.Errorf("render tunnels: %w", err)
		}
		all := maps.Clone(v.shared)
		all["tunnels"] = c
		return api.Document{Self: self, Collections: all}, nil
	})
}

// connectorDocument is what the connectors of a tunnel get that came with the secret of this hash.
func (v *view) connectorDocument(id vnet.TunnelID, secret [sha256.Size]byte) (api.Document, error) {
	i := slices.IndexFunc(v.in.tunnels, func(t store.TunnelKey) bool { return t.ID == id })
	if i < 0 {
		return api.Document{}, kind.New(kind.Unauthenticated, "the tunnel was deleted")
	}
	if !hmac.Equal(v.in.tunnels[i].SecretHash, secret[:]) { // else a connector with the former secret would be told the new keys
		return api.Document{}, kind.New(kind.Unauthenticated, "the tunnel's secret was changed").WithHint("get the token anew from the tunnel's token endpoint")
	}
	return v.document("connector/"+string(id), func() (api.Document, error) {
		t := v.in.tunnels[i]
		s := api.ConnectorState{
			Self:     api.ConnectorSyncSelf{TunnelID: t.ID, Name: t.Name},
			Gateways: map[string]api.ConnectorGateway{}, Routes: v.wireRoutes(id),
		}
		for _, g := range v.in.gateways {
			if g.Report.CertificateSHA256 == "" {
				continue // it has not started yet
			}
			s.Gateways[g.ID] = api.ConnectorGateway{
				ID: g.ID, Endpoints: g.Report.ConnectorEndpoints, CertificateSHA256: g.Report.CertificateSHA256, Key: connectorKey(t, g.ID),
			}
		}
		return api.DocumentOf(&s)
	})
}

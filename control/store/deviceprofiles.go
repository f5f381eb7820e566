package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"weft/access/netexpr"
	"weft/api"
	"weft/internal/kind"
	"weft/vnet"
)

// Limits of device profiles.
const (
	maxDeviceProfiles    = 50
	maxSplitTunnels      = 1000
	maxFallbackDomains   = 500
	maxProfileText       = 500
	maxProfilePrecedence = 1 << 40
)

// DefaultProfileID names the profile of the devices that no other matches.
const DefaultProfileID = "default"

// NewDeviceProfile is what a profile is before anything is said of it.
func NewDeviceProfile() api.DeviceProfile {
	return api.DeviceProfile{
		Enabled: true, AllowUpdates: true, AllowedToLeave: true, AllowModeSwitch: true, CaptivePortal: 180,
		ServiceMode: api.ServiceMode{Mode: "warp"}, TunnelProtocol: "wireguard",
		Exclude: []api.SplitTunnel{}, Include: []api.SplitTunnel{}, FallbackDomains: []api.FallbackDomain{},
		DNSSearchSuffixes: []api.SearchSuffix{}, TargetTests: []struct{}{},
	}
}

func defaultDeviceProfile() api.DeviceProfile {
	p := NewDeviceProfile()
	p.PolicyID, p.Default, p.Name = DefaultProfileID, true, "Default"
	return p
}

func scanDeviceProfile(rs *sql.Rows) (api.DeviceProfile, error) {
	p := NewDeviceProfile()
	var settings string
	if err := rs.Scan(&settings, &p.UpdatedAt); err != nil {
		return p, err
	}
	return p, json.Unmarshal([]byte(settings), &p)
}

// DeviceProfiles lists those that match by an expression, by precedence.
func (r *Reader) DeviceProfiles(ctx context.Context) ([]api.DeviceProfile, error) {
	return collect(ctx, r.q, scanDeviceProfile, `SELECT settings, updated_at FROM device_profiles WHERE is_default = 0 ORDER BY precedence`)
}

// DeviceProfile finds one; DefaultProfileID is always there.
func (r *Reader) DeviceProfile(ctx context.Context, id string) (api.DeviceProfile, error) {
	p, ok, err := one(ctx, r.q, scanDeviceProfile, `SELECT settings, updated_at FROM device_profiles WHERE id = $1`, id)
	switch {
	case err != nil || ok:
	case id == DefaultProfileID:
		p = defaultDeviceProfile()
	default:
		err = kind.New(kind.NotFound, "there is no device profile %q", clip(id))
	}
	return p, err
}

// CreateDeviceProfile adds a profile that matches by an expression.
func (tx *Tx) CreateDeviceProfile(ctx context.Context, p api.DeviceProfile) (api.DeviceProfile, error) {
	p.PolicyID, p.Default = newID(), false
	n, err := tx.count(ctx, `device_profiles`, &where{})
	if err != nil {
		return p, err
	}
	if n > maxDeviceProfiles {
		return p, kind.New(kind.Limit, "the account has reached its limit of %d device profiles", maxDeviceProfiles)
	}
	return p, tx.putDeviceProfile(ctx, &p, nil)
}

// UpdateDeviceProfile changes a profile, the default one included.
func (tx *Tx) UpdateDeviceProfile(ctx context.Context, id string, edit func(api.DeviceProfile) (api.DeviceProfile, error)) (api.DeviceProfile, error) {
	before, err := tx.DeviceProfile(ctx, id)
	if err != nil {
		return before, err
	}
	p, err := edit(before)
	if err != nil {
		return p, err
	}
	p.PolicyID, p.Default = before.PolicyID, before.Default
	if p.Default {
		p.Name, p.Match, p.Precedence, p.Enabled = before.Name, "", 0, true
	}
	return p, tx.putDeviceProfile(ctx, &p, &before)
}

// DeleteDeviceProfile removes a profile; the default one stays.
func (tx *Tx) DeleteDeviceProfile(ctx context.Context, id string) error {
	p, err := tx.DeviceProfile(ctx, id)
	if err != nil {
		return err
	}
	if p.Default {
		return kind.New(kind.Conflict, "the default device profile cannot be deleted")
	}
	if _, err := tx.exec(ctx, `DELETE FROM device_profiles WHERE id = $1`, id); err != nil {
		return err
	}
	return tx.changed(ctx, DeviceProfiles, "device_profile.delete", id, p)
}

// putDeviceProfile checks and writes p over what was before (nil: nothing).
func (tx *Tx) putDeviceProfile(ctx context.Context, p, before *api.DeviceProfile) error {
	if err := tx.checkDeviceProfile(ctx, p); err != nil {
		return err
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("render device profile: %w", err)
	}
	var precedence, defaultNetwork any
	if !p.Default {
		precedence = p.Precedence
	}
	if p.Networks != nil && p.Networks.Default != "" {
		defaultNetwork = p.Networks.Default
	}
	if _, err := tx.exec(ctx, `INSERT INTO device_profiles (id, is_default, name, precedence, settings, default_vnet_id, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $7)
		ON CONFLICT (id) DO UPDATE SET name = $3, precedence = $4, settings = $5, default_vnet_id = $6, updated_at = $7`,
		p.PolicyID, flag(p.Default), p.Name, precedence, string(raw), defaultNetwork, tx.at); err != nil {
		return err
	}
	if _, err := tx.exec(ctx, `DELETE FROM device_profile_networks WHERE profile_id = $1`, p.PolicyID); err != nil {
		return err
	}
	if p.Networks != nil {
		for _, n := range p.Networks.Allowed {
			if _, err := tx.exec(ctx, `INSERT INTO device_profile_networks (profile_id, vnet_id) VALUES ($1, $2)`, p.PolicyID, n); err != nil {
				return err
			}
		}
	}
	if before == nil {
		return tx.changed(ctx, DeviceProfiles, "device_profile.create", p.PolicyID, p)
	}
	return tx.changed(ctx, DeviceProfiles, "device_profile.update", p.PolicyID, change{before, p})
}

func (tx *Tx) checkDeviceProfile(ctx context.Context, p *api.DeviceProfile) error {
	if err := checkProfileFields(p); err != nil {
		return err
	}
	if err := tx.checkProfileNetworks(ctx, p); err != nil {
		return err
	}
	if p.Default {
		return nil
	}
	if err := checkName(p.Name); err != nil {
		return err
	}
	if strings.TrimSpace(p.Match) == "" {
		return kind.Field("/match", "a device profile needs an expression that matches its devices")
	}
	if _, err := netexpr.ParseProfile(p.Match); err != nil {
		return kind.Field("/match", "%s", err.Error())
	}
	if p.Precedence < 1 || p.Precedence > maxProfilePrecedence {
		return kind.Field("/precedence", "a precedence is a number from 1")
	}
	others, err := tx.DeviceProfiles(ctx)
	for i := range others {
		if o := &others[i]; o.PolicyID != p.PolicyID && o.Precedence == p.Precedence {
			return kind.Field("/precedence", "the precedence %d already belongs to device profile %q (%s)", p.Precedence, o.Name, o.PolicyID)
		}
	}
	return err
}

func checkProfileFields(p *api.DeviceProfile) error {
	for _, f := range []struct{ pointer, v string }{
		{"/description", p.Description}, {"/support_url", p.SupportURL}, {"/gateway_unique_id", p.GatewayUniqueID},
	} {
		if len(f.v) > maxProfileText {
			return kind.Field(f.pointer, "the value is longer than %d bytes", maxProfileText)
		}
		if err := checkText(f.pointer, f.v); err != nil {
			return err
		}
	}
	if p.SupportURL != "" {
		if u, err := url.Parse(p.SupportURL); err != nil || u.Scheme == "" {
			return kind.Field("/support_url", "%q is not a URL", clip(p.SupportURL))
		}
	}
	for _, f := range []struct {
		pointer string
		v, most int64
	}{{"/auto_connect", p.AutoConnect, 1440}, {"/captive_portal", p.CaptivePortal, 1440}, {"/lan_allow_minutes", deref(p.LANAllowMinutes), 1440}, {"/lan_allow_subnet_size", deref(p.LANAllowSubnetSize), 32}, {"/service_mode_v2/port", p.ServiceMode.Port, 65535}} {
		if f.v < 0 || f.v > f.most {
			return kind.Field(f.pointer, "the value is 0 to %d", f.most)
		}
	}
	if !slices.Contains([]string{"1dot1", "warp", "proxy", "posture_only", "warp_tunnel_only"}, p.ServiceMode.Mode) {
		return kind.Field("/service_mode_v2/mode", "there is no mode %q", clip(p.ServiceMode.Mode))
	}
	if !slices.Contains([]string{"", "wireguard", "masque"}, p.TunnelProtocol) {
		return kind.Field("/tunnel_protocol", "there is no tunnel protocol %q", clip(p.TunnelProtocol))
	}
	if len(p.Include) > 0 && len(p.Exclude) > 0 {
		return kind.Field("/include", "a device profile has either include or exclude entries")
	}
	return errors.Join(checkSplitTunnels("/exclude", p.Exclude), checkSplitTunnels("/include", p.Include), checkFallbackDomains(p.FallbackDomains),
		checkSearchSuffixes(p.DNSSearchSuffixes))
}

func checkSearchSuffixes(list []api.SearchSuffix) error {
	if len(list) > maxFallbackDomains {
		return kind.Field("/dns_search_suffixes", "a device profile can have %d search suffixes", maxFallbackDomains)
	}
	for i, s := range list {
		at := "/dns_search_suffixes/" + strconv.Itoa(i)
		if err := checkSuffix(at, s.Suffix, s.Description); err != nil {
			return err
		}
	}
	return nil
}

// checkSuffix checks what both kinds of suffixes have.
func checkSuffix(at, suffix, description string) error {
	if suffix == "" || len(suffix) > 253 {
		return kind.Field(at+"/suffix", "a suffix of 1 to 253 bytes is required")
	}
	if len(description) > maxProfileText {
		return kind.Field(at+"/description", "the value is longer than %d bytes", maxProfileText)
	}
	return errors.Join(checkText(at+"/suffix", suffix), checkText(at+"/description", description))
}

func checkSplitTunnels(pointer string, list []api.SplitTunnel) error {
	if len(list) > maxSplitTunnels {
		return kind.Field(pointer, "a device profile can have %d entries", maxSplitTunnels)
	}
	for i, s := range list {
		at := pointer + "/" + strconv.Itoa(i)
		if (s.Address == "") == (s.Host == "") {
			return kind.Field(at, "an entry has either an address or a host")
		}
		if s.Address != "" {
			_, err := netip.ParsePrefix(s.Address)
			if _, addrErr := netip.ParseAddr(s.Address); err != nil && addrErr != nil {
				return kind.Field(at+"/address", "%q is neither an address nor a prefix", clip(s.Address))
			}
		}
		if len(s.Host) > 253 || len(s.Description) > maxProfileText {
			return kind.Field(at, "the host or the description is too long")
		}
		if err := errors.Join(checkText(at+"/host", s.Host), checkText(at+"/description", s.Description)); err != nil {
			return err
		}
	}
	return nil
}

func checkFallbackDomains(list []api.FallbackDomain) error {
	if len(list) > maxFallbackDomains {
		return kind.Field("/fallback_domains", "a device profile can have %d fallback domains", maxFallbackDomains)
	}
	for i, d := range list {
		at := "/fallback_domains/" + strconv.Itoa(i)
		if len(d.DNSServer) > 10 {
			return kind.Field(at+"/dns_server", "a domain can have 10 servers")
		}
		for j, s := range d.DNSServer {
			if _, err := netip.ParseAddr(s); err != nil {
				return kind.Field(at+"/dns_server/"+strconv.Itoa(j), "%q is not an address", clip(s))
			}
		}
		if err := checkSuffix(at, d.Suffix, d.Description); err != nil {
			return err
		}
	}
	return nil
}

// checkProfileNetworks asks for networks that exist, and a default among those that are allowed.
func (tx *Tx) checkProfileNetworks(ctx context.Context, p *api.DeviceProfile) error {
	if p.Networks == nil {
		return nil
	}
	n := p.Networks
	if n.Allowed == nil {
		n.Allowed = []string{}
	}
	if len(n.Allowed) > 1000 {
		return kind.Field("/virtual_networks/allowed", "a device profile can allow 1000 virtual networks")
	}
	for i, id := range n.Allowed {
		at := "/virtual_networks/allowed/" + strconv.Itoa(i)
		if id == "" || slices.Contains(n.Allowed[:i], id) {
			return kind.Field(at, "a virtual network is missing or stands twice")
		}
		if _, err := tx.networkOrDefault(ctx, at, id); err != nil {
			return err
		}
	}
	if n.Default == "" {
		if len(n.Allowed) == 0 {
			return nil
		}
		d, err := tx.DefaultNetwork(ctx)
		if err == nil && !slices.Contains(n.Allowed, d.ID) {
			err = kind.Field("/virtual_networks/default", "the account's default virtual network is not allowed; name another default")
		}
		return err
	}
	if _, err := tx.networkOrDefault(ctx, "/virtual_networks/default", n.Default); err != nil {
		return err
	}
	if len(n.Allowed) > 0 && !slices.Contains(n.Allowed, n.Default) {
		return kind.Field("/virtual_networks/default", "the default is not one of the virtual networks that are allowed")
	}
	return nil
}

// Profile is a device profile as far as control acts on it.
type Profile struct {
	ID, Name  string
	UpdatedAt string
	// Match is nil for the default profile.
	Match *netexpr.Program
	// Networks are those that its devices may use; nil: all. Default is "" for the account's.
	Networks []vnet.ID
	Default  vnet.ID
}

// DomainProfiles are the enabled profiles in the order in which they are tried; the last is the default one. A profile whose
// expression cannot be read has a match that is never known.
func (r *Reader) DomainProfiles(ctx context.Context) ([]Profile, error) {
	all, err := r.DeviceProfiles(ctx)
	if err != nil {
		return nil, err
	}
	last, err := r.DeviceProfile(ctx, DefaultProfileID)
	if err != nil {
		return nil, err
	}
	var out []Profile
	for _, p := range append(all, last) {
		if !p.Enabled && !p.Default {
			continue
		}
		d := Profile{ID: p.PolicyID, Name: p.Name, UpdatedAt: p.UpdatedAt}
		if !p.Default {
			d.Match = new(netexpr.Program)
			if e, err := netexpr.ParseProfile(p.Match); err == nil {
				if m, err := e.Compile(nil); err == nil {
					d.Match = m
				}
			}
		}
		if n := p.Networks; n != nil {
			d.Default = vnet.ID(n.Default)
			for _, id := range n.Allowed {
				d.Networks = append(d.Networks, vnet.ID(id))
			}
		}
		out = append(out, d)
	}
	return out, nil
}

// DeviceSettings are the account's, or those that it has when nothing was said.
func (r *Reader) DeviceSettings(ctx context.Context) (api.DeviceSettings, error) {
	s, _, err := one(ctx, r.q, func(rs *sql.Rows) (api.DeviceSettings, error) {
		var s api.DeviceSettings
		var raw string
		if err := rs.Scan(&raw); err != nil {
			return s, err
		}
		return s, json.Unmarshal([]byte(raw), &s)
	}, `SELECT settings FROM device_settings WHERE id = 'settings'`)
	return s, err
}

// UpdateDeviceSettings changes the account's settings of devices.
func (tx *Tx) UpdateDeviceSettings(ctx context.Context, edit func(api.DeviceSettings) (api.DeviceSettings, error)) (api.DeviceSettings, error) {
	before, err := tx.DeviceSettings(ctx)
	if err != nil {
		return before, err
	}
	s, err := edit(before)
	if err != nil {
		return s, err
	}
	if s.DisableForTime < 0 || s.DisableForTime > 30*24*3600 {
		return s, kind.Field("/disable_for_time", "the time is 0 to %d seconds", 30*24*3600)
	}
	for _, f := range []struct{ pointer, v string }{
		{"/external_emergency_signal_fingerprint", s.ExternalEmergencySignalFingerprint},
		{"/external_emergency_signal_interval", s.ExternalEmergencySignalInterval},
		{"/external_emergency_signal_url", s.ExternalEmergencySignalURL},
	} {
		if len(f.v) > maxProfileText {
			return s, kind.Field(f.pointer, "the value is longer than %d bytes", maxProfileText)
		}
		if err := checkText(f.pointer, f.v); err != nil {
			return s, err
		}
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return s, fmt.Errorf("render device settings: %w", err)
	}
	if _, err := tx.exec(ctx, `INSERT INTO device_settings (id, settings, updated_at) VALUES ('settings', $1, $2)
		ON CONFLICT (id) DO UPDATE SET settings = $1, updated_at = $2`, string(raw), tx.at); err != nil {
		return s, err
	}
	return s, tx.audit(ctx, "device_settings.update", "device_settings", "settings", change{before, s})
}

package sdk_test

import (
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"testing"

	cf0 "github.com/cloudflare/cloudflare-go"
	cf "github.com/cloudflare/cloudflare-go/v6"
	zt "github.com/cloudflare/cloudflare-go/v6/zero_trust"

	"weft/control/controltest"
)

func logKey(t *testing.T) string {
	t.Helper()
	return base64.StdEncoding.EncodeToString(must(ecdh.X25519().GenerateKey(rand.Reader)).PublicKey().Bytes())
}

func TestV0_AuditSSHSettings(t *testing.T) {
	s := controltest.New(t)
	c, account := v0(t, s)
	key := logKey(t)
	if got, _, err := c.GetAuditSSHSettings(t.Context(), account, cf0.GetAuditSSHSettingsParams{}); err != nil || got.PublicKey != "" {
		t.Errorf("a new account has %+v, %v", got, err)
	}
	set := must(c.UpdateAuditSSHSettings(t.Context(), account, cf0.UpdateAuditSSHSettingsParams{PublicKey: key}))
	got, _, err := c.GetAuditSSHSettings(t.Context(), account, cf0.GetAuditSSHSettingsParams{})
	if err != nil || got.PublicKey != key || got.SeedUUID != set.SeedUUID || set.SeedUUID == "" || got.CreatedAt == nil || got.UpdatedAt == nil {
		t.Errorf("set %+v, read %+v, %v", set, got, err)
	}
}

func TestV6_AuditSSHSettings(t *testing.T) {
	s := controltest.New(t)
	c, account := v6(t, s).ZeroTrust.Gateway.AuditSSHSettings, cf.F(s.AccountID)
	ctx, key := t.Context(), logKey(t)
	set := must(c.Update(ctx, zt.GatewayAuditSSHSettingUpdateParams{AccountID: account, PublicKey: cf.F(key)}))
	got := must(c.Get(ctx, zt.GatewayAuditSSHSettingGetParams{AccountID: account}))
	if got.PublicKey != key || got.SeedID != set.SeedID || got.SeedID == "" || got.CreatedAt.IsZero() || got.UpdatedAt.IsZero() {
		t.Errorf("set %+v, read %+v", set, got)
	}
	if rotated := must(c.RotateSeed(ctx, zt.GatewayAuditSSHSettingRotateSeedParams{AccountID: account})); rotated.SeedID == got.SeedID || rotated.PublicKey != key {
		t.Errorf("rotated %+v", rotated)
	}
	_, err := c.Update(ctx, zt.GatewayAuditSSHSettingUpdateParams{AccountID: account, PublicKey: cf.F("no key")})
	status(t, "no key", err, 400)
	if off := must(c.Update(ctx, zt.GatewayAuditSSHSettingUpdateParams{AccountID: account, PublicKey: cf.F("")})); off.PublicKey != "" {
		t.Errorf("turned off: %+v", off)
	}
}

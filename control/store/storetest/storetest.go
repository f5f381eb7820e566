// Package storetest is the conformance suite of the store: what every engine must do. An engine's own test gives it
// a way to open an empty store with a clock.
package storetest

import (
	"context"
	"sync"
	"testing"
	"time"

	"weft/control/store"
	"weft/internal/kind"
)

// Clock is a clock that a test moves.
type Clock struct {
	mu sync.Mutex
	at time.Time // guarded by mu
}

// NewClock starts at a fixed time.
func NewClock() *Clock { return &Clock{at: time.Date(2026, 11, 22, 15, 0, 0, 0, time.UTC)} }

// Now moves a microsecond with every look, so that stamps differ.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Microsecond)
	return c.at
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Open opens an empty store that ends with the test.
type Open func(tb testing.TB, now func() time.Time) *store.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *fixture){
		"NetworksHaveOneDefault":             networksHaveOneDefault,
		"NetworkNamesAreUniqueWithoutCase":   networkNamesAreUnique,
		"NetworksInUseStay":                  networksInUseStay,
		"TunnelSecretsComeBack":              tunnelSecretsComeBack,
		"TunnelsInUseStay":                   tunnelsInUseStay,
		"RoutesAreUniqueInANetwork":          routesAreUnique,
		"RoutesAreFound":                     routesAreFound,
		"TargetsKeepTheirSpelling":           targetsKeepTheirSpelling,
		"TargetAddressesAreUnique":           targetAddressesAreUnique,
		"TargetFilters":                      targetFilters,
		"TargetPages":                        targetPages,
		"TargetPagesFarDown":                 targetPagesFarDown,
		"PoliciesKeepTheirIdentity":          policiesKeepTheirIdentity,
		"PortsCarryOneProtocol":              portsCarryOneProtocol,
		"ApplicationCAsShowTheAccounts":      applicationCAsShowTheAccounts,
		"PrecedencesFit":                     precedencesFit,
		"UserCAsRotate":                      userCAsRotate,
		"CertificatesAreRevoked":             certificatesAreRevoked,
		"TargetHostCAs":                      targetHostCAs,
		"KeysAreUsedUp":                      keysAreUsedUp,
		"KeysExpire":                         keysExpire,
		"OneShotKeysInARace":                 oneShotKeysInARace,
		"RevokingAUserEndsEverything":        revokingAUser,
		"RevokedDevicesComeBack":             revokedDevicesComeBack,
		"DeviceKeysChangeInTwoSteps":         deviceKeysChange,
		"BlocksAreNotReusedSoon":             blocksAreNotReused,
		"GatewayTokensRotate":                gatewayTokensRotate,
		"TokensAreRevoked":                   tokensAreRevoked,
		"FailedWritesLeaveNothing":           failedWritesLeaveNothing,
		"WritesRaiseTheirCollectionAndAudit": writesRaiseRevisions,
		"SlotsStay":                          slotsStay,
		"NetworkRulesHaveTheirOrder":         networkRulesHaveTheirOrder,
		"ListsInUseStay":                     listsInUseStay,
		"RuleGroupsInUseStay":                ruleGroupsInUseStay,
		"TextSortsByBytes":                   textSortsByBytes,
		"TextIsComparedWithCase":             textIsComparedWithCase,
		"TextThatCannotBe":                   textThatCannotBe,
		"EmptyAccountReads":                  emptyAccountReads,
		"ReusablePoliciesAreShared":          reusablePoliciesAreShared,
		"ForeignRulesStayOut":                foreignRulesStayOut,
		"ServiceTokensLive":                  serviceTokensLive,
		"ProviderSecretsStay":                providerSecretsStay,
		"OneOrganization":                    oneOrganization,
		"UsersComeAndGo":                     usersComeAndGo,
		"LogsAreFiltered":                    logsAreFiltered,
		"PostureIsReported":                  postureIsReported,
		"ProfilesLimitNetworks":              profilesLimitNetworks,
		"TunnelsHaveConfigurations":          tunnelsHaveConfigurations,
		"IntegrationsHideSecrets":            integrationsHideSecrets,
	} {
		t.Run(name, func(t *testing.T) {
			clock := NewClock()
			test(t, &fixture{Store: open(t, clock.Now), clock: clock, ctx: t.Context()})
		})
	}
}

// fixture is a store with helpers that fail the test.
type fixture struct {
	*store.Store
	clock *Clock
	ctx   context.Context //nolint:containedctx // that of the one test, which every line would repeat
}

var admin = store.Actor{Type: "token", ID: "admin"}

// write runs fn in a transaction that must succeed.
func (f *fixture) write(t *testing.T, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := f.Update(f.ctx, admin, fn); err != nil {
		t.Fatalf("write: %v", err)
	}
}

// refused runs fn in a transaction that must fail with the kind.
func (f *fixture) refused(t *testing.T, k kind.Kind, fn func(tx *store.Tx) error) {
	t.Helper()
	_ = f.refusal(t, k, fn) // that it is of the kind is all that is asked
}

// refusal is refused for those who look at the error.
func (f *fixture) refusal(t *testing.T, k kind.Kind, fn func(tx *store.Tx) error) error {
	t.Helper()
	err := f.Update(f.ctx, admin, fn)
	if !kind.Is(err, k) {
		t.Fatalf("error is %v of kind %q, want kind %q", err, kind.Of(err), k)
	}
	return err
}

func (f *fixture) read(t *testing.T, fn func(r *store.Reader) error) {
	t.Helper()
	if err := f.View(f.ctx, fn); err != nil {
		t.Fatalf("read: %v", err)
	}
}

package agent

import (
	"context"
	"log/slog"
)

// Seams of the tests.
var (
	StateDirForTest = stateDir
	QuietForTest    = func(l *slog.Logger) *slog.Logger { return quiet(l) }
)

// LogForTest is the agent's own logger, whose end diag remembers.
func (a *Agent) LogForTest() *slog.Logger { return a.log }

// SecretsForTest are the device's private key and token.
func (a *Agent) SecretsForTest(ctx context.Context) (key, token string, err error) {
	s, err := a.vault.load(ctx, a.registration().KeyStore)
	return s.PrivateKey.Base64(), string(s.Token), err
}

// ParseAnswerForTest reads what a gateway sent.
var ParseAnswerForTest = parseAnswer

package agent

import "log/slog"

// Seams of the tests.
var (
	StateDirForTest = stateDir
	QuietForTest    = func(l *slog.Logger) *slog.Logger { return quiet(l) }
)

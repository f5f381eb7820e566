package netwatch

// Seams of the tests.
var (
	CoalesceForTest = coalesce
	PollForTest     = poll
)

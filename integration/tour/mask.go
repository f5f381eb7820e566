package tour

import (
	"regexp"
	"strings"
)

// masks replace what differs from run to run. Everything else counts, except how wide a column is: that follows from what
// stands in it.
var masks = []struct {
	what    *regexp.Regexp
	becomes string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "UUID"},
	{regexp.MustCompile(`"UUID"`), "UUID"}, // YAML quotes those that could be a number
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?Z| ?UTC|[+-]\d\d:\d\d)?`), "TIME"},
	{regexp.MustCompile(`\b(\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d(\.\d+)?)`), "TIME"},
	{regexp.MustCompile(`[A-Za-z0-9+/]{43}=`), "KEY"},
	{regexp.MustCompile(`(revision:?"?:? )\d+`), "${1}NUMBER"},
	{regexp.MustCompile(`("?age_seconds"?: )[\d.]+`), "${1}NUMBER"},
	{regexp.MustCompile(`\b(ssh|scp|curl) \(\d+\)`), "$1 (PID)"},
	{regexp.MustCompile(`\b\d+ packets\b`), "NUMBER packets"},
	{regexp.MustCompile(`\d+ of \d+ probes`), "N of N probes"},
	{regexp.MustCompile(`profiles/p[0-9a-f]+`), "profiles/ID"},
	{regexp.MustCompile(`SHA256:[A-Za-z0-9+/]{43}`), "FINGERPRINT"},
	{regexp.MustCompile(`\b[0-9a-f]{16,64}\b`), "HEX"},
	{regexp.MustCompile(`(127\.0\.0\.1|localhost):[0-9]{5}\b`), "${1}:PORT"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ns|µs|us|ms|s|m|h)(\d+(\.\d+)?(ms|s|m))*\b`), "DURATION"},
	{regexp.MustCompile(`\b\d+(\.\d+)? (ms|s|seconds?|minutes?|hours?|days?)\b`), "DURATION"},
	{regexp.MustCompile(`\b\d[\d,]*(\.\d+)? ?(B|KB|MB|KiB|MiB|GiB|bytes)\b`), "SIZE"},
	{regexp.MustCompile(`(?m)^│ \d+ +│ tcp `), "│ NUMBER │ tcp "}, // how many flows there were before
	{regexp.MustCompile(`─+`), "─"},
	{regexp.MustCompile(`[ \t]+`), " "},
}

// usual are ports that the tour itself chooses: they are not masked.
var usual = regexp.MustCompile(`127\.0\.0\.1:(40000|41000|54321)\b`)

// Mask returns text in the form in which two runs are alike.
func Mask(text string) string {
	text = usual.ReplaceAllString(text, "127.0.0.1 port $1")
	for _, m := range masks {
		text = m.what.ReplaceAllString(text, m.becomes)
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

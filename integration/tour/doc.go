// Package tour replays docs/tour.md: every command that stands there is run as it stands, in one shell, against the real
// programs, and what it shows must be what the document shows. It runs in namespaces of its own, with or without root.
//
//	go test -tags e2e ./integration/tour            compare
//	go test -tags e2e ./integration/tour -update    write what the commands showed into the document
package tour

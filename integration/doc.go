// Package integration holds what runs the real programs together: the demo
// (demo/), the benchmark through SOCKS5 (bench/), what both share with the tests
// (lab/), and the end-to-end tests, which need root and Linux network namespaces:
//
//	go test -tags e2e ./integration/...
package integration

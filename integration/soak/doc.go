// Package soak runs what happens to an agent every day, again and again, with the real control plane, gateway,
// connectors and agent in one process, and asks whether anything has grown: goroutines, file descriptors, heap.
//
//	go test ./integration/soak                # some dozens of cycles of each kind, about 5 s
//	go test -tags e2e -v ./integration/soak   # 1,000 of each
//
// WEFT_SOAK_CYCLES=N sets another number.
package soak

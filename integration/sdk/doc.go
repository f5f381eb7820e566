// Package sdk drives a control plane with the SDKs that others wrote for the API it is compatible with:
// cloudflare-go v0.119 (hand-written) and v6 (generated). It is a module of its own, so that they never enter Weft's.
// Run its tests in this folder: go test ./...
//
// Every method that the SDKs have for what Weft stands in for, and every parameter of their lists, is driven by a test or
// named with the reason (notDriven, noEffect); TestMain compares, and makes docs/sdk.md of it with -update.
package sdk

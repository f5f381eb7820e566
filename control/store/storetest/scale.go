package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"weft/api"
	"weft/control/store"
)

// The account of the benchmarks of scale: what a large company has.
const (
	ScaleTargets      = 100_000
	ScaleApplications = 5_000
	ScalePolicies     = 4 // of each application
)

// Scale opens a store with the account of the benchmarks of scale.
func Scale(tb testing.TB) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), store.Config{Path: filepath.Join(tb.TempDir(), "weft.db"), Key: make([]byte, 32)})
	must(tb, err)
	tb.Cleanup(func() { _ = s.Close() })
	for i := 0; i < ScaleTargets; i += 10_000 {
		CreateTargets(tb, s, i, 10_000)
	}
	for i := 0; i < ScaleApplications; i += 100 {
		must(tb, s.Update(tb.Context(), store.System, func(tx *store.Tx) error {
			for k := range 100 {
				if err := createScaleApplication(tb.Context(), tx, i+k); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	return s
}

// CreateTargets adds n targets in one transaction, numbered from from; see ScaleTarget.
func CreateTargets(tb testing.TB, s *store.Store, from, n int) {
	tb.Helper()
	must(tb, s.Update(tb.Context(), store.System, func(tx *store.Tx) error {
		for i := range n {
			if _, err := tx.CreateTarget(tb.Context(), "", ScaleTarget(from+i)); err != nil {
				return err
			}
		}
		return nil
	}))
}

// ScaleTarget is the i-th target: one of 5,000 hostnames, an address of its own.
func ScaleTarget(i int) api.TargetWrite {
	var w api.TargetWrite
	w.Hostname = fmt.Sprintf("srv-%05d", i%ScaleApplications)
	w.IP.IPv4 = &api.TargetAddress{Addr: fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)}
	return w
}

func createScaleApplication(ctx context.Context, tx *store.Tx, i int) error {
	_, err := tx.CreateApplication(ctx, ScaleApplication(i))
	return err
}

// ScaleApplication covers one hostname with four policies.
func ScaleApplication(i int) api.ApplicationWrite {
	w := api.ApplicationWrite{Name: fmt.Sprintf("app %05d", i)}
	read := func(text []byte, v any) {
		if err := json.Unmarshal(text, v); err != nil {
			panic(err) // our own text
		}
	}
	read(fmt.Appendf(nil, `[{"port":22,"protocol":"SSH","target_attributes":{"hostname":["srv-%05d"]}}]`, i), &w.Criteria)
	policies := make([]api.PolicyWrite, ScalePolicies)
	for k := range policies {
		read(fmt.Appendf(nil, `{"name":"policy %d","decision":"allow","precedence":%d,"include":[{"email":{"email":"user%d@company.com"}}],
			"connection_rules":{"ssh":{"usernames":["deploy","root"]}}}`, k, k+1, i*ScalePolicies+k), &policies[k])
	}
	w.Policies = &policies
	return w
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// CreateApplication adds the i-th application; see ScaleApplication.
func CreateApplication(tb testing.TB, s *store.Store, i int) {
	tb.Helper()
	must(tb, s.Update(tb.Context(), store.System, func(tx *store.Tx) error { return createScaleApplication(tb.Context(), tx, i) }))
}

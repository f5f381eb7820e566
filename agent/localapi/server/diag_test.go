package server_test

import (
	"context"
	"strings"

	"weft/agent/localapi"
)

func (a *fakeAgent) Diag(_ context.Context, q localapi.DiagRequest) (localapi.DiagReport, error) {
	return localapi.DiagReport{SchemaVersion: 1, Checks: []localapi.DiagCheck{}}, a.note("diag %s", strings.Join(q.Checks, ","))
}

func (a *fakeAgent) Bundle(_ context.Context, q localapi.BundleRequest) (localapi.Bundle, error) {
	return localapi.Bundle{SchemaVersion: 1, Files: []localapi.BundleFile{}}, a.note("bundle %v", q.Anonymize)
}

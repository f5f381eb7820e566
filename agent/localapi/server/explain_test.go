package server_test

import (
	"context"

	"weft/agent/localapi"
)

func (a *fakeAgent) Explain(_ context.Context, q localapi.ExplainRequest) (localapi.Explanation, error) {
	return localapi.Explanation{SchemaVersion: 1, Target: q.Name, Steps: []localapi.ExplainStep{}}, a.note("explain %s %d %s %s %v", q.Name, q.Port, q.Login, q.VNET, q.Offline)
}

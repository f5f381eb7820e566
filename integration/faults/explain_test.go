package faults_test

import (
	"testing"

	"weft/agent/localapi"
)

func TestExplain_NothingInTheWay(t *testing.T) {
	w := newWorld(t, options{})
	e := w.explain(localapi.ExplainRequest{Name: "web-1", Port: 22, Login: "root"})
	for _, s := range e.Steps {
		t.Logf("%+v", s)
	}
	if e.Code != "" || !e.Live {
		t.Errorf("code %q, live %v", e.Code, e.Live)
	}
}

package cli_test

import (
	"encoding/json"
	"net/http"
	"slices"

	"weft/agent/localapi"
)

// faultWorld is the part of a world that explain and diag ask for.
type faultWorld struct {
	Explanation localapi.Explanation `json:"explanation"`
	Diag        localapi.DiagReport  `json:"diag"`
	Bundle      localapi.Bundle      `json:"bundle"`
}

// answerFaults answers what explain and diag ask; it is called with the lock held.
func (f *fakeAgent) answerFaults(w http.ResponseWriter, _ *http.Request, key string, body []byte) (known bool) {
	var in struct {
		localapi.DiagRequest
		localapi.ExplainRequest
	}
	_ = json.Unmarshal(body, &in)
	switch key {
	case "POST " + localapi.PathExplain:
		e := f.w.Explanation
		e.SchemaVersion, e.Login = localapi.SchemaVersion, in.Login
		reply(w, http.StatusOK, e)
	case "POST " + localapi.PathDiag:
		r := f.w.Diag
		r.SchemaVersion = localapi.SchemaVersion
		r.Checks = slices.DeleteFunc(slices.Clone(r.Checks), func(c localapi.DiagCheck) bool { return !fits(in.Checks, c.Code) })
		reply(w, http.StatusOK, r)
	case "POST " + localapi.PathDiagBundle:
		b := f.w.Bundle
		b.SchemaVersion = localapi.SchemaVersion
		reply(w, http.StatusOK, b)
	default:
		return false
	}
	return true
}

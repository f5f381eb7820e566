package control

import (
	"context"
	"net/http"
	"reflect"
)

// openAPI serves the description. It says nothing that the source does not, so it asks for no credential.
func (c *Control) openAPI(ctx context.Context, q *call, w http.ResponseWriter) error {
	raw, err := c.description()
	if err != nil {
		return err
	}
	tag := entityTag(raw)
	w.Header().Set("ETag", tag)
	if noneMatch(q.r.Header, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache") // ask again, with the ETag
	if _, err := w.Write(raw); err != nil {
		c.log.DebugContext(ctx, "write description", "error", err)
	}
	return nil
}

// schemeOf names the kind of credential that an authenticator asks for, "" for none.
func schemeOf(auth authenticator) string {
	for scheme, a := range map[string]authenticator{
		schemeAPI: authAPI, schemeDevice: authDevice, schemeGateway: authGateway, schemeConnector: authConnector,
	} {
		if reflect.ValueOf(a).Pointer() == reflect.ValueOf(auth).Pointer() {
			return scheme
		}
	}
	return ""
}

package control_test

import (
	"bufio"
	"fmt"
	"net/http"
	"testing"

	"weft/api"
	"weft/control/controltest"
)

// A connector that is in contact is listed with its tunnel and found by itself; one that is not is not.
func TestTunnels_HaveConnectors(t *testing.T) {
	s := controltest.New(t)
	c := newRawClient(t, s)
	tunnel, token := s.Tunnel("office")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+api.PathConnectorSync, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	stream, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Body.Close() }()
	if _, err := bufio.NewReader(stream.Body).ReadBytes('\n'); err != nil {
		t.Fatalf("the first event: %v", err)
	}
	at := "~/cfd_tunnel/" + tunnel
	list := c.good(t, "GET", at+"/connections", "").list
	if len(list) != 1 {
		t.Fatalf("connectors: %v", list)
	}
	one := c.good(t, "GET", fmt.Sprintf("%s/connectors/%s", at, list[0]["id"]), "").result
	if one["id"] != list[0]["id"] || one["origin_ip"] != "127.0.0.1" {
		t.Errorf("the connector is %v, listed as %v", one, list[0])
	}
	if r := c.admin(t, "GET", at+"/connectors/no", ""); r.status != http.StatusNotFound {
		t.Errorf("an unknown connector: %s", r.raw)
	}
	if r := c.admin(t, "GET", "~/cfd_tunnel/no/connectors/"+fmt.Sprint(list[0]["id"]), ""); r.status != http.StatusNotFound {
		t.Errorf("an unknown tunnel: %s", r.raw)
	}
}

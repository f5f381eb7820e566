package control

import (
	"context"
	"encoding/hex"
	"net"
	"strconv"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
)

func (c *Control) createGateway(ctx context.Context, q *call) (answer, error) {
	var in api.NewGateway
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	var g store.Gateway
	var token string
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		g, token, err = tx.CreateGateway(ctx, in.Name)
		return err
	})
	return answer{result: api.NewGatewayResult{ID: g.ID, Name: g.Name, Token: token}}, err
}

func (c *Control) reportGateway(ctx context.Context, q *call) (answer, error) {
	var in api.GatewayReport
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	if err := checkReport(&in); err != nil {
		return answer{}, err
	}
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.ReportGateway(ctx, q.gateway.ID, in) })
	return answer{}, err
}

// Limits of what a gateway tells every agent.
const (
	maxEndpoints   = 16
	maxReportField = 128
)

func checkReport(r *api.GatewayReport) (err error) {
	if r.PublicKey, err = parsePublicKey("/public_key", r.PublicKey); err != nil {
		return err
	}
	if raw, err := hex.DecodeString(r.CertificateSHA256); err != nil || len(raw) != 32 {
		return kind.Field("/certificate_sha256", "the fingerprint is not 64 hex digits")
	}
	for name, list := range map[string][]string{"endpoints": r.Endpoints, "connector_endpoints": r.ConnectorEndpoints} {
		if len(list) == 0 || len(list) > maxEndpoints {
			return kind.Field("/"+name, "a gateway has 1 to %d endpoints", maxEndpoints)
		}
		for i, e := range list {
			host, port, err := net.SplitHostPort(e)
			if n, convErr := strconv.ParseUint(port, 10, 16); err != nil || convErr != nil || n == 0 || host == "" || len(e) > 300 {
				return kind.Field("/"+name+"/"+strconv.Itoa(i), "an endpoint is host:port")
			}
		}
	}
	if r.Epoch == "" || len(r.Epoch) > maxReportField || len(r.Version) > maxReportField {
		return kind.Field("/epoch", "epoch and version are at most %d bytes, and the epoch is required", maxReportField)
	}
	return nil
}

package control

import (
	"bytes"
	"context"
	"strings"

	"weft/api"
	"weft/control/store"
	"weft/control/strictjson"
	"weft/internal/kind"
)

// routeNoise are keys that clients send back from an answer.
var routeNoise = []string{"id", "created_at", "deleted_at", "tunnel_name", "tun_type", "virtual_network_name"}

func (c *Control) createRoute(ctx context.Context, q *call) (answer, error) {
	var in api.RouteWrite
	if err := q.body(&in, routeNoise...); err != nil {
		return answer{}, err
	}
	// The older form of the request has the prefix in the path.
	if p, ok := q.params["network"]; ok {
		if in.Network != nil && *in.Network != p {
			return answer{}, kind.Field("/network", "the prefix of the body, %q, is not that of the path, %q", *in.Network, p)
		}
		in.Network = &p
	}
	f := store.RouteFields{Network: deref(in.Network), TunnelID: deref(in.TunnelID), VNET: deref(in.VNET), Comment: deref(in.Comment)}
	var x api.Route
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		x, err = tx.CreateRoute(ctx, f)
		return err
	})
	return answer{result: plainRoute(x)}, err
}

// plainRoute leaves out the names, which only lists and look-ups have.
func plainRoute(x api.Route) api.Route {
	x.TunnelName, x.TunnelType, x.VNETName = "", "", ""
	return x
}

func (c *Control) listRoutes(ctx context.Context, q *call) (answer, error) {
	p, err := q.pageOf(maxPerPage) // cloudflare-go v0 names none and reads one page
	if err != nil {
		return answer{}, err
	}
	f := store.RouteFilter{
		ID: q.query.Get("route_id"), TunnelID: q.query.Get("tunnel_id"), VNET: q.query.Get("virtual_network_id"), Comment: q.query.Get("comment"),
	}
	if f.IsDeleted, err = q.queryBool("is_deleted"); err != nil {
		return answer{}, err
	}
	if f.ExistedAt, err = q.queryTime("existed_at"); err != nil {
		return answer{}, err
	}
	f.TunnelTypes = q.tunnelTypes()
	if f.Subset, err = q.queryPrefix("network_subset"); err != nil {
		return answer{}, err
	}
	if f.Superset, err = q.queryPrefix("network_superset"); err != nil {
		return answer{}, err
	}
	var list []api.Route
	var total int
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		list, total, err = r.ListRoutes(ctx, f, p)
		return err
	})
	return paged(list, total, p), err
}

// tunnelTypes are those that a list is asked for, nil for all; a client may repeat the parameter or join its values.
func (q *call) tunnelTypes() (types []string) {
	for _, list := range q.query["tun_types"] {
		types = append(types, strings.Split(list, ",")...)
	}
	return types
}

// routeID finds the route that the path means, by its ID or by prefix and network.
func routeID(ctx context.Context, r *store.Reader, q *call, vnetID string) (string, error) {
	network, ok := q.params["network"]
	if !ok {
		return q.params["id"], nil
	}
	p, err := store.ParseNetwork("", network)
	if err != nil {
		return "", err
	}
	x, err := r.RouteByNetwork(ctx, p, vnetID)
	if t := q.query.Get("tunnel_id"); err == nil && t != "" && t != x.TunnelID {
		err = kind.New(kind.NotFound, "route %s does not lead to tunnel %q", x.ID, t)
	}
	if t := q.query.Get("tun_type"); err == nil && t != "" && t != store.TunnelType {
		err = kind.New(kind.NotFound, "route %s does not lead to a tunnel of type %q", x.ID, t)
	}
	return x.ID, withCode(err, kind.NotFound, codeRouteNotFound)
}

func (c *Control) getRoute(ctx context.Context, q *call) (answer, error) {
	var x api.Route
	err := c.store.View(ctx, func(r *store.Reader) error {
		id, err := routeID(ctx, r, q, q.query.Get("virtual_network_id"))
		if err != nil {
			return err
		}
		x, err = r.Route(ctx, id)
		return withCode(err, kind.NotFound, codeRouteNotFound)
	})
	return answer{result: x}, err
}

func (c *Control) updateRoute(ctx context.Context, q *call) (answer, error) {
	in, err := readRouteChange(q)
	if err != nil {
		return answer{}, err
	}
	var x api.Route
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		// By prefix, the body's network says in which one the route is; a route does not move between networks then.
		id, err := routeID(ctx, &tx.Reader, q, deref(in.VNET))
		if err != nil {
			return err
		}
		x, err = tx.UpdateRoute(ctx, id, in)
		return withCode(err, kind.NotFound, codeRouteNotFound)
	})
	return answer{result: plainRoute(x)}, err
}

// readRouteChange reads a body, which cloudflare-go v6 has no field for by prefix: without one nothing changes.
func readRouteChange(q *call) (in api.RouteWrite, err error) {
	raw, err := q.rawBody()
	if _, byPrefix := q.params["network"]; err != nil || byPrefix && len(bytes.TrimSpace(raw)) == 0 {
		return in, err
	}
	return in, strictjson.Decode(raw, &in, routeNoise...)
}

func (c *Control) deleteRoute(ctx context.Context, q *call) (answer, error) {
	var x api.Route
	err := c.store.Update(ctx, q.actor, func(tx *store.Tx) error {
		id, err := routeID(ctx, &tx.Reader, q, q.query.Get("virtual_network_id"))
		if err != nil {
			return err
		}
		x, err = tx.DeleteRoute(ctx, id)
		return withCode(err, kind.NotFound, codeRouteNotFound)
	})
	return answer{result: plainRoute(x)}, err
}

func (c *Control) routeByAddr(ctx context.Context, q *call) (answer, error) {
	a, err := store.ParseAddr("", q.params["addr"])
	if err != nil {
		return answer{}, err
	}
	fallback, err := q.queryBool("default_virtual_network_fallback")
	if err != nil {
		return answer{}, err
	}
	if fallback != nil && !*fallback && q.query.Get("virtual_network_id") == "" {
		// Routes outside of virtual networks are asked for, and every route is in one.
		return answer{}, withCode(kind.New(kind.NotFound, "there is no route without a virtual network"), kind.NotFound, codeRouteNotFound)
	}
	var x api.Route
	err = c.store.View(ctx, func(r *store.Reader) (err error) {
		x, err = r.RouteByAddr(ctx, a, q.query.Get("virtual_network_id"))
		return withCode(err, kind.NotFound, codeRouteNotFound)
	})
	return answer{result: x}, err
}

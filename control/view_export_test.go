package control

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"weft/access"
	"weft/api"
	"weft/control/store"
	"weft/targets"
)

// CatchUpForTest makes views until one is of the newest revision: assigning slots is a revision itself.
func (h Hub) CatchUpForTest(ctx context.Context) error {
	for {
		if err := h.h.rebuild(ctx); err != nil {
			return err
		}
		var newest uint64
		if err := h.h.store.View(ctx, func(r *store.Reader) (err error) {
			newest, err = r.Revision(ctx)
			return err
		}); err != nil {
			return err
		}
		if h.h.current.Load().revision == newest {
			return nil
		}
	}
}

// DifferencesForTest compares the current view, made from those before it, with one that is made from nothing: what
// gateways, connectors and devices are told, and what each device may reach.
func (h Hub) DifferencesForTest(ctx context.Context) ([]string, error) {
	have := h.h.current.Load()
	var want *view
	err := h.h.store.View(ctx, func(r *store.Reader) (err error) {
		want, err = load(ctx, r, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := h.h.finish(ctx, want, nil); err != nil {
		return nil, err
	}
	if (want.snapshot == nil) != (have.snapshot == nil) {
		return []string{fmt.Sprintf("snapshot from nothing is nil: %v, the other: %v", want.snapshot == nil, have.snapshot == nil)}, nil
	}
	var out []string
	for name := range want.shared {
		out = append(out, collectionDiffs(name, want.shared[name], have.shared[name])...)
	}
	for id, d := range want.device {
		if a, b := want.entries(d), ofDevice(have, id); !sameEntries(a, b) {
			out = append(out, fmt.Sprintf("entries of device %s: %+v\nfrom nothing:\n%+v", id, b, a))
		}
	}
	docs, err := documents(want)
	if err != nil {
		return nil, err
	}
	others, err := documents(have)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		a, b := docs[name], others[name]
		if string(a.Self) != string(b.Self) {
			out = append(out, fmt.Sprintf("%s: self is %s, from nothing %s", name, b.Self, a.Self))
		}
		for c := range a.Collections {
			out = append(out, collectionDiffs(name+" "+c, a.Collections[c], b.Collections[c])...)
		}
	}
	if len(docs) != len(others) {
		out = append(out, fmt.Sprintf("%d documents, from nothing %d", len(others), len(docs)))
	}
	return out, nil
}

func ofDevice(v *view, id string) []targets.Entry {
	d, ok := v.device[id]
	if !ok {
		return nil
	}
	return v.entries(d)
}

func sameEntries(a, b []targets.Entry) bool {
	return len(a) == len(b) && (len(a) == 0 || reflect.DeepEqual(a, b))
}

func collectionDiffs(name string, want, have api.Collection) (out []string) {
	for k, raw := range want {
		if string(have[k]) != string(raw) {
			out = append(out, fmt.Sprintf("%s/%s is %s, from nothing %s", name, k, have[k], raw))
		}
	}
	for k, raw := range have {
		if _, ok := want[k]; !ok {
			out = append(out, fmt.Sprintf("%s/%s is %s, from nothing there is none", name, k, raw))
		}
	}
	return out
}

// documents are what everybody is told by a view.
func documents(v *view) (map[string]api.Document, error) {
	all := map[string]api.Document{}
	add := func(name string, d api.Document, err error) error {
		all[name] = d
		return err
	}
	for id := range v.device {
		d, err := v.agentDocument(id)
		if err := add("device "+id, d, err); err != nil {
			return nil, err
		}
	}
	for _, t := range v.in.tunnels {
		d, err := v.connectorDocument(t.ID, [32]byte(t.SecretHash))
		if err := add("tunnel "+string(t.ID), d, err); err != nil {
			return nil, err
		}
	}
	for _, g := range v.in.gateways {
		d, err := v.gatewayDocument(g.ID, g.TokenHash)
		if err := add("gateway "+g.ID, d, err); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// AllowedForTest counts what the devices may reach by the current view.
func (h Hub) AllowedForTest() (n int) {
	v := h.h.current.Load()
	for _, d := range v.device {
		n += len(access.Entries(v.snapshot, v.identity[d.UserID], v.accessDevice(d)))
	}
	return n
}

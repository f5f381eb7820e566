package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Collection is one map field of a state in wire form. A collection that is part of a Document is never modified.
type Collection map[string]json.RawMessage

// Document is a state in the form in which it is compared and sent: its Self field and its map fields by JSON name.
// It is immutable once built; documents may share collections.
type Document struct {
	Self        json.RawMessage
	Collections map[string]Collection
}

// The collection by which an event replaces a state's Self field, and the key in it.
const (
	selfCollection = "self"
	selfKey        = ""
)

// NewCollection renders each value of m.
func NewCollection[K ~string, V any](m map[K]V) (Collection, error) {
	c := make(Collection, len(m))
	for k, v := range m {
		raw, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("render %q: %w", string(k), err)
		}
		c[string(k)] = raw
	}
	return c, nil
}

// Snapshot is the event that carries all of d.
func (d Document) Snapshot(revision uint64) (Event, error) {
	all := make(map[string]any, len(d.Collections)+1)
	for name, c := range d.Collections {
		all[name] = c
	}
	all[selfCollection] = d.Self
	raw, err := json.Marshal(all)
	if err != nil {
		return Event{}, fmt.Errorf("render snapshot: %w", err)
	}
	return Event{Type: EventSnapshot, Revision: revision, State: raw}, nil
}

// Delta is the event that turns old (at since) into d (at revision); changed reports whether they differ at all.
func (d Document) Delta(old Document, since, revision uint64) (e Event, changed bool) {
	e = Event{Type: EventDelta, Revision: revision, Since: since}
	put := func(collection, key string, v json.RawMessage) {
		if e.Put == nil {
			e.Put = map[string]map[string]json.RawMessage{}
		}
		if e.Put[collection] == nil {
			e.Put[collection] = map[string]json.RawMessage{}
		}
		e.Put[collection][key] = v
	}
	if !bytes.Equal(d.Self, old.Self) {
		put(selfCollection, selfKey, d.Self)
	}
	for name, c := range d.Collections {
		was := old.Collections[name]
		if sameMap(c, was) {
			continue
		}
		for k, v := range c {
			if before, ok := was[k]; !ok || !bytes.Equal(before, v) {
				put(name, k, v)
			}
		}
		if gone := missing(was, c); len(gone) > 0 {
			if e.Remove == nil {
				e.Remove = map[string][]string{}
			}
			e.Remove[name] = gone
		}
	}
	return e, e.Put != nil || e.Remove != nil
}

// sameMap reports whether both are the very same map, which spares comparing what no write touched.
func sameMap(a, b Collection) bool {
	return reflect.ValueOf(a).UnsafePointer() == reflect.ValueOf(b).UnsafePointer()
}

// missing lists the keys of was that are not in now, sorted.
func missing(was, now Collection) []string {
	var gone []string
	for k := range was {
		if _, ok := now[k]; !ok {
			gone = append(gone, k)
		}
	}
	slices.Sort(gone)
	return gone
}

// Apply returns the state that e makes of s, which it does not modify; collections that e does not touch are
// shared with s. A snapshot ignores s. It fails on an event that names an unknown collection or holds a value of
// the wrong form, and on any other type of event.
func Apply[S SyncState](s *S, e Event) (*S, error) {
	switch e.Type {
	case EventSnapshot:
		n := new(S)
		if err := json.Unmarshal(e.State, n); err != nil {
			return nil, fmt.Errorf("decode snapshot %d: %w", e.Revision, err)
		}
		makeMaps(reflect.ValueOf(n).Elem())
		return n, nil
	case EventDelta:
		n := new(S)
		if s != nil {
			*n = *s
		}
		if err := applyDelta(reflect.ValueOf(n).Elem(), e); err != nil {
			return nil, fmt.Errorf("apply delta %d: %w", e.Revision, err)
		}
		return n, nil
	default:
		return nil, fmt.Errorf("apply event of type %q", e.Type)
	}
}

func applyDelta(v reflect.Value, e Event) error {
	makeMaps(v)
	fields := mapFields(v)
	cloned := map[string]bool{}
	writable := func(name string) (reflect.Value, error) {
		f, ok := fields[name]
		if !ok {
			return reflect.Value{}, fmt.Errorf("unknown collection %q", name)
		}
		if !cloned[name] {
			f.Set(cloneMap(f))
			cloned[name] = true
		}
		return f, nil
	}
	for name, keys := range e.Remove {
		f, err := writable(name)
		if err != nil {
			return err
		}
		for _, k := range keys {
			f.SetMapIndex(reflect.ValueOf(k).Convert(f.Type().Key()), reflect.Value{})
		}
	}
	for name, values := range e.Put {
		if name == selfCollection {
			if err := putSelf(v, values); err != nil {
				return err
			}
			continue
		}
		f, err := writable(name)
		if err != nil {
			return err
		}
		for k, raw := range values {
			item := reflect.New(f.Type().Elem())
			if err := json.Unmarshal(raw, item.Interface()); err != nil {
				return fmt.Errorf("decode %s %q: %w", name, k, err)
			}
			f.SetMapIndex(reflect.ValueOf(k).Convert(f.Type().Key()), item.Elem())
		}
	}
	return nil
}

func putSelf(v reflect.Value, values map[string]json.RawMessage) error {
	raw, ok := values[selfKey]
	if !ok || len(values) != 1 {
		return fmt.Errorf("the collection %q has keys other than %q", selfCollection, selfKey)
	}
	self := v.FieldByName("Self")
	fresh := reflect.New(self.Type())
	if err := json.Unmarshal(raw, fresh.Interface()); err != nil {
		return fmt.Errorf("decode %s: %w", selfCollection, err)
	}
	self.Set(fresh.Elem())
	return nil
}

// mapFields returns v's map fields by their JSON names.
func mapFields(v reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Map {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			out[name] = f
		}
	}
	return out
}

// makeMaps replaces nil collections by empty ones, so that receivers need not tell them apart.
func makeMaps(v reflect.Value) {
	for _, f := range mapFields(v) {
		if f.IsNil() {
			f.Set(reflect.MakeMap(f.Type()))
		}
	}
}

func cloneMap(m reflect.Value) reflect.Value {
	c := reflect.MakeMapWithSize(m.Type(), m.Len())
	for it := m.MapRange(); it.Next(); {
		c.SetMapIndex(it.Key(), it.Value())
	}
	return c
}

// DocumentOf renders a state.
func DocumentOf[S SyncState](s *S) (Document, error) {
	v := reflect.ValueOf(s).Elem()
	self, err := json.Marshal(v.FieldByName("Self").Interface())
	if err != nil {
		return Document{}, fmt.Errorf("render self: %w", err)
	}
	d := Document{Self: self, Collections: map[string]Collection{}}
	for name, f := range mapFields(v) {
		c := make(Collection, f.Len())
		for it := f.MapRange(); it.Next(); {
			raw, err := json.Marshal(it.Value().Interface())
			if err != nil {
				return Document{}, fmt.Errorf("render %s %q: %w", name, it.Key().String(), err)
			}
			c[it.Key().String()] = raw
		}
		d.Collections[name] = c
	}
	return d, nil
}

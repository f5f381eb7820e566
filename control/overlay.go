package control

import (
	"encoding/json"
	"fmt"
	"maps"

	"weft/control/strictjson"
)

// overlay reads a body that changes parts of an object: what is not in it stays as base has it, null means what preset has.
// Keys of ignore are dropped.
func overlay[T any](q *call, ignore ...string) (func(base, preset T) (T, error), error) {
	raw, err := q.rawBody()
	if err != nil {
		return nil, err
	}
	var body map[string]json.RawMessage
	if err := strictjson.Decode(raw, &body, ignore...); err != nil {
		return nil, err
	}
	// Everything is known by its key, so a body that does not fit is refused here and not in a transaction.
	var probe T
	if err := strictjson.Decode(raw, &probe, ignore...); err != nil {
		return nil, err
	}
	return func(base, preset T) (out T, err error) {
		all, err := members(base)
		if err != nil {
			return out, err
		}
		presets, err := members(preset)
		if err != nil {
			return out, err
		}
		maps.Copy(all, body)
		for k, v := range body {
			if string(v) != "null" {
				continue
			}
			delete(all, k)
			if p, ok := presets[k]; ok {
				all[k] = p
			}
		}
		raw, err := json.Marshal(all)
		if err != nil {
			return out, fmt.Errorf("render object: %w", err)
		}
		return out, strictjson.Decode(raw, &out)
	}, nil
}

// members are the members of an object.
func members(v any) (map[string]json.RawMessage, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("render object: %w", err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("render object: %w", err)
	}
	return all, nil
}

package client

import (
	"context"

	"weft/agent/localapi"
)

// Targets lists the targets that q selects.
func (c *Client) Targets(ctx context.Context, q Query) (*localapi.TargetList, error) {
	data, err := c.fetch(ctx, DefaultTimeout, methodGet, q.Path(), nil)
	if err != nil {
		return nil, err
	}
	return c.targetList(data)
}

// rowBytes is about what a row has in JSON, rather less.
const rowBytes = 260

// EachTarget calls yield for each target that q selects, with one Target over and over, and returns all of the list
// but its targets. It takes a fraction of the memory of Targets. begin is called before the first, with a guess of how many
// will come; when it is called again, what was yielded so far counts for nothing.
func (c *Client) EachTarget(ctx context.Context, q Query, begin func(guess int), yield func(*localapi.Target)) (*localapi.TargetList, error) {
	data, err := c.fetch(ctx, DefaultTimeout, methodGet, q.Path(), nil)
	if err != nil {
		return nil, err
	}
	begin(len(data)/rowBytes + 1)
	l := new(localapi.TargetList)
	if localapi.RangeTargetList(data, l, yield) && l.SchemaVersion == localapi.SchemaVersion {
		return l, nil
	}
	if l, err = c.targetList(data); err != nil {
		return nil, err
	}
	begin(len(l.Targets))
	for i := range l.Targets {
		yield(&l.Targets[i])
	}
	l.Targets = nil
	return l, nil
}

func (c *Client) targetList(data string) (*localapi.TargetList, error) {
	l := new(localapi.TargetList)
	if err := localapi.DecodeTargetList(data, l); err == nil && l.SchemaVersion == localapi.SchemaVersion {
		return l, nil
	}
	// This finds out what is wrong with it.
	l = new(localapi.TargetList)
	if err := decode([]byte(data), l); err != nil {
		return nil, c.notAnAgent(err)
	}
	return l, nil
}

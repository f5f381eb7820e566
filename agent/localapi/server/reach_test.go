package server_test

import (
	"context"

	"weft/agent/localapi"
)

func (a *fakeAgent) SSHHost(name string, port uint16) (localapi.SSHHost, error) {
	return localapi.SSHHost{SchemaVersion: localapi.SchemaVersion}, a.note("ssh host %s %d", name, port)
}

func (a *fakeAgent) Forwards() localapi.ForwardList {
	return localapi.ForwardList{SchemaVersion: localapi.SchemaVersion, Forwards: []localapi.Forward{}}
}

func (a *fakeAgent) AddForward(_ context.Context, f localapi.NewForward) (localapi.Forward, error) {
	return localapi.Forward{SchemaVersion: localapi.SchemaVersion}, a.note("forward %s to %s", f.Listen, f.Target)
}

func (a *fakeAgent) RemoveForward(_ context.Context, name string) error {
	return a.note("no forward %s", name)
}

package client

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"weft/agent/localapi"
)

// InSession makes every later call one about the given profile (empty: the current one) of the given account (empty:
// the caller's own; else an administrator's request). Words that cannot be sent make every call fail: none must end up
// in another session. Call it before the first call.
func (c *Client) InSession(profile, forUser string) {
	var b strings.Builder
	for _, f := range []struct{ name, value string }{
		{localapi.HeaderProfile, profile}, {localapi.HeaderForUser, forUser},
	} {
		if f.value == "" {
			continue
		}
		if strings.ContainsFunc(f.value, func(r rune) bool { return r < ' ' || r > '~' }) {
			c.noSend = &Error{Code: "invalid", Message: fmt.Sprintf("%q cannot be the name of a profile or user", f.value)}
			return
		}
		b.WriteString(f.name + ": " + f.value + "\r\n")
	}
	c.fields = b.String()
}

// Profiles lists the profiles.
func (c *Client) Profiles(ctx context.Context) (*localapi.ProfileList, error) {
	return call[localapi.ProfileList](ctx, c, DefaultTimeout, methodGet, localapi.PathProfiles, nil)
}

// Profile returns the list with one profile in it; empty means the one that the client's calls are about.
func (c *Client) Profile(ctx context.Context, name string) (*localapi.ProfileList, error) {
	return call[localapi.ProfileList](ctx, c, DefaultTimeout, methodGet, localapi.PathProfiles+"?"+url.Values{"name": {name}}.Encode(), nil)
}

// AddProfile makes another profile.
func (c *Client) AddProfile(ctx context.Context, name string) (*localapi.ProfileList, error) {
	return call[localapi.ProfileList](ctx, c, DefaultTimeout, methodPost, localapi.PathProfiles, localapi.NewProfile{Name: name})
}

// UseProfile makes a profile the current one.
func (c *Client) UseProfile(ctx context.Context, name string) (*localapi.ProfileList, error) {
	return call[localapi.ProfileList](ctx, c, DefaultTimeout, methodPost, localapi.PathProfileUse, localapi.UseProfile{Name: name})
}

// RemoveProfile ends a profile, also a connected one with force.
func (c *Client) RemoveProfile(ctx context.Context, name string, force bool) (*localapi.ProfileList, error) {
	return call[localapi.ProfileList](ctx, c, RemoteTimeout, methodPost, localapi.PathProfileRemove,
		localapi.RemoveProfile{Name: name, Force: force})
}

// RenameProfile gives a profile another name.
func (c *Client) RenameProfile(ctx context.Context, name, newName string) (*localapi.ProfileList, error) {
	return call[localapi.ProfileList](ctx, c, DefaultTimeout, methodPost, localapi.PathProfileRename,
		localapi.RenameProfile{Name: name, NewName: newName})
}

// Sessions lists the running sessions of all accounts, for administrators.
func (c *Client) Sessions(ctx context.Context) (*localapi.SessionList, error) {
	return call[localapi.SessionList](ctx, c, DefaultTimeout, methodGet, localapi.PathSessions, nil)
}

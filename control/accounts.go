package control

import (
	"context"
	"slices"
	"strings"

	"weft/api"
)

// The account, and who one is, as programs look them up before they do anything else. There is one account, and a token
// stands for itself: it belongs to no user.

func (c *Control) accountEndpoints(to map[string]serveFunc) {
	const base = api.PathManagement
	to["GET "+base+"/accounts"] = func(_ context.Context, q *call) (answer, error) {
		p, err := q.page()
		if err != nil {
			return answer{}, err
		}
		list := []api.Account{c.account()}
		if name := q.query.Get("name"); name != "" && !strings.EqualFold(name, list[0].Name) {
			list = []api.Account{}
		}
		return slicePage(list, p), nil
	}
	to["GET "+base+"/accounts/{account}"] = func(context.Context, *call) (answer, error) { return answer{result: c.account()}, nil }
	to["GET "+base+"/user"] = func(_ context.Context, q *call) (answer, error) {
		return answer{result: api.TokenUser{
			ID: q.token.ID, Username: q.token.Name, CreatedOn: q.token.CreatedAt, ModifiedOn: q.token.CreatedAt, Accounts: []api.Account{c.account()},
		}}, nil
	}
	to["GET "+base+"/memberships"] = func(_ context.Context, q *call) (answer, error) {
		p, err := q.page()
		if err != nil {
			return answer{}, err
		}
		list := []api.Membership{{ID: q.token.ID, Status: "accepted", Account: c.account(), Roles: q.token.Permissions, Permissions: map[string]any{}}}
		return slicePage(slices.DeleteFunc(list, func(m api.Membership) bool { return !q.wants(m) }), p), nil
	}
}

// wants reports whether the filters of the list leave a membership in.
func (q *call) wants(m api.Membership) bool {
	for name, is := range map[string]string{"name": m.Account.Name, "account.name": m.Account.Name, "status": m.Status} {
		if v := q.query.Get(name); v != "" && !strings.EqualFold(v, is) {
			return false
		}
	}
	return true
}

func (c *Control) account() api.Account {
	a := c.store.Account()
	return api.Account{ID: a.ID, Name: a.Name, Type: "standard"}
}

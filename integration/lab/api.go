package lab

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"weft/api"
)

// API is the management API as an administrator's program uses it.
type API struct {
	client  *api.Client
	account string
}

// NewAPI takes what "weft dev env" prints: the API's base URL, the token, the account and the bundle to trust.
func NewAPI(baseURL, token, account, bundleFile string) (*API, error) {
	pem, err := os.ReadFile(bundleFile)
	if err != nil {
		return nil, fmt.Errorf("read the trusted authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", bundleFile)
	}
	c, err := api.NewClient(api.ClientConfig{
		BaseURL: strings.TrimSuffix(baseURL, api.PathManagement), Token: api.Secret(token), Roots: roots, UserAgent: "weft-lab",
	})
	if err != nil {
		return nil, err
	}
	return &API{client: c, account: account}, nil
}

// Close ends idle connections.
func (a *API) Close() { a.client.Close() }

// Do sends one request below the account and decodes the result into out.
func (a *API) Do(ctx context.Context, method, path string, in, out any) error {
	if err := a.client.Do(ctx, method, api.PathManagement+"/accounts/"+a.account+path, in, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// DoWeft sends one request to a path of Weft's own API.
func (a *API) DoWeft(ctx context.Context, method, path string, in, out any) error {
	if err := a.client.Do(ctx, method, path, in, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// object is any answer with an ID.
type object struct {
	ID string `json:"id"`
}

func (a *API) create(ctx context.Context, path string, in any) (string, error) {
	var o object
	err := a.Do(ctx, http.MethodPost, path, in, &o)
	if err == nil && o.ID == "" {
		err = errors.New("POST " + path + ": the answer has no id")
	}
	return o.ID, err
}

// CreateNetwork creates a virtual network and returns its ID.
func (a *API) CreateNetwork(ctx context.Context, name, comment string) (string, error) {
	return a.create(ctx, "/teamnet/virtual_networks", map[string]any{"name": name, "comment": comment, "is_default_network": false})
}

// CreateTunnel creates a tunnel and returns its ID and its connectors' token.
func (a *API) CreateTunnel(ctx context.Context, name string) (id, token string, err error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return "", "", fmt.Errorf("make a secret: %w", err)
	}
	id, err = a.create(ctx, "/cfd_tunnel", map[string]any{
		"name": name, "tunnel_secret": base64.StdEncoding.EncodeToString(secret), "config_src": "local",
	})
	if err != nil {
		return "", "", err
	}
	err = a.Do(ctx, http.MethodGet, "/cfd_tunnel/"+id+"/token", nil, &token)
	return id, token, err
}

// CreateRoute sends prefix of a network to a tunnel.
func (a *API) CreateRoute(ctx context.Context, prefix netip.Prefix, tunnelID, networkID string) (string, error) {
	return a.create(ctx, "/teamnet/routes", map[string]any{
		"network": prefix.String(), "tunnel_id": tunnelID, "virtual_network_id": networkID, "comment": "",
	})
}

// CreateTarget creates a target with one IPv4 address.
func (a *API) CreateTarget(ctx context.Context, hostname string, addr netip.Addr, networkID string) (string, error) {
	return a.create(ctx, "/infrastructure/targets", targetBody(hostname, addr, networkID))
}

// UpdateTarget replaces a target.
func (a *API) UpdateTarget(ctx context.Context, id, hostname string, addr netip.Addr, networkID string) error {
	return a.Do(ctx, http.MethodPut, "/infrastructure/targets/"+id, targetBody(hostname, addr, networkID), nil)
}

// DeleteTarget deletes a target.
func (a *API) DeleteTarget(ctx context.Context, id string) error {
	return a.Do(ctx, http.MethodDelete, "/infrastructure/targets/"+id, nil, nil)
}

func targetBody(hostname string, addr netip.Addr, networkID string) any {
	return map[string]any{
		"hostname": hostname,
		"ip":       map[string]any{"ipv4": map[string]any{"ip_addr": addr.String(), "virtual_network_id": networkID}},
	}
}

// Application is an infrastructure application with one policy for some addresses.
type Application struct {
	Name      string
	Hostnames []string
	Port      uint16
	Protocol  string
	Emails    []string
	Usernames []string // SSH only
	Forwards  []string // SSH only: destinations of local forwarding; none: it is not allowed
}

func (p Application) body() any {
	include := make([]any, 0, len(p.Emails))
	for _, e := range p.Emails {
		include = append(include, map[string]any{"email": map[string]any{"email": e}})
	}
	policy := map[string]any{"name": "allow " + strings.Join(p.Emails, ", "), "decision": "allow", "precedence": 1, "include": include}
	if p.Protocol == "SSH" {
		rules := map[string]any{"usernames": p.Usernames}
		if len(p.Forwards) > 0 {
			rules["local_forwarding"] = map[string]any{"destinations": p.Forwards}
		}
		policy["connection_rules"] = map[string]any{"ssh": rules}
	}
	return map[string]any{
		"name": p.Name, "type": "infrastructure",
		"target_criteria": []any{map[string]any{
			"target_attributes": map[string]any{"hostname": p.Hostnames}, "port": p.Port, "protocol": p.Protocol,
		}},
		"policies": []any{policy},
	}
}

// CreateApplication creates p and returns its ID.
func (a *API) CreateApplication(ctx context.Context, p Application) (string, error) {
	return a.create(ctx, "/access/apps", p.body())
}

// UpdateApplication replaces an application and its policies.
func (a *API) UpdateApplication(ctx context.Context, id string, p Application) error {
	return a.Do(ctx, http.MethodPut, "/access/apps/"+id, p.body(), nil)
}

// DeleteApplication deletes an application.
func (a *API) DeleteApplication(ctx context.Context, id string) error {
	return a.Do(ctx, http.MethodDelete, "/access/apps/"+id, nil, nil)
}

// CreateSSHCA creates the account's SSH authority and returns its public key in authorized_keys form.
func (a *API) CreateSSHCA(ctx context.Context) (string, error) {
	var ca struct {
		PublicKey string `json:"public_key"`
	}
	err := a.Do(ctx, http.MethodPost, "/access/gateway_ca", nil, &ca)
	return ca.PublicKey, err
}

// CreateEnrolment returns a fresh enrolment string.
func (a *API) CreateEnrolment(ctx context.Context, key api.NewEnrolmentKey) (string, error) {
	var out api.EnrolmentKey
	err := a.DoWeft(ctx, http.MethodPost, api.PathEnrolmentKeys, key, &out)
	return out.Enrolment, err
}

// RevokeUser revokes everything of a user.
func (a *API) RevokeUser(ctx context.Context, email string) error {
	return a.Do(ctx, http.MethodPost, "/access/organizations/revoke_user", map[string]any{"email": email}, nil)
}

// RevokeDevices revokes registrations.
func (a *API) RevokeDevices(ctx context.Context, registrations ...string) error {
	return a.Do(ctx, http.MethodPost, "/devices/revoke", registrations, nil)
}

// TunnelID finds a tunnel by its name.
func (a *API) TunnelID(ctx context.Context, name string) (string, error) {
	var found []struct{ ID, Name string }
	if err := a.Do(ctx, http.MethodGet, "/cfd_tunnel?is_deleted=false&name="+url.QueryEscape(name), nil, &found); err != nil {
		return "", err
	}
	for _, t := range found {
		if t.Name == name {
			return t.ID, nil
		}
	}
	return "", fmt.Errorf("there is no tunnel %q", name)
}

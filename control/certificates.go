package control

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"weft/access"
	"weft/api"
	"weft/control/sshca"
	"weft/control/store"
	"weft/internal/kind"
	"weft/targets"
)

// signCertificate decides once more, by the newest revision, and signs what the gateway asks for only if the very
// same function that the gateway used allows it.
func (c *Control) signCertificate(ctx context.Context, q *call) (answer, error) {
	var in api.CertificateRequest
	if err := q.body(&in); err != nil {
		return answer{}, err
	}
	key, err := userKey(in.PublicKey)
	if err != nil {
		return answer{}, err
	}
	if err := access.ValidateLogin(in.Login); err != nil {
		return answer{}, under("/login", err)
	}
	if in.SessionID == "" || len(in.SessionID) > 100 || strings.ContainsFunc(in.SessionID, notKeyIDRune) {
		return answer{}, kind.Field("/session_id", "a session ID is 1 to 100 printable ASCII characters without spaces")
	}
	if err := checkNarrowing(in); err != nil {
		return answer{}, err
	}
	revision := q.revision
	for range maxDecisions {
		v, err := c.hub.at(ctx, revision)
		if err != nil {
			return answer{}, err
		}
		d, decision := v.decide(in)
		if !decision.Allow {
			c.log.InfoContext(ctx, "certificate refused", "gateway_id", q.gateway.ID, "device_id", in.DeviceID, "session_id", in.SessionID,
				"reason", string(decision.Reason))
			if err := c.refusedLogin(ctx, q, in, v, d, decision); err != nil {
				return answer{}, err
			}
			return answer{}, kind.New(kind.Denied, "%s (%s)", decision.Message(), decision.Reason)
		}
		var a answer
		a, revision, err = c.issue(ctx, q, in, key, v, d, decision)
		if !errors.Is(err, errNewer) {
			return a, err
		}
	}
	return answer{}, kind.New(kind.Unavailable, "the policy changes faster than a login can be decided")
}

// maxDecisions is how often a decision is made anew because the policy changed before it could be recorded.
const maxDecisions = 5

// errNewer says that a decision was made by a revision that is not the newest any more.
var errNewer = errors.New("the policy has changed")

// decide asks the policy about a login. The device's own row says who it is, not the gateway.
func (v *view) decide(in api.CertificateRequest) (*store.Device, access.Decision) {
	query := access.Query{VNET: in.VNET, Destination: in.Destination, Transport: targets.TransportTCP, Login: in.Login}
	d := v.device[in.DeviceID]
	if d != nil {
		query.Device = accessDevice(d)
		query.Identity = v.identity[d.UserID]
	}
	decision := access.Evaluate(v.snapshot, query)
	if decision.Allow && decision.Protocol != targets.SSH {
		decision.Allow, decision.Reason = false, access.LoginNotPermitted
	}
	return d, decision
}

// issue signs what v has decided, then records it in a transaction in which v is the newest revision, or says which one is
// newer; a certificate that was not recorded leaves this function as an error alone. The key may be in a slow device, so
// nothing waits for its signature but this login.
func (c *Control) issue(
	ctx context.Context, q *call, in api.CertificateRequest, key ssh.PublicKey, v *view, d *store.Device, decision access.Decision,
) (a answer, newer uint64, err error) {
	ca, signer, err := c.signingUserCA(ctx)
	if err != nil {
		return answer{}, 0, err
	}
	r := sshca.Request{
		Key: key, Principal: in.Login, KeyID: strings.Join([]string{d.Email, in.SessionID, string(decision.Target.ID)}, " "),
		SourceAddress: in.SourceAddress, Extensions: granted(in.Extensions, decision),
	}
	cert, err := sshca.Sign(signer, r, c.cfg.Now())
	if err != nil {
		return answer{}, 0, err
	}
	before := time.Unix(int64(cert.ValidBefore), 0).UTC()
	record := store.IssuedCertificate{
		Serial: strconv.FormatUint(cert.Serial, 10), KeyID: r.KeyID, GatewayID: q.gateway.ID, DeviceID: d.ID, UserID: d.UserID,
		TargetID: string(decision.Target.ID), SessionID: in.SessionID, Principal: in.Login, ValidBefore: store.Stamp(before),
		CAID: ca.ID, Extensions: r.Extensions,
	}
	if in.SourceAddress.IsValid() {
		record.SourceAddress = in.SourceAddress.String()
	}
	if decision.Policy != nil {
		record.PolicyID = decision.Policy.ID
	}
	err = c.store.Update(ctx, q.actor, func(tx *store.Tx) (err error) {
		if newer, err = tx.Revision(ctx); err != nil {
			return err
		}
		if newer != v.revision { // also when another authority signs now
			return errNewer
		}
		if err := tx.RecordCertificate(ctx, record); err != nil {
			return err
		}
		return tx.RecordAccess(ctx, loginEvent(in, v, d, decision))
	})
	out := api.Certificate{Certificate: sshca.Line(cert), Serial: cert.Serial, KeyID: r.KeyID, ValidBefore: before}
	return answer{result: out}, newer, err
}

// granted are the extensions that the policy allows, of those that were asked for if any were: a gateway takes no
// certificate that can do more, and its policy may be an older one.
func granted(asked []string, d access.Decision) []string {
	allowed := d.SSHRules().Extensions()
	if len(asked) == 0 {
		return allowed
	}
	return slices.DeleteFunc(slices.Clone(allowed), func(e string) bool { return !slices.Contains(asked, e) })
}

// checkNarrowing looks at what a certificate is to be narrowed to.
func checkNarrowing(in api.CertificateRequest) error {
	if a := in.SourceAddress; a.IsValid() && (a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast()) {
		return kind.Field("/source_address", "%s cannot be the address of a connection", a)
	}
	for i, e := range in.Extensions {
		if !slices.Contains(sshca.Extensions(), e) {
			return kind.Field("/extensions/"+strconv.Itoa(i), "an extension is one of %s", strings.Join(sshca.Extensions(), ", "))
		}
	}
	return nil
}

// refusedLogin records a login that was refused, if the device is one that is known.
func (c *Control) refusedLogin(ctx context.Context, q *call, in api.CertificateRequest, v *view, d *store.Device, decision access.Decision) error {
	if d == nil {
		return nil
	}
	return c.store.Update(ctx, q.actor, func(tx *store.Tx) error { return tx.RecordAccess(ctx, loginEvent(in, v, d, decision)) })
}

// loginEvent is a decision about a login as the access log has it.
func loginEvent(in api.CertificateRequest, v *view, d *store.Device, decision access.Decision) store.AccessEvent {
	e := store.AccessEvent{AccessEvent: api.AccessEvent{
		Action: "login", Allowed: decision.Allow, UserEmail: d.Email, UserID: d.UserID, DeviceID: d.ID, IPAddress: d.SourceIP, Username: in.Login, Connection: "device",
	}}
	if i := v.identity[d.UserID]; i != nil && i.ServiceToken != "" {
		e.Connection = "service_token"
	}
	if !decision.Allow {
		e.Reason = string(decision.Reason)
	}
	if t := decision.Target; t != nil {
		e.TargetID, e.AppDomain = string(t.ID), t.Hostname
	}
	if a := decision.Application; a != nil {
		e.AppUID, e.AppName, e.AppAUD = a.ID, a.Name, a.AUD
	}
	return e
}

// userKeyTypes are the kinds of ephemeral keys that are signed.
var userKeyTypes = []string{ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256}

func userKey(line string) (ssh.PublicKey, error) { return publicKey(line, userKeyTypes) }

// publicKey reads the field public_key, which must be one key of a type.
func publicKey(line string, types []string) (ssh.PublicKey, error) {
	if len(line) > 4096 {
		return nil, kind.Field("/public_key", "the key is too long")
	}
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) > 0 || len(strings.TrimSpace(string(rest))) > 0 {
		return nil, kind.Field("/public_key", "the key is not one line of authorized_keys form")
	}
	if !slices.Contains(types, key.Type()) {
		return nil, kind.Field("/public_key", "keys of type %s are not signed; use %s", key.Type(), strings.Join(types, " or "))
	}
	return key, nil
}

// notKeyIDRune keeps the key ID, which sshd logs, on one line and its parts apart.
func notKeyIDRune(r rune) bool { return r <= ' ' || r > '~' }

package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"

	"weft/internal/kind"
)

// EnrolmentString is what an administrator hands to a user: "weft1." and the unpadded URL-safe base64 of
// {"u": control URL, "f": SHA-256 of the CA certificate's DER in hex (empty: system roots), "k": secret}.
type EnrolmentString struct {
	ControlURL    string
	CAFingerprint string
	Key           Secret
}

const (
	enrolmentPrefix    = "weft1."
	maxEnrolmentLength = 4096
	maxKeyLength       = 128
)

type enrolmentWire struct {
	URL         string `json:"u"`
	Fingerprint string `json:"f"`
	Key         string `json:"k"`
}

// ParseEnrolmentString reads s strictly; the error says what is wrong without repeating the secret.
func ParseEnrolmentString(s string) (EnrolmentString, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxEnrolmentLength {
		return EnrolmentString{}, badEnrolment("it is longer than %d characters", maxEnrolmentLength)
	}
	rest, ok := strings.CutPrefix(s, enrolmentPrefix)
	if !ok {
		return EnrolmentString{}, badEnrolment("it does not begin with %q", enrolmentPrefix)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(rest)
	if err != nil {
		return EnrolmentString{}, badEnrolment("it is cut off or damaged (not base64)")
	}
	var w enrolmentWire
	if err := unmarshalOne(raw, &w); err != nil {
		return EnrolmentString{}, badEnrolment("it is cut off or damaged (not the expected JSON)")
	}
	e := EnrolmentString{ControlURL: w.URL, CAFingerprint: w.Fingerprint, Key: Secret(w.Key)}
	if err := e.validate(); err != nil {
		return EnrolmentString{}, err
	}
	return e, nil
}

// Encode is the inverse of ParseEnrolmentString.
func (e EnrolmentString) Encode() string {
	raw, err := json.Marshal(enrolmentWire{URL: e.ControlURL, Fingerprint: e.CAFingerprint, Key: string(e.Key)})
	if err != nil { // three strings always marshal
		panic(err)
	}
	return enrolmentPrefix + base64.RawURLEncoding.EncodeToString(raw)
}

func (e EnrolmentString) validate() error {
	if _, err := parseBaseURL(e.ControlURL); err != nil {
		return badEnrolment("its control URL is not a valid https URL")
	}
	if e.CAFingerprint != "" {
		if _, err := parseFingerprint(e.CAFingerprint); err != nil {
			return badEnrolment("its CA fingerprint is not 64 hex digits")
		}
	}
	if e.Key == "" || len(e.Key) > maxKeyLength {
		return badEnrolment("its key is empty or too long")
	}
	for _, c := range []byte(e.Key) {
		if !isTokenByte(c) {
			return badEnrolment("its key has a character outside [0-9A-Za-z_-]")
		}
	}
	return nil
}

func badEnrolment(format string, args ...any) error {
	return kind.New(kind.Invalid, "not an enrolment string: "+format, args...).
		WithHint("copy the whole string from your administrator's message, or ask for a new one")
}

func isTokenByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c == '_' || c == '-'
}

// parseBaseURL accepts https URLs without credentials, query or fragment, and drops a trailing slash.
func parseBaseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, kind.New(kind.Invalid, "the control URL cannot be parsed")
	}
	if u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery || u.Opaque != "" {
		return nil, kind.New(kind.Invalid, "the control URL must be https://host[:port] without credentials, query or fragment")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	return u, nil
}

// unmarshalOne decodes exactly one JSON value without unknown fields.
func unmarshalOne(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("trailing data")
	}
	return nil
}

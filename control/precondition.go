package control

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"weft/control/store"
	"weft/internal/kind"
)

// codePrecondition is the code of a write that came too late: somebody else changed the object first.
const codePrecondition = 1012

// entityTag is a strong validator of a representation (RFC 9110 section 8.8.3): equal bytes, equal tag.
func entityTag(representation []byte) string {
	sum := sha256.Sum256(representation)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
}

// tagOf renders the result of an answer and its tag.
func tagOf(a answer) (raw []byte, tag string, err error) {
	if raw, err = json.Marshal(a.result); err != nil {
		return nil, "", err
	}
	return raw, entityTag(raw), nil
}

// tagList reads the field lines of If-Match or If-None-Match (RFC 9110 sections 13.1.1 and 13.1.2).
func tagList(h http.Header, name string) []string {
	var tags []string
	for _, line := range h.Values(name) {
		for t := range strings.SplitSeq(line, ",") { // our own tags have no comma in them
			if t = strings.TrimSpace(t); t != "" {
				tags = append(tags, t)
			}
		}
	}
	return tags
}

// match compares strongly: a weak tag never matches.
func match(h http.Header, tag string) bool {
	tags := tagList(h, "If-Match")
	return slices.Contains(tags, "*") || slices.Contains(tags, tag)
}

// noneMatch reports whether If-None-Match names the tag, weakly compared, so that a GET needs no body.
func noneMatch(h http.Header, tag string) bool {
	return slices.ContainsFunc(tagList(h, "If-None-Match"), func(t string) bool { return t == "*" || strings.TrimPrefix(t, "W/") == tag })
}

// withPrecondition has a write checked against the state that it is about to change, inside its transaction: what GET
// of the same path would answer there must have the tag that If-Match names. It is one mechanism for all endpoints; a
// path without GET has nothing that a caller could have read, so a condition there is refused, not ignored.
func (c *Control) withPrecondition(ctx context.Context, q *call, e *endpoint) (context.Context, error) {
	if len(q.r.Header.Values("If-Match")) == 0 && len(q.r.Header.Values("If-None-Match")) == 0 || q.r.Method == http.MethodGet {
		return ctx, nil
	}
	get := e.node.endpoints[http.MethodGet]
	if get == nil || get.serve == nil {
		return ctx, kind.New(kind.Invalid, "there is nothing to read at this path, so If-Match and If-None-Match cannot be checked").
			WithHint("leave them out, or use the path of the object")
	}
	h := q.r.Header
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if len(h.Values(name)) > 0 && len(tagList(h, name)) == 0 {
			return ctx, kind.New(kind.Invalid, "the header %s is empty: it is no condition, and the write would be without one", name).
				WithHint("send the ETag of what was read, or leave the header out")
		}
	}
	return store.WithPrecondition(ctx, func(ctx context.Context) error {
		// What the GET does with the call must not show in the write.
		reading := *q
		a, err := get.serve(ctx, &reading)
		if err != nil {
			return err // it is not there: what the write would say too
		}
		_, tag, err := tagOf(a)
		if err != nil {
			return err
		}
		if len(tagList(h, "If-Match")) > 0 && !match(h, tag) || noneMatch(h, tag) {
			q.tooLate = changedMeanwhile(tag)
			return q.tooLate
		}
		return nil
	}), nil
}

func changedMeanwhile(tag string) error {
	return &failure{
		is: kind.New(kind.Conflict, "it was changed since it was read: its ETag is %s by now; nothing was written", tag).
			WithHint("read it again, make the change to what it is now, and send that with the new ETag in If-Match"),
		status: http.StatusPreconditionFailed, code: codePrecondition,
	}
}

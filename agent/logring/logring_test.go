package logring_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"weft/agent/logring"
)

// sayTo writes whatever text into a ring.
func sayTo(t *testing.T, r *logring.Ring) func(message string, attrs ...slog.Attr) {
	t.Helper()
	h := r.Tee(slog.DiscardHandler)
	return func(message string, attrs ...slog.Attr) {
		t.Helper()
		rec := slog.NewRecord(time.Now(), slog.LevelInfo, message, 0)
		rec.AddAttrs(attrs...)
		if err := h.Handle(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRing_Bounded(t *testing.T) {
	r := logring.New()
	say := sayTo(t, r)
	for i := range 3 * logring.MaxLines {
		say(fmt.Sprint("line ", i))
	}
	lines, next, _ := r.After(0)
	if len(lines) != logring.MaxLines || lines[len(lines)-1].Message != fmt.Sprint("line ", 3*logring.MaxLines-1) || next != 3*logring.MaxLines {
		t.Errorf("%d lines, last %q, next %d", len(lines), lines[len(lines)-1].Message, next)
	}
	for range 2000 {
		say(strings.Repeat("x", 100_000), slog.String("k", strings.Repeat("y", 100_000)))
	}
	lines, _, _ = r.After(0)
	size := 0
	for _, l := range lines {
		size += len(l.Message) + len(l.Attrs["k"])
	}
	if size > logring.MaxBytes {
		t.Errorf("%d bytes are kept, more than %d", size, logring.MaxBytes)
	}
}

func TestRing_Follow(t *testing.T) {
	r := logring.New()
	var out bytes.Buffer
	log := slog.New(r.Tee(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn}))).With("a", 1).WithGroup("g")
	log.DebugContext(t.Context(), "not kept")
	log.InfoContext(t.Context(), "one", "b", 2)
	lines, next, more := r.After(0)
	if len(lines) != 1 || lines[0].Attrs["a"] != "1" || lines[0].Attrs["g.b"] != "2" {
		t.Fatalf("lines %+v", lines)
	}
	select {
	case <-more:
		t.Error("more, before there was")
	default:
	}
	log.WarnContext(t.Context(), "two")
	<-more
	if lines, _, _ = r.After(next); len(lines) != 1 || lines[0].Message != "two" {
		t.Errorf("lines %+v", lines)
	}
	if s := out.String(); strings.Contains(s, "one") || !strings.Contains(s, "two") {
		t.Errorf("the log itself: %q", s)
	}
}

func TestRedact(t *testing.T) {
	const planted = "Zm9vYmFyYmF6cXV4"
	r := logring.New()
	say := sayTo(t, r)
	for _, text := range []string{
		"token weft_dev_" + planted, "weft1." + planted + "." + planted, "Authorization: Bearer " + planted, "basic " + planted,
		"TUNNEL_TOKEN=" + planted, `{"client_secret": "` + planted + `"}`, "password: " + planted,
		"-----BEGIN PRIVATE KEY-----\n" + planted + "\n-----END PRIVATE KEY-----", "-----BEGIN OPENSSH PRIVATE KEY-----\n" + planted,
	} {
		say(text, slog.Any("error", errors.New(text)), slog.String("device_token", planted), slog.Group("g", slog.String("private_key", planted)))
	}
	lines, _, _ := r.After(0)
	for _, l := range lines {
		if s := fmt.Sprint(l); strings.Contains(s, planted) {
			t.Errorf("a secret is kept: %s", s)
		}
	}
	if len(lines) == 0 || lines[0].Attrs["device_token"] == "" {
		t.Errorf("lines %+v: not even the name of what was redacted is kept", lines)
	}
	say("device registered at 10.0.0.1")
	if lines, _, _ = r.After(0); lines[len(lines)-1].Message != "device registered at 10.0.0.1" {
		t.Errorf("plain text became %q", lines[len(lines)-1].Message)
	}
}

// What went wrong is remembered when much was said since.
func TestRing_Errors(t *testing.T) {
	r := logring.New()
	log := slog.New(r.Tee(slog.DiscardHandler)).With("part", "x").WithGroup("g")
	log.ErrorContext(t.Context(), "broken", "n", 1, "token", "abc")
	lines, _, _ := r.After(0)
	if s := lines[0].String(); !strings.Contains(s, `ERROR "broken" g.n="1" g.token="[redacted]" part="x"`) {
		t.Errorf("as text: %s", s)
	}
	for range 2 * logring.MaxLines {
		log.InfoContext(t.Context(), "line")
	}
	if e := r.Errors(); len(e) != 1 || e[0].Message != "broken" {
		t.Errorf("errors %+v", e)
	}
	for range 2 * logring.MaxErrors {
		log.ErrorContext(t.Context(), "again")
	}
	if e := r.Errors(); len(e) != logring.MaxErrors || e[0].Message != "again" {
		t.Errorf("%d errors are kept, the first %q", len(e), e[0].Message)
	}
}

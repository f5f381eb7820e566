package control_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"weft/api"
	"weft/control"
	"weft/control/store"
)

// ghost is a control plane that is only words: what it says is what the test tells.
type ghost struct {
	store  *store.Store
	joined chan struct{}
	heard  chan map[string]any
}

func (g *ghost) Joined() { close(g.joined) }

func (g *ghost) Heard(raw []byte) {
	var m map[string]any
	if json.Unmarshal(raw, &m) == nil && m["from"] != "ghost" {
		select {
		case g.heard <- m:
		default: // nobody looks any more
		}
	}
}

func (g *ghost) say(t *testing.T, format string, args ...any) {
	t.Helper()
	if err := g.store.Tell(t.Context(), fmt.Appendf(nil, format, args...)); err != nil {
		t.Fatal(err)
	}
}

func (g *ghost) isAsked(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case m := <-g.heard:
			if m["kind"] == "who" && m["to"] == "ghost" {
				return
			}
		case <-deadline:
			t.Fatal("nobody asks")
		}
	}
}

// What another control plane says is counted; what was missed is asked for, and until then nothing is believed of it.
func TestReplicas_MissedMessages(t *testing.T) {
	a, b := twoReplicas(t)
	b.Stop()
	key, err := os.ReadFile(filepath.Join(a.Config.Dir, "store.key"))
	if err != nil {
		t.Fatal(err)
	}
	g := &ghost{joined: make(chan struct{}), heard: make(chan map[string]any, 1000)}
	if g.store, err = store.Open(t.Context(), store.Config{URL: a.Config.Database, Key: key}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { g.store.Watch(ctx, slog.New(slog.DiscardHandler), g) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := g.store.Close(); err != nil {
			t.Error(err)
		}
	})
	<-g.joined
	tunnel, _ := a.Tunnel("office")
	status := func() string {
		var x api.Tunnel
		a.Call(http.MethodGet, a.Account("/cfd_tunnel/"+tunnel), nil, &x)
		return x.Status
	}
	const connector = 2 // the kind of stream
	stream := func(id string) string {
		return fmt.Sprintf(`{"kind":%d,"of":%q,"info":{"id":%q}}`, connector, tunnel, id)
	}

	g.say(t, `{"kind":"changes","from":"ghost","seq":7,"changes":[{"opened":%s}]}`, stream("early"))
	g.isAsked(t)
	if status() != "inactive" {
		t.Error("a change is believed without what was before it")
	}
	g.say(t, `{"kind":"whole","from":"ghost","seq":8,"streams":[%s]}`, stream("one"))
	eventually(t, "the stream is seen", func() bool { return status() == "healthy" })
	g.say(t, `{"kind":"changes","from":"ghost","seq":9,"changes":[{"opened":%s},{"closed":"one"},{"closed":"two"}]}`, stream("two"))
	eventually(t, "its end is seen", func() bool { return status() == "inactive" })
	eventually(t, "a number that does not follow is asked about", func() bool {
		g.say(t, `{"kind":"beat","from":"ghost","seq":12}`)
		select {
		case m := <-g.heard:
			return m["kind"] == "who" && m["to"] == "ghost"
		default:
			return false
		}
	})
	g.say(t, `{"kind":"whole","from":"ghost","seq":12,"streams":[%s]}`, stream("three"))
	eventually(t, "the stream is seen", func() bool { return status() == "healthy" })
	g.say(t, `{"kind":"bye","from":"ghost"}`)
	eventually(t, "it is gone", func() bool { return status() == "inactive" })
}

func TestReplicas_AreBounded(t *testing.T) {
	var all [][]byte
	for i := range 2 * control.MaxReplicasForTest {
		all = append(all, fmt.Appendf(nil, `{"kind":"whole","from":"r-%d","seq":1}`, i))
	}
	if n := control.HeardForTest(all...); n != control.MaxReplicasForTest {
		t.Errorf("it knows %d others", n)
	}
}

// FuzzReplicaMessages: whatever stands in a message, it does no harm.
func FuzzReplicaMessages(f *testing.F) {
	for _, seed := range []string{
		`{"kind":"whole","from":"a","seq":1,"streams":[{"kind":2,"of":"x","info":{"id":"1"}}]}` + "\n" + `{"kind":"changes","from":"a","seq":2,"changes":[{"closed":"1"},{}]}`,
		`{"kind":"changes","from":"a","seq":1,"changes":[{"opened":null}]}`, `{"kind":"beat","from":"a"}`, `{"kind":"bye","from":"a"}`, `{"kind":"who","from":"a"}`,
		`{"kind":"drop","from":"a"}`, `{"kind":"drop","from":"a","stream":{"kind":9,"of":"x"}}`, `{"kind":"question","from":"a","gateway":"g","question":{"id":"q"}}`,
		`{"kind":"taken","from":"a"}`, `{"kind":"answer","from":"a","reply":{"id":"q"}}`, `{"kind":"answer","from":"a"}`, `[]`, `{`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, raw []byte) { control.HeardForTest(bytes.Split(raw, []byte("\n"))...) })
}

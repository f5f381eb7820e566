package control_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/api"
	"weft/control"
	"weft/control/controltest"
	"weft/internal/kind"
	"weft/internal/pgtest"
)

// patience is how long a test waits for what should be there in milliseconds.
const patience = 30 * time.Second

// eventually waits until ok, which it asks again and again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within %s", what, patience)
		case <-tick.C:
		}
	}
}

// twoReplicas are two control planes on one PostgreSQL.
func twoReplicas(t *testing.T) (a, b *controltest.Server) {
	t.Helper()
	a = controltest.Start(t, control.Config{Dir: t.TempDir(), Database: pgtest.Database(t)})
	return a, a.Replica()
}

func reportingGateway(t *testing.T, s *controltest.Server, name string) api.NewGatewayResult {
	t.Helper()
	g := s.Gateway(name)
	if err := s.ClientWith(api.Secret(g.Token)).Do(t.Context(), http.MethodPut, api.PathGatewaySelf, controltest.Report("e"), nil); err != nil {
		t.Fatal(err)
	}
	return g
}

// A write through one replica is on the streams of the other, and the test says how soon. (That it is not the poll that
// finds it: store's TestWatch_HearsOfChanges.)
func TestReplicas_WakeEachOther(t *testing.T) {
	a, b := twoReplicas(t)
	g := reportingGateway(t, a, "gw")
	stream := watch[api.GatewayState](t, b.ClientWith(api.Secret(g.Token)), api.PathGatewaySync)
	stream.until(t, "the first state", func(*api.GatewayState) bool { return true })
	vnet := a.DefaultVNET()
	var took []time.Duration
	for i := range 40 {
		id := a.Target("web", fmt.Sprintf("10.0.0.%d", i+1), vnet)
		begin := time.Now()
		stream.until(t, "the target", func(s *api.GatewayState) bool { _, ok := s.Targets[id]; return ok })
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	at := func(p int) time.Duration { return took[len(took)*p/100] }
	t.Logf("from the answer of one replica to the stream of the other: median %s, 90 %% %s, most %s", at(50), at(90), took[len(took)-1])
}

func TestReplicas_ServeTheSame(t *testing.T) {
	a, b := twoReplicas(t)
	if a.AccountID != b.AccountID || string(a.Control.CAPEM()) != string(b.Control.CAPEM()) {
		t.Error("the replicas have different accounts or authorities")
	}
	tunnel, token := a.Tunnel("office")
	connector := watch[api.ConnectorState](t, b.ClientWith(api.Secret(token)), api.PathConnectorSync)
	connector.until(t, "a state", func(*api.ConnectorState) bool { return true })
	status := func(s *controltest.Server) string {
		var x api.Tunnel
		s.Call(http.MethodGet, s.Account("/cfd_tunnel/"+tunnel), nil, &x)
		return x.Status
	}
	connections := func(s *controltest.Server) (list []api.TunnelConnection) {
		s.Call(http.MethodGet, s.Account("/cfd_tunnel/"+tunnel+"/connections"), nil, &list)
		return list
	}
	eventually(t, "the replica without the stream shows it", func() bool { return status(a) == "healthy" && len(connections(a)) == 1 })
	if diff := cmp.Diff(connections(a), connections(b)); diff != "" {
		t.Errorf("the replicas show different connections (-a +b):\n%s", diff)
	}
	before := connections(b)[0].ID
	a.Call(http.MethodDelete, a.Account("/cfd_tunnel/"+tunnel+"/connections"), nil, nil)
	eventually(t, "the stream at the other replica ends, and comes back", func() bool {
		now := connections(b)
		return len(now) == 1 && now[0].ID != before
	})
	b.Stop()
	eventually(t, "the streams of a replica that ended are gone", func() bool { return status(a) == "down" && len(connections(a)) == 0 })
}

// Slots are given where nobody else writes, so that the networks of a device have the same ones at both.
func TestReplicas_GiveTheSameSlots(t *testing.T) {
	a, b := twoReplicas(t)
	g := reportingGateway(t, a, "gw")
	streams := map[string]*watching[api.GatewayState]{}
	servers := map[string]*controltest.Server{"a": a, "b": b}
	tunnel, _ := a.Tunnel("office")
	for name, s := range servers {
		streams[name] = watch[api.GatewayState](t, s.ClientWith(api.Secret(g.Token)), api.PathGatewaySync)
	}
	const each = 6
	var wg sync.WaitGroup
	for name, s := range servers {
		wg.Go(func() {
			for i := range each {
				n := s.VNET(fmt.Sprintf("%s-%d", name, i))
				s.Route("10.0.0.0/24", n, tunnel)
				s.Enrol("jdoe@company.com", fmt.Sprintf("laptop-%s-%d", name, i))
			}
		})
	}
	wg.Wait()
	full := func(s *api.GatewayState) bool {
		for _, d := range s.Devices {
			if len(d.Slots) != 2*each+1 {
				return false
			}
		}
		return len(s.Devices) == 2*each
	}
	at := map[string]map[string]api.GatewayDevice{}
	for name, stream := range streams {
		at[name] = stream.until(t, "all devices with all slots", full).Devices
	}
	if diff := cmp.Diff(at["a"], at["b"]); diff != "" {
		t.Errorf("the replicas give different slots (-a +b):\n%s", diff)
	}
	again := watch[api.GatewayState](t, a.Replica().ClientWith(api.Secret(g.Token)), api.PathGatewaySync)
	if diff := cmp.Diff(at["a"], again.until(t, "all devices", full).Devices); diff != "" {
		t.Errorf("a replica that starts reads other slots (-was +is):\n%s", diff)
	}
}

// A question reaches the gateway whichever replica it listens at, and its answer counts whichever it is sent to.
func TestReplicas_AskGatewaysOfEachOther(t *testing.T) {
	a, b := twoReplicas(t)
	c := a.Replica()
	net := a.DefaultVNET()
	tunnel, _ := a.Tunnel("office")
	a.Route("10.20.0.0/16", net, tunnel)
	a.Target("web-1", "10.20.0.5", net)
	a.App("web", "web-1", "SSH", 22, "jdoe@company.com", "root")
	a.Enrol("jdoe@company.com", "laptop")
	g := reportingGateway(t, a, "gw")
	watch[api.GatewayState](t, b.ClientWith(api.Secret(g.Token)), api.PathGatewaySync).until(t, "a state", func(*api.GatewayState) bool { return true })
	body, err := b.ClientWith(api.Secret(g.Token)).Stream(t.Context(), api.PathGatewayQuestions)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = body.Close() }()
	answerAt := make(chan *api.Client, 1)
	go func() {
		for lines := bufio.NewScanner(body); lines.Scan(); {
			var q api.GatewayQuestion
			if json.Unmarshal(lines.Bytes(), &q) != nil || q.ID == "" {
				continue
			}
			r := api.GatewayReply{ID: q.ID, FlowAnswer: api.FlowAnswer{Version: api.FlowAnswerVersion, Revision: 7, Steps: []api.FlowStep{{
				Step: api.StepConnect, State: api.StepFailed, Code: api.CodeConnectorDown,
			}}}}
			if err := (<-answerAt).Do(t.Context(), http.MethodPost, api.PathGatewayAnswers, r, nil); err != nil && t.Context().Err() == nil {
				t.Errorf("answer: %v", err)
			}
		}
	}()
	for name, to := range map[string]*controltest.Server{"the one that listens": b, "the one that asks": a, "a third": c} {
		eventually(t, "an answer to "+name, func() bool { // until the replicas know of the gateway's stream
			for len(answerAt) > 0 {
				<-answerAt
			}
			answerAt <- to.ClientWith(api.Secret(g.Token))
			e := explain(t, a, api.ExplainRequest{Email: "jdoe@company.com", Target: "web-1", Port: 22, Login: "root"})
			return len(e.Gateways) == 1 && e.Gateways[0].Answered && e.Gateways[0].Revision == 7 && e.Code == api.CodeConnectorDown
		})
	}
}

// After the connection on which the database tells of changes is lost, what changed meanwhile and since is heard of.
func TestReplicas_ListenAgain(t *testing.T) {
	database := pgtest.Database(t)
	a := controltest.Start(t, control.Config{Dir: t.TempDir(), Database: database})
	b := a.Replica()
	g := reportingGateway(t, a, "gw")
	stream := watch[api.GatewayState](t, b.ClientWith(api.Secret(g.Token)), api.PathGatewaySync)
	vnet := a.DefaultVNET()
	for i := range 3 {
		pgtest.Exec(t, database, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND pid <> pg_backend_pid()`)
		id := a.Target("web", fmt.Sprintf("10.0.0.%d", i+1), vnet)
		stream.until(t, "the target", func(s *api.GatewayState) bool { _, ok := s.Targets[id]; return ok })
	}
}

// The key that seals secrets is the same at all replicas; another one is refused, and none is left where none was.
func TestReplicas_NeedTheSameKey(t *testing.T) {
	a, _ := twoReplicas(t)
	dir := t.TempDir()
	_, err := control.New(control.Config{Dir: dir, Database: a.Config.Database, Listen: "127.0.0.1:0"})
	if !kind.Is(err, kind.Denied) {
		t.Errorf("without the key: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "store.key")); !os.IsNotExist(err) {
		t.Errorf("a key of its own was left: %v", err)
	}
}

// What a device's agent is told does not depend on where it asks.
func TestReplicas_TellAgentsTheSame(t *testing.T) {
	a, b := twoReplicas(t)
	vnet := a.DefaultVNET()
	a.App("web", "web", "SSH", 22, "jdoe@company.com", "root")
	dev := a.Enrol("jdoe@company.com", "laptop")
	for i := range 5 {
		a.Target("web", fmt.Sprintf("10.0.0.%d", i+1), vnet)
	}
	full := func(s *api.AgentState) bool { return len(s.Entries) == 5 }
	told := func(s *controltest.Server) string {
		state := watch[api.AgentState](t, s.ClientWith(api.Secret(dev.Token)), api.PathAgentSync).until(t, "the targets", full)
		raw, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if diff := cmp.Diff(told(a), told(b)); diff != "" {
		t.Errorf("the replicas tell an agent different things (-a +b):\n%s", diff)
	}
}

// While the database is away nothing is written and nobody is told anything else; when it is back, everything goes on by
// itself: requests, streams, and what the replicas tell each other.
func TestReplicas_DatabaseAway(t *testing.T) {
	database := pgtest.WholeDatabase(t)
	a := controltest.Start(t, control.Config{Dir: t.TempDir(), Database: database})
	b := a.Replica()
	g := reportingGateway(t, a, "gw")
	stream := watch[api.GatewayState](t, b.ClientWith(api.Secret(g.Token)), api.PathGatewaySync)
	stream.until(t, "the first state", func(*api.GatewayState) bool { return true })
	vnet := a.DefaultVNET()
	target := api.TargetWrite{Hostname: "away", IP: api.TargetIP{IPv4: &api.TargetAddress{Addr: "10.0.0.1", VNET: vnet}}}
	end := pgtest.Outage(t, database)
	for range 3 {
		for _, s := range []*controltest.Server{a, b} {
			err := s.Client.Do(t.Context(), http.MethodPost, s.Account("/infrastructure/targets"), target, nil)
			if !kind.Is(err, kind.Unavailable) {
				t.Errorf("a write without the database: %v", err)
			}
		}
	}
	end()
	id := ""
	eventually(t, "a write", func() bool {
		var x api.Target
		err := a.Client.Do(t.Context(), http.MethodPost, a.Account("/infrastructure/targets"), target, &x)
		if kind.Is(err, kind.Conflict) {
			t.Fatalf("one of the writes that failed was kept: %v", err)
		}
		id = x.ID
		return err == nil
	})
	state := stream.until(t, "the target", func(s *api.GatewayState) bool { _, ok := s.Targets[id]; return ok })
	if len(state.Targets) != 1 {
		t.Errorf("the stream has %d targets", len(state.Targets))
	}
	tunnel, token := a.Tunnel("office")
	watch[api.ConnectorState](t, b.ClientWith(api.Secret(token)), api.PathConnectorSync).until(t, "a state", func(*api.ConnectorState) bool { return true })
	eventually(t, "the replicas tell each other of streams", func() bool {
		var x api.Tunnel
		a.Call(http.MethodGet, a.Account("/cfd_tunnel/"+tunnel), nil, &x)
		return x.Status == "healthy"
	})
}

// A write that the database has made twice is answered once.
func TestPostgreSQL_BatchTriedAgain(t *testing.T) {
	database := pgtest.Database(t)
	s := controltest.Start(t, control.Config{Dir: t.TempDir(), Database: database})
	pgtest.Exec(t, database, `CREATE SEQUENCE inserts`, `CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF nextval('inserts') = 2 THEN RAISE EXCEPTION 'injected' USING ERRCODE = '40001'; END IF;
		RETURN NEW; END $$`, `CREATE TRIGGER fail BEFORE INSERT ON targets FOR EACH ROW EXECUTE FUNCTION fail()`)
	var batch []api.TargetWrite
	for i := range 3 {
		batch = append(batch, api.TargetWrite{Hostname: "web", IP: api.TargetIP{IPv4: &api.TargetAddress{Addr: fmt.Sprintf("10.0.0.%d", i+1)}}})
	}
	var made, listed []api.Target
	s.Call(http.MethodPut, s.Account("/infrastructure/targets/batch"), batch, &made)
	s.Call(http.MethodGet, s.Account("/infrastructure/targets"), nil, &listed)
	if len(made) != len(batch) || len(listed) != len(batch) {
		t.Errorf("%d targets are answered and %d listed", len(made), len(listed))
	}
}

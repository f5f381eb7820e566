package store_test

import (
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"weft/api"
	"weft/control/store"
	"weft/internal/kind"
	"weft/internal/pgtest"
)

// before is the last version of the schema that had SQLite alone.
const before = 6

// oldRows are an account of that version; %KEY% is its key check.
const oldRows = `
INSERT INTO accounts (id, name, ula, key_check, created_at) VALUES ('0123456789abcdef0123456789abcdef', 'old', 'fd00:1:2::/48', '%KEY%', '2026-01-01T00:00:00.000000Z');
INSERT INTO collection_revisions (collection, revision) VALUES ('networks', 7), ('targets', 9), ('applications', 8);
INSERT INTO audit_events (id, revision, at, actor_type, actor_id, action, object_type, object_id, detail) VALUES ('019b7700-0000-7000-8000-000000000001', 7, '2026-01-01T00:00:00.000000Z', 'token', 't1', 'network.create', 'networks', 'n1', '{}');
INSERT INTO api_tokens (id, name, hash, created_at) VALUES ('t1', 'admin', 'h1', '2026-01-01T00:00:00.000000Z');
INSERT INTO virtual_networks (id, name, name_key, comment, is_default, created_at) VALUES ('n1', 'default', 'default', '', 1, '2026-01-01T00:00:00.000000Z'), ('n2', 'lab', 'lab', '', 0, '2026-01-02T00:00:00.000000Z');
INSERT INTO tunnels (id, name, name_key, secret_hash, secret_sealed, config_src, created_at) VALUES ('u1', 'office', 'office', 'sh', '', 'cloudflare', '2026-01-01T00:00:00.000000Z');
INSERT INTO routes (id, network, family, bits, first_key, last_key, vnet_id, tunnel_id, comment, created_at) VALUES ('r1', '10.0.0.0/8', 4, 8, '0a000000', '0affffff', 'n1', 'u1', '', '2026-01-01T00:00:00.000000Z');
INSERT INTO targets (id, hostname, hostname_key, tags, created_at, modified_at) VALUES
	('g3', 'c', 'c', '{}', '2026-01-03T00:00:00.000000Z', '2026-01-03T00:00:00.000000Z'),
	('g1', 'a', 'a', '{"env":"prod"}', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z'),
	('g2', 'b', 'b', '{"env":"dev"}', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z');
INSERT INTO target_addresses (target_id, family, addr, addr_key, vnet_id) VALUES ('g1', 4, '10.0.0.1', '0a000001', 'n1'), ('g2', 4, '10.0.0.2', '0a000002', 'n1'), ('g3', 4, '10.0.0.1', '0a000001', 'n2');
INSERT INTO applications (id, aud, name, criteria, created_at, updated_at) VALUES ('a1', 'aud1', 'ssh', '[{"target_attributes":{"hostname":["a"]},"port":22,"protocol":"SSH"},{"target_attributes":{"hostname":["b"]},"port":22,"protocol":"SSH"}]', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z');
INSERT INTO policies (id, application_id, name, decision, precedence, include_rules, exclude_rules, require_rules, connection_rules, created_at, updated_at)
	VALUES ('p1', 'a1', 'ops', 'allow', 1, '[{"email":{"email":"a@b.c"}}]', '[]', '[]', '{"ssh":{"usernames":["root"]}}', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z');
INSERT INTO gateway_cas (id, public_key, private_key_sealed, created_at) VALUES ('c1', 'ssh-ed25519 AAAA', '', '2026-01-01T00:00:00.000000Z');
INSERT INTO users (id, email, email_key, name, group_list, created_at, updated_at) VALUES ('x1', 'a@b.c', 'a@b.c', 'A', '["ops"]', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z');
INSERT INTO devices (id, registration_id, user_id, name, os, version, public_key, token_hash, source_ip, created_at, updated_at, last_seen_at)
	VALUES ('d1', 'dr1', 'x1', 'laptop', 'linux', '1', 'k1', 'th1', '192.0.2.1', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z');
INSERT INTO device_blocks (block_index, device_id) VALUES (1, 'd1');
INSERT INTO device_slots (device_id, vnet_id, slot) VALUES ('d1', 'n1', 0);
INSERT INTO gateways (id, name, name_key, token_hash, report, created_at, updated_at) VALUES ('w1', 'gw', 'gw', 'gh', '{}', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z');
INSERT INTO ssh_certificates (serial, key_id, gateway_id, device_id, user_id, target_id, session_id, principal, policy_id, issued_at, valid_before)
	VALUES ('1', 'k', 'w1', 'd1', 'x1', 'g1', 's1', 'root', 'p1', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:05:00.000000Z');
INSERT INTO lists (id, name, name_key, type, description, created_at, updated_at) VALUES ('l1', 'offices', 'offices', 'IP', '', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z');
INSERT INTO list_items (list_id, value, description, created_at) VALUES ('l1', '192.0.2.0/24', '', '2026-01-01T00:00:00.000000Z');
INSERT INTO rule_groups (id, name, name_key, include_rules, exclude_rules, require_rules, created_at, updated_at)
	VALUES ('q1', 'ops', 'ops', '[{"everyone":{}}]', '[]', '[]', '2026-01-01T00:00:00.000000Z', '2026-01-01T00:00:00.000000Z');
INSERT INTO ssh_host_cas (id, public_key, private_key_sealed, created_at) VALUES ('h1', 'ssh-ed25519 BBBB', '', '2026-01-01T00:00:00.000000Z')`

// oldMigrations are the schema of that version, with the database's word for text.
func oldMigrations(t *testing.T, text string) fs.FS {
	t.Helper()
	files, err := filepath.Glob("migrations/0000[1-6]_*.sql")
	if err != nil || len(files) != before {
		t.Fatalf("%v: %v", files, err)
	}
	word, out := regexp.MustCompile(`\bTEXT\b`), fstest.MapFS{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(f)] = &fstest.MapFile{Data: word.ReplaceAll(raw, []byte(text))}
	}
	return out
}

// makeOld fills an empty database.
func makeOld(t *testing.T, db *sql.DB, dialect goose.Dialect, text string) {
	t.Helper()
	p, err := goose.NewProvider(dialect, db, oldMigrations(t, text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	for statement := range strings.SplitSeq(strings.Replace(oldRows, "%KEY%", keyCheck(t), 1), ";\n") {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// keyCheck is that of an account under testKey.
func keyCheck(t *testing.T) (check string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.db")
	openAt(t, path, testKey, nil)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.QueryRowContext(t.Context(), `SELECT key_check FROM accounts`).Scan(&check); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return check
}

func TestSQLite_Upgrade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	makeOld(t, db, goose.DialectSQLite3, "TEXT")
	upgraded(t, openAt(t, path, testKey, nil))
	upgraded(t, openAt(t, path, testKey, nil)) // as it is by now
}

func TestPostgreSQL_Upgrade(t *testing.T) {
	url := pgtest.Database(t)
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	makeOld(t, stdlib.OpenDB(*config), goose.DialectPostgres, `TEXT COLLATE "C"`)
	upgraded(t, openURL(t, url, nil))
	upgraded(t, openURL(t, url, nil))
}

// upgraded looks at an account that was made by oldRows and opened.
func upgraded(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	check := func(what string, want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("account", "0123456789abcdef0123456789abcdef", s.Account().ID)
	targetsOf := func(r *store.Reader, f store.TargetFilter, p store.Page) (ids []string, total int) {
		list, total, err := r.ListTargets(ctx, f, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range list {
			ids = append(ids, x.ID)
		}
		return ids, total
	}
	if err := s.View(ctx, func(r *store.Reader) error {
		revisions, err := r.Revisions(ctx)
		if err != nil {
			return err
		}
		for name, rev := range revisions {
			if rev < 10 {
				t.Errorf("collection %s stays at revision %d", name, rev)
			}
		}
		for _, name := range []string{store.SessionSettings, store.PostureRules, store.PostureResults, store.DeviceProfiles, store.TargetHostCAs} {
			if revisions[name] == 0 {
				t.Errorf("collection %s has no revision", name)
			}
		}
		ids, total := targetsOf(r, store.TargetFilter{}, store.Page{Number: 1, Size: 2})
		check("first page", []string{"g1", "g2"}, ids)
		check("total", 3, total)
		ids, _ = targetsOf(r, store.TargetFilter{}, store.Page{Number: 2, Size: 2})
		check("second page", []string{"g3"}, ids)
		ids, _ = targetsOf(r, store.TargetFilter{Tags: [][2]string{{"env", "prod"}}}, store.Page{Number: 1, Size: 2})
		check("by tag", []string{"g1"}, ids)
		apps, err := r.DomainApplications(ctx)
		if err != nil {
			return err
		}
		if len(apps) != 1 || len(apps[0].Policies) != 1 || len(apps[0].Criteria) != 2 || apps[0].Policies[0].ID != "p1" {
			t.Errorf("applications %+v", apps)
		}
		cas, err := r.UserCAs(ctx)
		if err != nil {
			return err
		}
		if len(cas) != 1 || cas[0].State != "signs" {
			t.Errorf("user CAs %+v", cas)
		}
		users, err := r.Identities(ctx)
		if err != nil {
			return err
		}
		if len(users) != 1 || users[0].Email != "a@b.c" || users[0].ServiceToken != "" || users[0].Revoked {
			t.Errorf("users %+v", users)
		}
		devices, err := r.ActiveDevices(ctx)
		if err != nil {
			return err
		}
		if len(devices) != 1 || devices[0].BlockIndex != 1 || len(devices[0].Slots) != 1 {
			t.Errorf("devices %+v", devices)
		}
		events, _, err := r.Audit(ctx, store.AuditFilter{OldestFirst: true}, store.Page{Number: 1, Size: 10})
		if err != nil {
			return err
		}
		if len(events) == 0 || events[0].Revision != 7 {
			t.Errorf("audit events %+v", events)
		}
		groups, err := r.DomainRuleGroups(ctx)
		if err != nil {
			return err
		}
		lists, err := r.DomainLists(ctx)
		check("groups and lists", []int{1, 1}, []int{len(groups), len(lists)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// What the upgrade derived holds for the next write: places behind the old ones, the port's protocol, the blocks.
	var made api.Target
	if err := s.Update(ctx, store.System, func(tx *store.Tx) (err error) {
		in := api.TargetWrite{Hostname: "new"}
		in.IP.IPv4 = &api.TargetAddress{Addr: "10.0.0.9"}
		made, err = tx.CreateTarget(ctx, "", in)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.View(ctx, func(r *store.Reader) error {
		ids, total := targetsOf(r, store.TargetFilter{}, store.Page{Number: 2, Size: 3})
		check("the page of the new target", []string{made.ID}, ids)
		check("total", 4, total)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(ctx, store.System, func(tx *store.Tx) error { return tx.DeleteTarget(ctx, made.ID) }); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(ctx, store.System, func(tx *store.Tx) error {
		_, err := tx.CreateApplication(ctx, api.ApplicationWrite{
			Name: "other", Criteria: []api.Criteria{{Attributes: map[string][]string{"hostname": {"a"}}, Port: 22, Protocol: "HTTP"}},
		})
		return err
	}); !kind.Is(err, kind.Conflict) {
		t.Errorf("port 22 is given to another protocol: %v", err)
	}
}

// Package pgtest gives tests databases of a real PostgreSQL. The first one that is asked for starts a server of this
// test binary's own: on a Unix socket in a private directory, without a network, without fsync. It ends, and its files
// go, when the process ends, however that ends: a shell beside it waits for the pipe that only this process holds.
//
// The databases sort by the rules of a language (ICU's en-US) where the server can, so that a query that leaves the
// order to the database's language is found.
package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// server is the one of this process.
var server = sync.OnceValues(start)

// errAbsent says that there is no PostgreSQL to start.
var errAbsent = errors.New("PostgreSQL is not installed (Debian: postgresql)")

// Database makes an empty place for an account, a schema of its own, and returns the URL that leads there. It goes with
// the test. Without PostgreSQL the test is skipped, unless WEFT_TEST_DATABASE=postgres says that there must be one.
func Database(tb testing.TB) string {
	tb.Helper()
	dir, name := running(tb), newName()
	to := databaseURL(dir, "sorted")
	Exec(tb, to, "CREATE SCHEMA "+name)
	tb.Cleanup(func() { Exec(tb, to, "DROP SCHEMA "+name+" CASCADE") })
	return to + "&search_path=" + name
}

// WholeDatabase is Database with a database of its own.
func WholeDatabase(tb testing.TB) string {
	tb.Helper()
	dir, name := running(tb), newName()
	admin := databaseURL(dir, "postgres")
	Exec(tb, admin, "CREATE DATABASE "+name+" TEMPLATE sorted")
	tb.Cleanup(func() { Exec(tb, admin, "DROP DATABASE "+name+" WITH (FORCE)") })
	return databaseURL(dir, name)
}

// Outage ends all connections to a WholeDatabase and lets nobody in until the function that it returns is called.
func Outage(tb testing.TB, database string) (end func()) {
	tb.Helper()
	u, err := url.Parse(database)
	if err != nil {
		tb.Fatal(err)
	}
	admin, name := databaseURL(u.Query().Get("host"), "postgres"), strings.TrimPrefix(u.Path, "/")
	Exec(tb, admin, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+name+"'")
	return func() {
		tb.Helper()
		Exec(tb, admin, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS true")
	}
}

func running(tb testing.TB) (dir string) {
	tb.Helper()
	dir, err := server()
	if errors.Is(err, errAbsent) && os.Getenv("WEFT_TEST_DATABASE") == "" {
		tb.Skip(err)
	}
	if err != nil {
		tb.Fatalf("start PostgreSQL: %v", err)
	}
	return dir
}

func newName() string { return "t" + strings.ToLower(rand.Text()) }

// Socket is the socket of the server that a URL leads to.
func Socket(tb testing.TB, databaseURL string) string {
	tb.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		tb.Fatal(err)
	}
	return filepath.Join(u.Query().Get("host"), ".s.PGSQL.5432")
}

// Program is the path of one of PostgreSQL's programs, such as pg_dump; the test is skipped when there is none.
func Program(tb testing.TB, name string) string {
	tb.Helper()
	bin, err := programs()
	if err != nil {
		tb.Skip(err)
	}
	return filepath.Join(bin, name)
}

// Exec runs statements in a database, as its administrator.
func Exec(tb testing.TB, databaseURL string, statements ...string) {
	tb.Helper()
	if err := try(context.WithoutCancel(tb.Context()), databaseURL, statements...); err != nil {
		tb.Fatal(err)
	}
}

func try(ctx context.Context, to string, statements ...string) error {
	conn, err := pgx.Connect(ctx, to)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", s, err), conn.Close(ctx))
		}
	}
	return conn.Close(ctx)
}

func databaseURL(dir, name string) string {
	return "postgres://postgres@/" + name + "?host=" + url.QueryEscape(dir)
}

// programs finds the directory of the newest version.
func programs() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian's are not in PATH
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		path, err := exec.LookPath("initdb")
		if err != nil {
			return "", errAbsent
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return "", err
		}
		return filepath.Dir(path), nil
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // what is no number is old
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// supervise makes the cluster, runs the server until its standard input ends, and removes all of it.
const supervise = `
set -eu
trap 'rm -rf "$DIR"' EXIT
"$BIN/initdb" -D "$DIR/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >"$DIR/log" 2>&1
"$BIN/postgres" -D "$DIR/data" -k "$DIR" -c listen_addresses= -c unix_socket_permissions=0700 -c fsync=off -c synchronous_commit=off \
  -c full_page_writes=off -c autovacuum=off -c max_connections=300 -c shared_buffers=32MB -c max_wal_size=256MB >>"$DIR/log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -INT $server
wait $server || true
`

// start starts the server and returns the directory of its socket.
func start() (dir string, err error) {
	bin, err := programs()
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "weft-pg-"); err != nil {
		return "", err
	}
	program := []string{"/bin/sh", "-c", supervise}
	if os.Getuid() == 0 { // PostgreSQL refuses to be root
		const nobody = 65534
		program = append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, program...)
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return "", err
		}
	}
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(context.Background(), program[0], program[1:]...) //nolint:gosec // what is run is above
	cmd.Dir, cmd.Stdin = dir, read
	cmd.Env = append(os.Environ(), "BIN="+bin, "DIR="+dir, "LC_ALL=C", "TZ=UTC")
	if err := cmd.Start(); err != nil {
		return "", errors.Join(err, read.Close(), write.Close(), os.Remove(dir))
	}
	held = write
	if err := read.Close(); err != nil {
		return "", err
	}
	return dir, await(dir)
}

// held keeps the server: when it is closed, by the end of the process at the latest, the server ends. Nothing reads it.
var held *os.File

// await waits until the server answers, and makes the database that others are copies of.
func await(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx, databaseURL(dir, "postgres"), "SELECT 1")
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(dir, "log")) // the error says enough without it
			return fmt.Errorf("%w\n%s", errors.Join(err, held.Close()), log)
		case <-tick.C:
		}
	}
	err := try(ctx, databaseURL(dir, "postgres"), `CREATE DATABASE sorted TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'`)
	if err != nil { // built without ICU, or before version 15
		err = try(ctx, databaseURL(dir, "postgres"), `CREATE DATABASE sorted`)
	}
	return err
}

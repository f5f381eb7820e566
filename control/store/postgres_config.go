package store

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"weft/internal/kind"
)

// Settings of a session that the URL may replace. A statement that takes longer is given up; a control plane that hangs
// or is cut off in the middle of a write does not keep the others from theirs for longer than the second.
var sessionSettings = map[string]string{
	"application_name":                    "weft control",
	"statement_timeout":                   "30s",
	"idle_in_transaction_session_timeout": "30s",
}

// PasswordInURL reports whether a database's URL holds a password, so that it must not stand where others can read it.
func PasswordInURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil {
		return true // who knows
	}
	_, has := u.User.Password()
	return has || u.Query().Has("password")
}

// postgresConfig reads a URL as libpq does (https://www.postgresql.org/docs/current/libpq-connect.html), with PGPASSFILE
// and the other variables of its environment. What differs: over a network TLS with the server's name is the default,
// not one's luck. Errors name neither the URL nor the password.
func postgresConfig(s string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, kind.New(kind.Invalid, "the database is not a URL such as postgres://weft@db.example.net/weft")
	}
	q := u.Query()
	if q.Get("sslmode") == "" && !isLocal(u.Hostname()) && q.Get("host") == "" {
		q.Set("sslmode", "verify-full")
		u.RawQuery = q.Encode()
	}
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, kind.New(kind.Invalid, "the URL of the database is not usable").WithCause(err)
	}
	for k, v := range sessionSettings {
		if _, ok := cfg.RuntimeParams[k]; !ok {
			cfg.RuntimeParams[k] = v
		}
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 10 * time.Second
	}
	cfg.DialFunc = databaseDialer().DialContext
	return cfg, nil
}

// isLocal reports whether a host is this machine, where a network cannot listen.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || host == "localhost" || strings.HasPrefix(host, "/") || ip != nil && ip.IsLoopback()
}

// databaseDialer makes connections that notice within half a minute that the other end is gone.
func databaseDialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 4},
		Control:         giveUpUnacknowledged,
	}
}

// postgresText is the type of text that is compared and sorted by its bytes.
const postgresText = `TEXT COLLATE "C"`

var textColumn = regexp.MustCompile(`\bTEXT\b`)

// postgresMigrations are the migrations with the one thing that PostgreSQL must be told and SQLite does by itself: that
// text is compared and sorted by its bytes, whatever the language of the database.
func postgresMigrations() (fs.FS, error) {
	dir, err := migrationFiles()
	if err != nil {
		return nil, err
	}
	names, err := fs.Glob(dir, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	out := textFiles{FS: dir, content: map[string][]byte{}}
	for _, name := range names {
		raw, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, fmt.Errorf("read migrations: %w", err)
		}
		out.content[name] = textColumn.ReplaceAll(raw, []byte(postgresText))
	}
	return out, nil
}

// textFiles are files of which some have another content.
type textFiles struct {
	fs.FS
	content map[string][]byte
}

// Open opens the file with its other content.
func (f textFiles) Open(name string) (fs.File, error) {
	file, err := f.FS.Open(name)
	content, ok := f.content[name]
	if err != nil || !ok {
		return file, err
	}
	return &textFile{File: file, Reader: bytes.NewReader(content)}, nil
}

type textFile struct {
	fs.File
	*bytes.Reader
}

func (f *textFile) Read(p []byte) (int, error) { return f.Reader.Read(p) }

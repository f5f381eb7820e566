//go:build e2e && linux

package integration_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/crypto/ssh"

	"weft/integration/lab"
)

// services are what a host offers beside sshd; each tells by its content which host it is.
type services struct {
	name      string
	listeners []io.Closer
	conns     sync.Map // net.Conn to struct{}
	accepted  atomic.Int64
	wg        sync.WaitGroup
}

// startHosts starts on both hosts a real sshd that trusts the SSH authority, the services, and on host A the counted relay.
func (w *world) startHosts(ctx context.Context) error {
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return fmt.Errorf("make sshd's folder: %w", err)
	}
	if err := os.WriteFile(w.path("user-ca.pub"), []byte(strings.TrimSpace(w.caKey)+"\n"), 0o600); err != nil {
		return err
	}
	for name, ns := range map[string]string{"a": w.net.hostA, "b": w.net.hostB} {
		s := &services{name: "host-" + name}
		w.hosts[name] = s
		if err := s.start(ns); err != nil {
			return err
		}
		if err := w.startSSHD(ctx, name, ns); err != nil {
			return err
		}
	}
	var err error
	w.counted, err = newCountingRelay(w.net.hostA, hostIPs[2]+":22", hostIPs[0]+":22")
	return err
}

// startSSHD runs sshd in a mount namespace of its own, where the user's home is a folder of the host's, and in a UTS
// namespace, where the host has its name.
func (w *world) startSSHD(ctx context.Context, name, ns string) error {
	home := w.path("home-" + name)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return err
	}
	key, err := hostKey()
	if err != nil {
		return err
	}
	config := strings.Join([]string{
		"Port 22", "ListenAddress " + hostIPs[0], "HostKey " + w.path("host-key-"+name),
		"TrustedUserCAKeys " + w.path("user-ca.pub"), "PidFile none", "UsePAM no", "PermitRootLogin prohibit-password",
		"PasswordAuthentication no", "KbdInteractiveAuthentication no", "AuthorizedKeysFile none", "StrictModes no",
		"MaxStartups 100", "MaxSessions 100", "Subsystem sftp internal-sftp", "LogLevel VERBOSE", "",
	}, "\n")
	err = errors.Join(
		os.WriteFile(w.path("host-key-"+name), key, 0o600),
		os.WriteFile(w.path("sshd-"+name), []byte(config), 0o600),
	)
	if err != nil {
		return err
	}
	script := fmt.Sprintf("mount --bind '%s' '%s' && hostname host-%s && exec %s -D -e -f '%s'", home, accountHome(), name, sshdPath, w.path("sshd-"+name))
	p, err := w.start(ctx, "sshd-"+name, ns, "unshare", "--uts", "sh", "-c", script)
	if err != nil {
		return err
	}
	for {
		c, err := dialIn(ctx, ns, "tcp", hostIPs[0]+":22")
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.Done():
			return fmt.Errorf("sshd of host %s ended: %s", name, p.Tail(5))
		case <-ctx.Done():
			return fmt.Errorf("sshd of host %s does not answer: %w", name, err)
		default:
		}
	}
}

func hostKey() ([]byte, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(block), nil
}

func (s *services) start(ns string) error {
	for _, port := range []int{echoPort, hiddenPort} {
		l, err := listenIn(ns, ":"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, l)
		s.wg.Go(func() { s.accept(l) })
	}
	l, err := listenIn(ns, ":"+strconv.Itoa(webPort))
	if err != nil {
		return err
	}
	web := &http.Server{Handler: s.web(), ReadHeaderTimeout: readHeaderTimeout}
	s.listeners = append(s.listeners, web)
	s.wg.Go(func() { _ = web.Serve(l) }) // ends by Close
	// One socket per address: an answer must come from the address that was asked.
	for _, addr := range hostIPs {
		pc, err := inNamespace(ns, func() (net.PacketConn, error) {
			return (&net.ListenConfig{}).ListenPacket(context.Background(), "udp", net.JoinHostPort(addr, strconv.Itoa(udpPort)))
		})
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, pc)
		s.wg.Go(func() { s.datagrams(pc) })
	}
	return nil
}

func (s *services) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.accepted.Add(1)
		s.conns.Store(c, struct{}{})
		s.wg.Go(func() {
			defer s.conns.Delete(c)
			defer func() { _ = c.Close() }()
			s.echo(c)
		})
	}
}

// echo answers every line with the host's name and the line.
func (s *services) echo(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(c, s.name+" "+line); err != nil {
			return
		}
	}
}

func (s *services) web() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /name", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s.name) })
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		_, _ = io.Copy(w, io.LimitReader(&pattern{}, n)) // the client counts
	})
	mux.HandleFunc("PUT /count", func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(&pattern{}, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprint(w, n)
	})
	return mux
}

func (s *services) datagrams(pc net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = pc.WriteTo(append([]byte(s.name+" "), buf[:n]...), from) // datagrams may be lost
	}
}

func (s *services) close() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
	s.conns.Range(func(c, _ any) bool {
		_ = c.(net.Conn).Close()
		return true
	})
	s.wg.Wait()
}

// pattern is an endless sequence of bytes in which every position can be checked: reading makes it, writing checks it.
type pattern struct{ at int64 }

func (p *pattern) byteAt(i int64) byte { return byte(i ^ i>>8 ^ i>>16) }

// Read fills b.
func (p *pattern) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = p.byteAt(p.at + int64(i))
	}
	p.at += int64(len(b))
	return len(b), nil
}

// Write fails at the first byte that is not the pattern's.
func (p *pattern) Write(b []byte) (int, error) {
	for i := range b {
		if b[i] != p.byteAt(p.at+int64(i)) {
			return i, fmt.Errorf("byte %d is wrong", p.at+int64(i))
		}
	}
	p.at += int64(len(b))
	return len(b), nil
}

// relay stands before a server and counts the bytes that clients send to it.
type relay struct {
	l       net.Listener
	toward  atomic.Int64 // bytes
	opened  atomic.Int64 // connections
	wg      sync.WaitGroup
	forward atomic.Pointer[func() (net.Conn, error)]
}

// newCountingRelay listens in ns.
func newCountingRelay(ns, listen, to string) (*relay, error) {
	l, err := listenIn(ns, listen)
	if err != nil {
		return nil, err
	}
	return newRelay(l, ns, to), nil
}

// newForwarder listens on the loopback address of the namespace of the tests.
func newForwarder(ns, to string) (*relay, error) {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return newRelay(l, ns, to), nil
}

func newRelay(l net.Listener, ns, to string) *relay {
	r := &relay{l: l}
	r.turn(ns, to)
	r.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.opened.Add(1)
			r.wg.Go(func() { r.relay(c) })
		}
	})
	return r
}

// turn makes new connections go to another place.
func (r *relay) turn(ns, to string) {
	dial := func() (net.Conn, error) { return dialIn(context.Background(), ns, "tcp", to) }
	r.forward.Store(&dial)
}

func (r *relay) relay(c net.Conn) {
	defer func() { _ = c.Close() }()
	up, err := (*r.forward.Load())()
	if err != nil {
		return
	}
	defer func() { _ = up.Close() }()
	r.wg.Go(func() {
		_, _ = io.Copy(c, up)
		_ = c.Close()
	})
	_, _ = io.Copy(up, io.TeeReader(c, (*counter)(&r.toward)))
}

func (r *relay) close() {
	_ = r.l.Close()
	r.wg.Wait()
}

type counter atomic.Int64

func (c *counter) Write(b []byte) (int, error) {
	(*atomic.Int64)(c).Add(int64(len(b)))
	return len(b), nil
}

// stderrOf is what a program that failed wrote to its standard error.
func stderrOf(err error) string { return lab.Stderr(err) }

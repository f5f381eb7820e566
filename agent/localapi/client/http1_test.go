package client_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"weft/agent/localapi/client"
)

func TestReadAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, in, body string
		status         int
	}{
		{"a content length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello, and more", "hello", 200},
		{"no reason phrase, odd case, bare line feeds", "HTTP/1.1 404\ncontent-LENGTH:2\n\nno", "no", 404},
		{"until the end", "HTTP/1.1 200 OK\r\n\r\nall of it", "all of it", 200},
		{"chunks with extensions and a trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;x=y\r\nhello\r\n1 \r\n!\r\n0\r\nA: b\r\n\r\n", "hello!", 200},
		{"interim answers first", "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "x", 200},
		{"no body whatever is said", "HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n", "", 204},
		{"the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "x", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				status, _, body, err := client.ReadAnswer(bufio.NewReader(r))
				if err != nil || status != tt.status || string(body) != tt.body {
					t.Errorf("status %d, body %q, %v; want %d, %q", status, body, err, tt.status, tt.body)
				}
			}
		})
	}
}

func TestReadAnswer_Refused(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name, in  string
		malformed bool // else it was cut off
	}{
		{"nothing", "", false},
		{"another protocol", "SSH-2.0-OpenSSH\r\n", true},
		{"an older version", "HTTP/1.0 200 OK\r\n\r\n", true},
		{"another version", "HTTP/2 200 OK\r\n\r\n", true},
		{"no status", "HTTP/1.1 OK\r\n\r\n", true},
		{"a status below 100", "HTTP/1.1 099 X\r\n\r\n", true},
		{"a header without a colon", ok + "Content-Length 5\r\n\r\n", true},
		{"a blank before the colon", ok + "Content-Length : 5\r\n\r\n", true},
		{"a continued line", ok + "A: b\r\n c: d\r\n\r\n", true},
		{"a negative length", ok + "Content-Length: -1\r\n\r\n", true},
		{"no length", ok + "Content-Length: \r\n\r\n", true},
		{"two lengths", ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", true},
		{"a length and chunks", ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", true},
		{"another coding", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n", true},
		{"a chunk without an end", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n", true},
		{"a negative chunk", ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n", true},
		{"a chunk without a size", ok + "Transfer-Encoding: chunked\r\n\r\n\r\nx\r\n", true},
		{"a huge chunk", ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx\r\n", true},
		{"a long line", ok + "A: " + strings.Repeat("x", client.MaxHeadLine) + "\r\n\r\n", true},
		{"many lines", ok + strings.Repeat("A: b\r\n", 200) + "\r\n", true},
		{"many trailers", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("A: b\r\n", 200) + "\r\n", true},
		{"interim answers without end", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 50), true},
		{"a head that is cut off", ok + "Content-Le", false},
		{"a head without its end", ok + "Content-Length: 2\r\n", false},
		{"a body that is cut off", ok + "Content-Length: 5\r\n\r\nhell", false},
		{"a chunk that is cut off", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhell", false},
		{"chunks without the last", ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", false},
		{"a trailer that is cut off", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, _, body, err := client.ReadAnswer(bufio.NewReader(strings.NewReader(tt.in)))
			if err == nil {
				t.Fatalf("read status %d, body %q", status, body)
			}
			if got := errors.Is(err, client.ErrMalformed); got != tt.malformed {
				t.Errorf("error %v, malformed = %v; want %v", err, got, tt.malformed)
			}
		})
	}
}

// Whatever net/http's reader and ours both accept, they read alike.
func FuzzReadAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nA: b\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weft-stream\r\n\r\nraw",
		"HTTP/1.0 503\r\n\r\n{}",
		"HTTP/1.1 204 No\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		status, upgrade, body, err := client.ReadAnswer(bufio.NewReader(bytes.NewReader(in)))
		if err != nil || status == http.StatusSwitchingProtocols {
			return
		}
		theirs, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(in)), nil)
		if err != nil {
			return
		}
		defer theirs.Body.Close()
		if theirs.StatusCode < 200 {
			return // they hand out interim answers
		}
		want, err := io.ReadAll(theirs.Body)
		if err != nil {
			return
		}
		if status != theirs.StatusCode || !bytes.Equal(body, want) {
			t.Errorf("read %d %q, net/http %d %q", status, body, theirs.StatusCode, want)
		}
		if len(theirs.Header["Upgrade"]) == 1 && upgrade != theirs.Header.Get("Upgrade") {
			t.Errorf("upgrade %q, net/http %q", upgrade, theirs.Header.Get("Upgrade"))
		}
	})
}

func TestWriteRequest_AsNetHTTPReadsIt(t *testing.T) {
	var b bytes.Buffer
	if err := client.WriteRequest(&b, "POST", "/v1/dial?a=b%20c", []byte(`{"x":1}`), "weft-stream"); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(&b))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	got := []string{r.Method, r.URL.RequestURI(), r.Host, r.Header.Get("Connection"), r.Header.Get("Upgrade"), r.Header.Get("Content-Type"), string(body)}
	want := []string{"POST", "/v1/dial?a=b%20c", "weft-agent", "Upgrade", "weft-stream", "application/json", `{"x":1}`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

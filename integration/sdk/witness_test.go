package sdk_test

import (
	"net/http"
	"runtime"
	"strings"
	"sync"
)

// witness writes down which methods of the SDKs had success, by the stack of each request: the proof that a method was
// driven is the request that it made, not that a test mentions it.
type witness struct {
	test      string
	next      http.RoundTripper
	described *description
}

// seen is what all tests of this process had success with.
var seen = struct {
	sync.Mutex
	methods map[string]map[string]bool // SDK method -> tests; guarded by the mutex
	filters map[string]map[string]bool // field of parameters -> tests that saw its effect; guarded by the mutex
	unknown map[string]map[string]bool // parameter of the query that the API's description does not have -> tests; guarded by the mutex
}{methods: map[string]map[string]bool{}, filters: map[string]map[string]bool{}, unknown: map[string]map[string]bool{}}

func add(to map[string]map[string]bool, key, test string) {
	test, _, _ = strings.Cut(test, "/")
	seen.Lock()
	defer seen.Unlock()
	if to[key] == nil {
		to[key] = map[string]bool{}
	}
	to[key][test] = true
}

// RoundTrip implements http.RoundTripper.
func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	methods := callers()
	resp, err := w.next.RoundTrip(r)
	if err == nil && resp.StatusCode < 300 {
		for _, m := range methods {
			add(seen.methods, m, w.test)
		}
		for _, name := range w.described.unknown(r) {
			add(seen.unknown, r.Method+" "+r.URL.Path+" ?"+name, w.test)
		}
	}
	return resp, err
}

// sdkPath begins the import paths of both SDKs.
const sdkPath = "github.com/cloudflare/cloudflare-go"

// callers are the methods of the SDKs on the stack, such as "API.Account" and "zero_trust.DeviceService.List".
func callers() []string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	var methods []string
	for {
		f, more := frames.Next()
		if m := methodName(f.Function); m != "" {
			methods = append(methods, m)
		}
		if !more {
			return methods
		}
	}
}

// methodName is the short name of a method of *cf.API or of a service of v6, "" for other functions.
func methodName(function string) string {
	rest, ok := strings.CutPrefix(function, sdkPath)
	if !ok {
		return ""
	}
	pkg, name, ok := strings.Cut(rest, ".(*")
	if !ok {
		return ""
	}
	receiver, method, _ := strings.Cut(name, ").")
	switch {
	case pkg == "" && receiver == "API":
		return receiver + "." + method
	case strings.HasPrefix(pkg, "/v6") && strings.HasSuffix(receiver, "Service"):
		return pkg[strings.LastIndexByte(pkg, '/')+1:] + "." + receiver + "." + method
	}
	return ""
}

package cli_test

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"weft/agent/localapi"
)

// answerReach plays what the agent knows for OpenSSH and its forwards. It is called with the lock held.
func (f *fakeAgent) answerReach(w http.ResponseWriter, r *http.Request, key string, body []byte) bool {
	switch key {
	case "GET " + localapi.PathSSHHost:
		h := f.w.SSHHosts[r.URL.Query().Get("name")]
		h.SchemaVersion = localapi.SchemaVersion
		all := f.w.SSHHosts["*"] // what does not depend on the name
		h.CertAuthorities, h.VNETs = append([]string{}, all.CertAuthorities...), []string{}
		for _, v := range f.w.VNETs {
			h.VNETs = append(h.VNETs, v.Name)
		}
		reply(w, http.StatusOK, h)
	case "GET " + localapi.PathForwards:
		reply(w, http.StatusOK, localapi.ForwardList{SchemaVersion: localapi.SchemaVersion, Forwards: f.w.Forwards})
	case "POST " + localapi.PathForwards:
		f.addForward(w, body)
	case "DELETE " + localapi.PathForwards:
		name := r.URL.Query().Get("name")
		i := slices.IndexFunc(f.w.Forwards, func(x localapi.Forward) bool { return x.Name == name })
		if i < 0 {
			reply(w, http.StatusNotFound, localapi.Error{Code: "not_found", Message: "there is no forward called " + name, Hint: "see them: warp-cli forward list"})
			return true
		}
		f.w.Forwards = slices.Delete(f.w.Forwards, i, i+1)
		reply(w, http.StatusOK, localapi.Done{SchemaVersion: localapi.SchemaVersion, Success: true})
	default:
		return false
	}
	return true
}

func (f *fakeAgent) addForward(w http.ResponseWriter, body []byte) {
	var in localapi.NewForward
	if err := json.Unmarshal(body, &in); err != nil {
		reply(w, http.StatusBadRequest, localapi.Error{Code: "invalid", Message: "malformed JSON"})
		return
	}
	out := localapi.Forward{
		SchemaVersion: localapi.SchemaVersion, Name: in.Name, Network: "tcp", Listen: "127.0.0.1:" + in.Listen, Target: in.Target, Port: in.Port,
		VNETID: "v", VNETName: in.VNET, State: localapi.ForwardListening,
	}
	if path, ok := strings.CutPrefix(in.Listen, "unix:"); ok {
		out.Network, out.Listen = "unix", path
	}
	f.w.Forwards = append(f.w.Forwards, out)
	reply(w, http.StatusOK, out)
}

// cmdMode checks the permissions of a file: `mode PATH 0600`.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode PATH MODE")
	}
	fi, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	want, err := strconv.ParseUint(args[1], 8, 32)
	ts.Check(err)
	if got := fi.Mode().Perm(); got != fs.FileMode(want) {
		ts.Fatalf("%s has mode %04o, want %04o", args[0], got, want)
	}
}

// cmdHead prints the first lines of a file: `head PATH 1`.
func cmdHead(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: head PATH LINES")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	lines := strings.SplitAfter(ts.ReadFile(args[0]), "\n")
	_, err = ts.Stdout().Write([]byte(strings.Join(lines[:min(n, len(lines))], "")))
	ts.Check(err)
}

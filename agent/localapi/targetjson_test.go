package localapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weft/agent/localapi"
)

func genTargets() *rapid.Generator[[]localapi.Target] {
	word := rapid.OneOf(rapid.StringMatching(`[a-z0-9.-]{0,12}`), rapid.String())
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) localapi.Target {
		row := localapi.Target{
			ID: word.Draw(t, "id"), Hostname: word.Draw(t, "hostname"), Protocol: word.Draw(t, "protocol"),
			Port:       rapid.Uint16().Draw(t, "port"),
			Attributes: rapid.MapOfN(word, word, 0, 10).Draw(t, "attributes"),
			Usernames:  rapid.SliceOfN(word, 0, 3).Draw(t, "usernames"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "addresses") {
			row.Addresses = append(row.Addresses, localapi.Address{
				IP: word.Draw(t, "ip"), VNETID: word.Draw(t, "vnet"), VNETName: word.Draw(t, "vnet name"),
			})
		}
		if rapid.Bool().Draw(t, "nil lists") {
			row.Attributes, row.Usernames = nil, nil
		}
		return row
	}), 0, 4)
}

// A list is read as encoding/json reads it, in the form that it is written in.
func TestDecodeTargetList_AsEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := localapi.TargetList{
			SchemaVersion: localapi.SchemaVersion, Revision: rapid.Uint64().Draw(t, "revision"),
			AgeSeconds: rapid.Float64Range(0, 1e12).Draw(t, "age"), Stale: rapid.Bool().Draw(t, "stale"),
			Targets: genTargets().Draw(t, "targets"),
		}
		data, err := json.Marshal(&l)
		if err != nil {
			t.Fatal(err)
		}
		sameDecoding(t, data)
	})
}

func sameDecoding(t interface {
	Fatalf(format string, args ...any)
}, data []byte,
) {
	var ours, theirs localapi.TargetList
	err, jerr := localapi.DecodeTargetList(string(data), &ours), json.Unmarshal(data, &theirs)
	if (err == nil) != (jerr == nil) {
		t.Fatalf("decode %q: %v; encoding/json says %v", data, err, jerr)
	}
	sameRange(t, string(data))
	if diff := cmp.Diff(theirs, ours); err == nil && diff != "" {
		t.Fatalf("decode %q (-encoding/json +ours):\n%s", data, diff)
	}
}

// sameRange holds RangeTargetList to DecodeTargetList.
func sameRange(t interface {
	Fatalf(format string, args ...any)
}, data string,
) {
	var whole, ranged localapi.TargetList
	rows := []localapi.Target{}
	if !localapi.RangeTargetList(data, &ranged, func(row *localapi.Target) {
		c := *row
		c.Attributes, c.Addresses, c.Usernames = maps.Clone(row.Attributes), slices.Clone(row.Addresses), slices.Clone(row.Usernames)
		rows = append(rows, c)
	}) {
		return
	}
	ranged.Targets = rows
	err := localapi.DecodeTargetList(data, &whole)
	if diff := cmp.Diff(whole, ranged); err != nil || diff != "" {
		t.Fatalf("%q row by row: %v (-whole +rows):\n%s", data, err, diff)
	}
}

func FuzzDecodeTargetList(f *testing.F) {
	f.Add([]byte(`{"schema_version":1,"revision":7,"age_seconds":0.5,"stale":true,"targets":[{"id":"a","hostname":"h","protocol":"SSH","port":22,` +
		`"attributes":{"hostname":"h","env":"ü"},"addresses":[{"ip":"10.0.0.1","vnet_id":"v","vnet_name":"n"}],"usernames":["root","x"]}]}`))
	f.Add([]byte(`{"schema_version":1,"revision":007,"age_seconds":01,"stale":true,"targets":[]}`))
	f.Add([]byte(`{"schema_version":1,"revision":1,"age_seconds":-1e5,"stale":false,"targets":[],"new":1}`))
	f.Add([]byte(`{"targets":null}`))
	f.Add([]byte("{\"schema_version\":1,\"revision\":1,\"age_seconds\":1,\"stale\":false,\"targets\":[{\"id\":\"\xff\"}]}"))
	f.Fuzz(func(t *testing.T, data []byte) { sameDecoding(t, data) })
}

func manyTargets(n int) *localapi.TargetList {
	l := &localapi.TargetList{SchemaVersion: 1, Targets: make([]localapi.Target, n)}
	for i := range l.Targets {
		name := fmt.Sprintf("web-%d", i)
		l.Targets[i] = localapi.Target{
			ID: "0193f22a-9df3-78e3-b5bb-7ab631903306", Hostname: name, Protocol: "SSH", Port: 22,
			Attributes: map[string]string{"hostname": name, "env": "prod"},
			Addresses:  []localapi.Address{{IP: "10.116.0.3", VNETID: "c77b744e-acc8-428f-9257-6878c046ed55", VNETName: "a1net"}},
			Usernames:  []string{"alice", "bob"},
		}
	}
	return l
}

func BenchmarkTargetList10000(b *testing.B) {
	l := manyTargets(10_000)
	data, err := json.Marshal(l)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if err := localapi.DecodeTargetList(string(data), new(localapi.TargetList)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read by encoding/json", func(b *testing.B) {
		for b.Loop() {
			if err := json.Unmarshal(data, new(localapi.TargetList)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

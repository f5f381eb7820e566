package render_test

import (
	"os"
	"strings"
	"testing"
	"weft/cli/render"
)

func TestX(t *testing.T) {
	render.Table(os.Stdout, []string{"Target ID", "Protocol", "Port", "Attributes", "IP (Virtual Network)", "Usernames"}, [][]string{
		{"0193f22a-9df3-78e3-b5bb-7ab631903306", "SSH", "22", "hostname: do-target", "10.116.0.3 (a1net)", "alice"},
		{"01943cff-6130-7989-8bff-cbc02b59a2b1", "SSH", "80", "hostname: az-target", "172.16.0.0 (b1net)", "alice, bob"},
		{"x", "SSH", "80", "hostname: ж世界", "172.16.0.0 (b1net), " + strings.Repeat("x", 90), ""},
	})
}
func BenchmarkT(b *testing.B) {
	var rows [][]string
	for range 10000 {
		rows = append(rows, []string{"0193f22a-9df3-78e3-b5bb-7ab631903306", "SSH", "22", "hostname: do-target", "10.116.0.3 (a1net)", "alice"})
	}
	f, _ := os.Create(os.DevNull)
	for b.Loop() {
		render.Table(f, []string{"Target ID", "Protocol", "Port", "Attributes", "IP (Virtual Network)", "Usernames"}, rows)
	}
}

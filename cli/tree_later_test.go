package cli_test

import (
	"slices"
	"testing"

	"weft/cli"
)

// The command is found behind every flag that may stand before it; a flag added later need not be told to anything.
func TestFirstWord(t *testing.T) {
	for _, tt := range []struct {
		name  string
		args  []string
		word  string
		plain bool
	}{
		{"alone", []string{"status"}, "status", true},
		{"nothing", nil, "", false},
		{"values as words of their own", []string{"--socket", "/s", "--profile", "acme", "--for-user", "jdoe", "target", "list"}, "target", true},
		{"values in the same word", []string{"--socket=/s", "--profile=acme", "target"}, "target", true},
		{"flags without a value", []string{"-j", "-v", "--json", "--no-ansi", "-jv", "flow"}, "flow", true},
		{"a value that is a command's name", []string{"--profile", "status", "wait"}, "wait", true},
		{"a flag that is not known", []string{"--bogus", "wait"}, "wait", true},
		{"a value is missing", []string{"--profile"}, "", false},
		{"help is asked for", []string{"target", "--help"}, "", false},
		{"help is asked of", []string{"help", "target"}, "", false},
		{"the end of flags", []string{"--", "target"}, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if word, plain := cli.FirstWord(tt.args...); word != tt.word || plain != tt.plain {
				t.Errorf("got %q, %t; want %q, %t", word, plain, tt.word, tt.plain)
			}
		})
	}
	for flag, takesValue := range cli.GlobalFlags() {
		want := "value"
		if takesValue {
			want = "status"
		}
		if word, _ := cli.FirstWord("--"+flag, "value", "status"); word != want {
			t.Errorf("behind --%s the command is %q, want %q", flag, word, want)
		}
	}
}

// No old name stands for a command that there is, and the help has a place for every noun.
func TestTree_Names(t *testing.T) {
	shown := cli.TopLevel()
	if len(shown) < 25 {
		t.Fatalf("only %d commands", len(shown))
	}
	for _, old := range cli.OldNames() {
		if _, is := shown[old]; is {
			t.Errorf("%s is a command, and an old name too", old)
		}
	}
	aboutItself := []string{"generate-completions", "help", "version"}
	for name, group := range shown {
		if (group == "") != slices.Contains(aboutItself, name) {
			t.Errorf("%s is in group %q of the help", name, group)
		}
	}
}

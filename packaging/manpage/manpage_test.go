package manpage_test

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/packaging/manpage"
)

// program is a program of two commands, whose help has what roff would stumble over.
const program = `#!/bin/sh
case "$*" in
--help) printf 'tool is for trying. It does no more.\n\n.TH evil\n\nUsage:\n  tool [command]\n\nAvailable Commands:\n  go          Go there\n  help        Help\n\nFlags:\n  -h, --help   help\n\nUse "tool [command] --help" for more.\n' ;;
"go --help") printf "Go there, by \\\\fBa\\\\fR way.\n\nUsage:\n  tool go PLACE\n\nExamples:\n  tool go home\n\nFlags:\n      --fast   hurry\n\nGlobal Flags:\n  -v   talk\n" ;;
*) exit 1 ;;
esac
`

const want = `.TH TOOL 1 2026-11-22 "Weft 1.2.3" "Weft manual"
.SH NAME
tool \- for trying
.SH SYNOPSIS
.nf
  tool [command]
.fi
.SH DESCRIPTION
.nf
tool is for trying. It does no more.

\&.TH evil
.fi
.SH OPTIONS
.nf
  \-h, \-\-help   help
.fi
.SH COMMANDS
.SS tool go
Go there.
.PP
.nf
  tool go PLACE
.fi
.PP
.nf
Go there, by \efBa\efR way.
.fi
.PP
.nf
  tool go home
.fi
.PP
.nf
      \-\-fast   hurry
.fi
.SH SEE ALSO
other(8)
`

func TestGenerate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the program is a shell script")
	}
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, []byte(program), 0o755); err != nil {
		t.Fatal(err)
	}
	p := manpage.Page{Program: path, Name: "tool", Section: 1, Version: "1.2.3", Date: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), SeeAlso: []string{"other(8)"}}
	got, err := manpage.Generate(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	p.Program = filepath.Join(t.TempDir(), "none")
	if _, err := manpage.Generate(t.Context(), p); err == nil {
		t.Error("no error for a program that is not there")
	}
}

package transfer

import (
	"path"
	"strconv"
	"strings"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// scp follows the sender of the old scp protocol (OpenSSH's scp.c has no other specification): lines that begin with C
// (a file: mode, size, name), D (a directory is entered), E (it is left) or T (times), and after a C line the content and
// a zero byte. Paths are as they were sent, below the path of the command. What the receiver answers is not looked at, so an operation says what was sent, not what was kept.
type scp struct {
	tell   func(Operation)
	upload bool
	dirs   []string
	line   []byte
	left   int64 // content and the zero byte
	file   Operation
	dead   bool
}

// Limits of the scp protocol.
const (
	maxSCPLine  = maxPath + 64
	maxSCPDepth = 256
)

// newSCP reads which side sends off the arguments; nil when it is neither.
func newSCP(args []string, tell func(Operation)) Parser {
	p := &scp{tell: tell}
	direction := false
	for _, a := range args {
		if !strings.HasPrefix(a, "-") || a == "--" {
			break
		}
		p.upload = p.upload || strings.Contains(a, "t")
		direction = direction || strings.ContainsAny(a, "tf")
	}
	if !direction {
		return nil
	}
	return p
}

func (p *scp) FromClient(b []byte) {
	if p.upload {
		p.feed(b)
	}
}

func (p *scp) FromTarget(b []byte) {
	if !p.upload {
		p.feed(b)
	}
}

// Close tells of a file that did not come whole.
func (p *scp) Close() {
	if p.left > 0 && !p.dead {
		p.file.Bytes -= max(p.left-1, 0)
		p.file.Result = "incomplete"
		p.tell(p.file)
	}
	p.dead = true
}

func (p *scp) feed(b []byte) {
	for len(b) > 0 && !p.dead {
		if p.left > 0 {
			n := min(p.left, int64(len(b)))
			p.left -= n
			b = b[n:]
			if p.left == 0 {
				p.file.Result = "ok"
				p.tell(p.file)
			}
			continue
		}
		c := b[0]
		b = b[1:]
		if c == '\n' {
			p.control(string(p.line))
			p.line = p.line[:0]
			continue
		}
		if len(p.line) == 0 && c == 0 { // an acknowledgement
			continue
		}
		if len(p.line) >= maxSCPLine {
			p.give("a control line is too long")
			return
		}
		p.line = append(p.line, c)
	}
}

func (p *scp) give(problem string) {
	p.dead, p.line = true, nil
	p.tell(Operation{Protocol: "scp", Name: "unparsed", Bytes: -1, Problem: problem})
}

func (p *scp) control(line string) {
	if line == "" {
		p.give("an empty control line")
		return
	}
	switch line[0] {
	case 'C', 'D':
		p.entry(line)
	case 'E':
		if len(p.dirs) > 0 {
			p.dirs = p.dirs[:len(p.dirs)-1]
		}
	case 'T':
	case 1, 2: // the sender's error message
		p.tell(Operation{
			Protocol: "scp", Name: p.name(), Bytes: -1, Path: path.Join(p.dirs...),
			Result: strings.ToValidUTF8(line[1:], "\uFFFD"),
		})
	default:
		p.give("an unknown control line")
	}
}

func (p *scp) name() string {
	if p.upload {
		return "write"
	}
	return "read"
}

func (p *scp) entry(line string) {
	parts := strings.SplitN(line[1:], " ", 3)
	if len(parts) != 3 {
		p.give("a malformed control line")
		return
	}
	name := strings.ToValidUTF8(parts[2], "\uFFFD")
	if line[0] == 'D' {
		if len(p.dirs) >= maxSCPDepth {
			p.give("directories too deep")
			return
		}
		p.dirs = append(p.dirs, name)
		p.tell(Operation{Protocol: "scp", Name: "directory", Path: path.Join(p.dirs...), Flags: "mode=" + parts[0], Bytes: -1, Result: "ok"})
		return
	}
	size, err := strconv.ParseInt(parts[1], 10, 62)
	if err != nil || size < 0 {
		p.give("a malformed size")
		return
	}
	p.file = Operation{
		Protocol: "scp", Name: p.name(), Path: path.Join(path.Join(p.dirs...), name), Flags: "mode=" + parts[0], Bytes: size,
	}
	p.left = size + 1
}

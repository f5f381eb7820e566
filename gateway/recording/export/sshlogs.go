package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"weft/gateway/recording"
	"weft/gateway/recording/replay"
)

// sshLog has the fields of the public ssh_logs data set
// (https://developers.cloudflare.com/logs/reference/log-fields/account/ssh_logs). Times are RFC 3339; one that is not
// known is empty.
type sshLog struct {
	AccountID             string
	ClientAddress         string
	Datetime              string
	Error                 string
	PTY                   string
	Payload               string
	ProgramFinishDatetime string
	ProgramID             string
	ProgramStartDatetime  string
	ProgramType           string
	ServerAddress         string
	SessionFinishDatetime string
	SessionID             string
	SessionStartDatetime  string
	TargetID              string
	UserEmail             string
	UserID                string
	Username              string
}

// program is one channel that ran something.
type program struct {
	log  sshLog
	cast *caster
}

// SSHLogs writes one JSON line for each program of a session, with the fields of ssh_logs.
// A program's payload is held in memory until the recording was read.
func SSHLogs(w io.Writer, r *recording.Reader) error {
	h := r.Header()
	var order []*program
	programs := make(map[int]*program)
	casts := make(map[int]*caster)
	pty := make(map[int]string)
	err := replay.Read(r, replay.Handler{
		Record: func(rec *recording.Record) error {
			c := casts[rec.Channel]
			if c == nil {
				c = &caster{w: new(bytes.Buffer), channel: rec.Channel, h: h}
				casts[rec.Channel] = c
			}
			return c.record(rec)
		},
		Event: func(e recording.Event) error {
			p := programs[e.Channel]
			switch {
			case e.Type == recording.EventPTY:
				b, err := json.Marshal(map[string]any{"term": e.Term, "width": e.Columns, "height": e.Rows, "modes": e.Modes})
				pty[e.Channel] = string(b)
				return err
			case p == nil && programType(&e) != "":
				p = newProgram(h, &e, pty[e.Channel], casts[e.Channel])
				programs[e.Channel] = p
				order = append(order, p)
			case p != nil && (e.Type == recording.EventChannelClose || e.Type == recording.EventForwardEnd && e.Direction != "listen"):
				p.log.ProgramFinishDatetime = stamp(e.Time)
			case p != nil && e.Type == recording.EventExit && e.Signal != "":
				p.log.Error = "ended by signal " + e.Signal
			}
			return nil
		},
	})
	for _, p := range order {
		if end := r.End(); end != nil {
			p.log.SessionFinishDatetime = stamp(end.Ended)
			if p.log.Error == "" {
				p.log.Error = end.Error
			}
		}
		p.log.Datetime = stamp(r.Last())
		if werr := p.write(w); werr != nil {
			return werr
		}
	}
	return err
}

var programTypes = map[string]string{
	recording.EventShell: "shell", recording.EventExec: "exec", recording.EventSubsystem: "exec",
}

// forwardTypes are the program types of forwarded connections, by their direction.
var forwardTypes = map[string]string{"": "direct-tcpip", "local": "direct-tcpip", "remote": "forwarded-tcpip", "x11": "x11"}

// programType is what the published format calls what begins with e, "" when nothing does.
func programType(e *recording.Event) string {
	if e.Type == recording.EventForward {
		return forwardTypes[e.Direction]
	}
	return programTypes[e.Type]
}

func newProgram(h *recording.Header, e *recording.Event, pty string, cast *caster) *program {
	p := &program{cast: cast, log: sshLog{
		AccountID: h.AccountID, ClientAddress: h.ClientAddress.String(), PTY: pty,
		ProgramID: fmt.Sprintf("%s-%d", h.SessionID, e.Channel), ProgramStartDatetime: stamp(e.Time), ProgramType: programType(e),
		ServerAddress: h.ServerAddress.String(), SessionID: h.SessionID, SessionStartDatetime: stamp(h.Started), TargetID: h.TargetID,
		UserEmail: h.Email, UserID: h.UserID, Username: h.Login,
	}}
	if e.Type == recording.EventSubsystem {
		p.cast.head.Command = e.Name
	}
	return p
}

func (p *program) write(w io.Writer) error {
	if err := p.cast.finish(); err != nil {
		return err
	}
	p.log.Payload = fmt.Sprint(p.cast.w) // a buffer, which is its text
	b, err := json.Marshal(p.log)
	if err != nil {
		return fmt.Errorf("encode ssh log: %w", err)
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

package export

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"weft/gateway/recording"
	"weft/gateway/recording/replay"
)

// The encrypted session file that the public program ssh-log-cli (github.com/cloudflare/ssh-log-cli) opens and replays:
//
//	file   = length(4) base64(metadata in JSON) block*
//	block  = length(4) HPKE ciphertext                    one sender context for the file, no additional data
//	packet = length(4) source(1) code(4) elapsed(8) data  source 0 is the client, 1 the target; elapsed in microseconds
//
// The blocks' plain texts, one after the other, are the packets; here each block is one packet. HPKE is in base mode with
// DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and ChaCha20-Poly1305 and no info (RFC 9180).
type logMetadata struct {
	StartedAt       int64    `json:"started_at"`
	DataSize        int64    `json:"data_size"`
	EncapsulatedKey string   `json:"encapsulated_key"`
	PTY             *logPTY  `json:"pty"`
	ExitData        *logExit `json:"exit_data"`
}

type logPTY struct {
	Term   string  `json:"term"`
	Width  int     `json:"width"`
	Height int     `json:"height"`
	Modes  [][]any `json:"modes"`
}

type logExit struct {
	Timestamp  int64   `json:"timestamp"`
	Status     *uint32 `json:"status"`
	Signal     *string `json:"signal"`
	CoreDumped bool    `json:"core_dumped"`
	ErrorMsg   *string `json:"error_msg"`
}

const (
	logFromClient byte = 0
	logFromTarget byte = 1
	stderrCode         = 1 // SSH_EXTENDED_DATA_STDERR (RFC 4254 section 5.2)
)

// ParseLogKey reads the public key of ssh-log-cli: 32 bytes in base64.
func ParseLogKey(text string) (hpke.PublicKey, error) {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	k, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("read public key: %w", err)
	}
	return hpke.NewDHKEMPublicKey(k)
}

// SSHLogCLI writes one channel as an encrypted session file for ssh-log-cli. The blocks are held in memory, because the
// metadata before them says how large they are.
func SSHLogCLI(w io.Writer, r *recording.Reader, channel int, key hpke.PublicKey) error {
	encapsulated, sender, err := hpke.NewSender(key, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), nil)
	if err != nil {
		return fmt.Errorf("encrypt session log: %w", err)
	}
	h := r.Header()
	l := &logFile{sender: sender, start: h.Started, channel: channel}
	l.meta.StartedAt, l.meta.EncapsulatedKey = h.Started.Unix(), hex.EncodeToString(encapsulated)
	readErr := replay.Read(r, replay.Handler{Record: l.record, Event: l.event})
	l.meta.DataSize = l.size
	b, err := json.Marshal(l.meta)
	if err != nil {
		return fmt.Errorf("encode metadata: %w", err)
	}
	meta := base64.StdEncoding.EncodeToString(b)
	if _, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(meta))), meta...)); err != nil {
		return err
	}
	if _, err := l.blocks.WriteTo(w); err != nil {
		return err
	}
	return readErr
}

type logFile struct {
	sender  *hpke.Sender
	start   time.Time
	channel int
	meta    logMetadata
	size    int64
	blocks  bytes.Buffer
}

func (l *logFile) record(r *recording.Record) error {
	if r.Channel != l.channel {
		return nil
	}
	switch r.Kind {
	case recording.RecordOutput:
		return l.packet(r, logFromTarget, 0)
	case recording.RecordStderr:
		return l.packet(r, logFromTarget, stderrCode)
	case recording.RecordInput:
		return l.packet(r, logFromClient, 0)
	case recording.RecordResize, recording.RecordKeyFrame, recording.RecordEvent:
	}
	return nil
}

func (l *logFile) packet(r *recording.Record, source byte, code uint32) error {
	const head = 1 + 4 + 8
	b := binary.BigEndian.AppendUint32(nil, uint32(head+len(r.Data)))
	b = append(b, source)
	b = binary.BigEndian.AppendUint32(b, code)
	b = binary.BigEndian.AppendUint64(b, uint64(max(r.Time.Sub(l.start).Microseconds(), 0)))
	b = append(b, r.Data...)
	l.size += int64(len(r.Data))
	sealed, err := l.sender.Seal(nil, b)
	if err != nil {
		return fmt.Errorf("encrypt session log: %w", err)
	}
	l.blocks.Write(binary.BigEndian.AppendUint32(nil, uint32(len(sealed))))
	l.blocks.Write(sealed)
	return nil
}

func (l *logFile) event(e recording.Event) error {
	if e.Channel != l.channel {
		return nil
	}
	switch e.Type {
	case recording.EventPTY:
		modes, err := hex.DecodeString(e.Modes)
		if err != nil {
			return fmt.Errorf("read terminal modes: %w", err)
		}
		l.meta.PTY = &logPTY{Term: e.Term, Width: e.Columns, Height: e.Rows, Modes: terminalModes(modes)}
	case recording.EventExit:
		x := &logExit{Timestamp: e.Time.Unix(), Status: e.Status}
		if e.Signal != "" {
			text := "ended by signal " + e.Signal
			x.Signal, x.ErrorMsg = &e.Signal, &text
		}
		l.meta.ExitData = x
	}
	return nil
}

// modeNames are the terminal modes by their opcode (RFC 4254 section 8).
var modeNames = map[byte]string{
	1: "VINTR", 2: "VQUIT", 3: "VERASE", 4: "VKILL", 5: "VEOF", 6: "VEOL", 7: "VEOL2", 8: "VSTART", 9: "VSTOP", 10: "VSUSP",
	11: "VDSUSP", 12: "VREPRINT", 13: "VWERASE", 14: "VLNEXT", 15: "VFLUSH", 16: "VSWTCH", 17: "VSTATUS", 18: "VDISCARD",
	30: "IGNPAR", 31: "PARMRK", 32: "INPCK", 33: "ISTRIP", 34: "INLCR", 35: "IGNCR", 36: "ICRNL", 37: "IUCLC", 38: "IXON",
	39: "IXANY", 40: "IXOFF", 41: "IMAXBEL", 42: "IUTF8", 50: "ISIG", 51: "ICANON", 52: "XCASE", 53: "ECHO", 54: "ECHOE",
	55: "ECHOK", 56: "ECHONL", 57: "NOFLSH", 58: "TOSTOP", 59: "IEXTEN", 60: "ECHOCTL", 61: "ECHOKE", 62: "PENDIN", 70: "OPOST",
	71: "OLCUC", 72: "ONLCR", 73: "OCRNL", 74: "ONOCR", 75: "ONLRET", 90: "CS7", 91: "CS8", 92: "PARENB", 93: "PARODD",
	128: "TTY_OP_ISPEED", 129: "TTY_OP_OSPEED",
}

// terminalModes reads the encoded modes as pairs of name and value, as the metadata has them.
func terminalModes(b []byte) [][]any {
	out := [][]any{}
	for len(b) >= 5 && b[0] != 0 && b[0] < 160 {
		if name := modeNames[b[0]]; name != "" {
			out = append(out, []any{name, binary.BigEndian.Uint32(b[1:])})
		}
		b = b[5:]
	}
	return out
}

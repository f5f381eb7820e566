package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"weft/gateway/recording"
	"weft/gateway/recording/export"
	"weft/gateway/recording/replay"
	"weft/internal/kind"
)

func newRecordingPlay() *cobra.Command {
	var (
		store   storeFlags
		at      string
		channel int
		p       player
	)
	cmd := &cobra.Command{
		Use:   "play {FILE|SESSION}",
		Short: "Play a recording in the terminal",
		Long: `Play a recording in the terminal. The session is shown as a terminal would have shown it; its
own control sequences never reach yours.

Keys: space pauses; left and right go 5 seconds back and on, [ and ] a minute; + and - change
the speed; . shows the next change; 0 starts again; q ends.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in, out := cmd.InOrStdin(), cmd.OutOrStdout()
			stdin, isFile := in.(*os.File)
			stdout, outFile := out.(*os.File)
			if !isFile || !outFile || !term.IsTerminal(int(stdin.Fd())) || !term.IsTerminal(int(stdout.Fd())) {
				return kind.New(kind.Invalid, "play needs a terminal").WithHint("use \"weft recording export --text\"")
			}
			var from time.Duration
			if at != "" {
				if from, err = parseOffset("--at", at); err != nil {
					return err
				}
			}
			if p.speed <= 0 || p.speed > 1000 {
				return usageError{errors.New("--speed is from above 0 to 1000")}
			}
			if channel == 0 {
				if channel, err = store.mainChannel(cmd.Context(), args[0]); err != nil {
					return err
				}
			}
			file, _, err := store.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, file.Close()) }()
			info, err := recording.Stat(file)
			if err != nil {
				return explainRecording(err)
			}
			p.channel, p.info, p.out = channel, info, stdout
			p.open = func() (*recording.Reader, error) { return store.read(file) }
			p.size = func() (int, int, error) { return term.GetSize(int(stdout.Fd())) }
			if err := p.seek(from); err != nil {
				return explainRecording(err)
			}
			state, err := term.MakeRaw(int(stdin.Fd()))
			if err != nil {
				return fmt.Errorf("set terminal: %w", err)
			}
			defer func() { err = errors.Join(err, term.Restore(int(stdin.Fd()), state)) }()
			return explainRecording(p.run(cmd.Context().Done(), keysOf(stdin)))
		},
	}
	store.add(cmd, true)
	cmd.Flags().Float64Var(&p.speed, "speed", 1, "how much faster than it was")
	cmd.Flags().DurationVar(&p.idle, "idle", 2*time.Second, "skip what is left of pauses longer than this; 0: never")
	cmd.Flags().StringVar(&at, "at", "", "where to begin: time since the start, such as 90s or 0:01:30")
	cmd.Flags().IntVar(&channel, "channel", 0, "channel to play; default: the first one with a terminal, or else with output")
	return cmd
}

// keysOf reads keys until the program ends: a read of a terminal cannot be interrupted.
func keysOf(in io.Reader) <-chan string {
	keys := make(chan string)
	go func() {
		defer close(keys)
		b := make([]byte, 16)
		for {
			n, err := in.Read(b)
			if err != nil {
				return
			}
			for _, k := range splitKeys(string(b[:n])) {
				keys <- k
			}
		}
	}()
	return keys
}

// splitKeys cuts what a terminal sent into keys: an escape sequence of three bytes is one, any other byte is one.
func splitKeys(s string) []string {
	var out []string
	for len(s) > 0 {
		n := 1
		if len(s) >= 3 && s[0] == 0x1b && (s[1] == '[' || s[1] == 'O') {
			n = 3
		}
		out = append(out, s[:n])
		s = s[n:]
	}
	return out
}

// player plays one channel.
type player struct {
	open    func() (*recording.Reader, error)
	size    func() (columns, rows int, err error)
	out     io.Writer
	info    *recording.Info
	channel int
	speed   float64
	idle    time.Duration

	rd     *recording.Reader
	screen *replay.Screen
	next   *recording.Record // nil: the end
	pos    time.Duration
	paused bool
	whole  bool // everything is to be drawn anew
}

// seek goes to a time since the start.
func (p *player) seek(to time.Duration) error {
	to = max(to, 0)
	target := p.info.Header.Started.Add(to)
	if p.rd == nil || to < p.pos {
		if p.rd != nil {
			p.rd.Close()
		}
		var err error
		if p.rd, err = p.open(); err != nil {
			return err
		}
		jumped, err := p.rd.SeekTo(p.info.Index, p.channel, target)
		if err != nil {
			return err
		}
		p.screen, p.whole = replay.NewScreen(p.channel, jumped, nil), true
		if err := p.advance(); err != nil {
			return err
		}
	}
	for p.next != nil && !p.next.Time.After(target) {
		p.screen.Apply(p.next)
		if err := p.advance(); err != nil {
			return err
		}
	}
	p.pos = to
	return nil
}

// advance reads the next record of the channel.
func (p *player) advance() error {
	var rec recording.Record
	for {
		err := p.rd.Next(&rec)
		if errors.Is(err, io.EOF) || errors.Is(err, recording.ErrUnfinished) {
			p.next = nil
			return nil
		}
		if err != nil {
			return err
		}
		if rec.Channel == p.channel {
			p.next = &rec
			return nil
		}
	}
}

// until is how long after the start the next change is.
func (p *player) until() time.Duration {
	if p.next == nil {
		return p.pos
	}
	return max(p.next.Time.Sub(p.info.Header.Started), p.pos)
}

// run plays until the end of the recording and a key, q, or stop.
func (p *player) run(stop <-chan struct{}, keys <-chan string) error {
	defer func() {
		p.rd.Close()
		_, _ = io.WriteString(p.out, "\x1b[0m\x1b[?25h\x1b[?1049l") // the terminal as it was
	}()
	if _, err := io.WriteString(p.out, "\x1b[?1049h\x1b[2J"); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := time.Now()
	for {
		if err := p.draw(); err != nil {
			return err
		}
		p.arm(timer)
		select {
		case <-stop:
			return nil
		case k, ok := <-keys:
			if !ok {
				return nil
			}
			done, err := p.key(k)
			if done || err != nil {
				return err
			}
		case <-timer.C:
			step := time.Duration(float64(time.Since(last)) * p.speed)
			if until := p.until(); p.idle > 0 && until-p.pos > p.idle {
				step = max(step, until-p.pos-p.idle)
			}
			if err := p.seek(p.pos + step); err != nil {
				return err
			}
		}
		last = time.Now()
	}
}

// arm sets the timer for the next change, or the next turn of the clock that is shown.
func (p *player) arm(t *time.Timer) {
	t.Stop()
	if p.paused || p.next == nil {
		return
	}
	wait := time.Duration(float64(p.until()-p.pos) / p.speed)
	t.Reset(min(max(wait, replay.FrameTime/2), 200*time.Millisecond))
}

// key acts on a key and reports whether it ends the player.
func (p *player) key(k string) (bool, error) {
	switch k {
	case "q", "Q", "\x03", "\x1b":
		return true, nil
	case " ":
		p.paused = !p.paused
	case "\x1b[D", "\x1bOD":
		return false, p.seek(p.pos - 5*time.Second)
	case "\x1b[C", "\x1bOC":
		return false, p.seek(p.pos + 5*time.Second)
	case "[":
		return false, p.seek(p.pos - time.Minute)
	case "]":
		return false, p.seek(p.pos + time.Minute)
	case "+", "=":
		p.speed = min(p.speed*2, 64)
	case "-":
		p.speed = max(p.speed/2, 1.0/16)
	case ".":
		return false, p.seek(p.until())
	case "0":
		return false, p.seek(0)
	}
	return false, nil
}

// draw shows the rows that changed, and a line about where it is.
func (p *player) draw() error {
	columns, rows, err := p.size()
	if err != nil {
		return fmt.Errorf("size of terminal: %w", err)
	}
	var b []byte
	dirty := p.screen.Term.TakeDirty()
	if p.whole {
		p.whole = false
		b = append(b, "\x1b[0m\x1b[2J"...)
		_, n := p.screen.Term.Size()
		dirty = make([]int, n)
		for i := range dirty {
			dirty[i] = i
		}
	}
	b = append(b, "\x1b[?25l"...)
	for _, y := range dirty {
		if y < rows-1 {
			b = p.row(b, y)
		}
	}
	state := "playing"
	switch {
	case p.next == nil:
		state = "end"
	case p.paused:
		state = "paused"
	}
	status := fmt.Sprintf(" %s  %s  %gx  %s@%s  space pause  <- -> 5 s  + - speed  q quit ", export.Offset(p.pos), state, p.speed,
		replay.Clean(p.info.Header.Login), replay.Clean(p.info.Header.Hostname))
	if r := []rune(status); len(r) > columns {
		status = string(r[:columns])
	}
	b = fmt.Appendf(b, "\x1b[%d;1H\x1b[0;7m%s\x1b[0m\x1b[K", rows, status)
	if x, y, visible := p.screen.Term.Cursor(); visible && y < rows-1 && x < columns {
		b = fmt.Appendf(b, "\x1b[%d;%dH\x1b[?25h", y+1, x+1)
	}
	_, err = p.out.Write(b)
	return err
}

func (p *player) row(b []byte, y int) []byte {
	// The terminal cuts what is too long, with wrapping off.
	b = fmt.Appendf(b, "\x1b[%d;1H\x1b[0m\x1b[2K\x1b[?7l", y+1)
	for _, r := range p.screen.Term.Runs(y) {
		b = append(b, r.Style.SGR()...)
		b = append(b, r.Text...)
	}
	return append(b, "\x1b[0m\x1b[?7h"...)
}

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"weft/cli/render"
)

// maxEnrolment bounds what is read as an enrolment string.
const maxEnrolment = 8 << 10

func newRegistration(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "registration",
		Short: "Register this device, or show or delete its registration",
	}
	group(cmd)
	cmd.AddCommand(newRegistrationNew(a), newRegistrationShow(a), newRegistrationDelete(a),
		newRegistrationToken(a), newRegistrationOrganization(a), newRegistrationDevices(a),
		instead(a, "license", "there are no licences; to register: warp-cli registration new"))
	return cmd
}

func newRegistrationNew(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "new [ENROLMENT | -]",
		Short: "Register this device with an enrolment string",
		Long: `Registers this device with the enrolment string that your administrator gave you.

Other users of this machine can see arguments. "-" reads the string from stdin,
--file from a file; without either it is taken from the environment variable
WEFT_ENROLMENT. An administrator can name a file in the managed settings: see
warp-cli mdm set-config --help.`,
		Example: `  warp-cli registration new --file enrolment.txt
  pass show weft | warp-cli registration new -`,
		Args: args(0, 1, "[ENROLMENT | -] [--file FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			enrolment, err := a.readEnrolment(args, file)
			if err != nil {
				return err
			}
			return a.registrationNew(cmd.Context(), enrolment)
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "read the enrolment string from this `file`")
	return cmd
}

// readEnrolment takes the enrolment string from the argument, stdin, a file or the environment.
func (a *app) readEnrolment(args []string, file string) (string, error) {
	var text string
	var err error
	switch {
	case len(args) > 0 && file != "":
		return "", usageError("give the enrolment string as an argument or by --file, not both")
	case file != "":
		text, err = readEnrolmentFile(file)
	case len(args) == 0:
		if text = a.cfg.Getenv("WEFT_ENROLMENT"); text == "" {
			return "", usageErrorHint("warp-cli registration new ENROLMENT; or set WEFT_ENROLMENT", "no enrolment string given")
		}
	case args[0] == "-":
		text, err = readLine(a.cfg.Stdin)
	default:
		text = args[0]
	}
	if err != nil {
		return "", err
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", usageError("the enrolment string is empty")
	}
	return text, nil
}

func readEnrolmentFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", usageError("read enrolment string: %s", err)
	}
	defer f.Close()
	return readLine(f)
}

// readLine reads the first line that is not blank.
func readLine(r io.Reader) (string, error) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxEnrolment)
	for s.Scan() {
		if line := strings.TrimSpace(s.Text()); line != "" {
			return line, nil
		}
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return "", usageError("the enrolment string is longer than %d bytes", maxEnrolment)
	} else if err != nil {
		return "", usageError("read enrolment string: %s", err)
	}
	return "", nil
}

func (a *app) registrationNew(ctx context.Context, enrolment string) error {
	r, err := a.client().Register(ctx, enrolment)
	if err != nil {
		return err
	}
	return a.print(r, func(w io.Writer, st render.Style) error {
		_, err := fmt.Fprintf(w, "%s\nRegistered this device as %s (device %s)\n",
			st.Green("Success"), st.Clean(r.Email), st.Clean(r.DeviceID))
		if err != nil {
			return err
		}
		if r.KeyStore == "file" {
			a.note("this system has no usable keyring; the private key is in a file that only the agent's user may read")
		}
		_, err = fmt.Fprintln(w, "Next: "+strings.Join(append(append([]string{"warp-cli"}, a.sessionWords()...), "connect"), " "))
		return err
	})
}

func newRegistrationShow(a *app) *cobra.Command {
	return leaf(help{
		"show", "Show this device's registration",
		`Shows whose device this is, its control plane, its WireGuard public key, and where the private
one is kept.`,
		`  warp-cli registration show
  warp-cli registration show --json`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		r, err := a.client().Registration(cmd.Context())
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer, _ render.Style) error { return render.Registration(w, r) })
	})
}

func newRegistrationDelete(a *app) *cobra.Command {
	return leaf(help{
		"delete", "Forget this device's registration and its private key",
		`Ends the registration: open connections end, the private key is wiped, and the control plane is
told if it answers. To register again you need another enrolment string.`,
		`  warp-cli registration delete`,
	}, 0, 0, func(cmd *cobra.Command, _ []string) error {
		d, err := a.client().Deregister(cmd.Context())
		if err != nil {
			return err
		}
		return a.print(d, func(w io.Writer, st render.Style) error { return success(w, st, "Deleted this device's registration") })
	})
}

// success writes the line that people look for, and what happened.
func success(w io.Writer, st render.Style, what string) error {
	_, err := fmt.Fprintf(w, "%s\n%s\n", st.Green("Success"), what)
	return err
}

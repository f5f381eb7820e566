package render

import (
	"io"
	"strconv"

	"weft/internal/service"
)

// Service writes what a service is.
func Service(w io.Writer, st Style, s service.Status) error {
	var l lines
	l.add("Service", serviceText(st, s.State))
	l.add("Managed by", managerText(s))
	if s.Installed {
		l.add("Starts by itself", map[bool]string{true: "yes", false: "no"}[s.Enabled])
	}
	if s.PID != 0 {
		l.add("Process", strconv.Itoa(s.PID))
	}
	if s.Installed {
		l.add("Since", moment(s.Since))
		l.add("Program", Clean(s.Program))
		l.add("Defined in", Clean(s.Path))
	}
	l.add("Detail", Clean(s.Detail))
	user := ""
	if s.Scope == service.User {
		user = " --user"
	}
	switch s.State {
	case service.NotInstalled:
		l.add("Next", "warp-cli service install"+user)
	case service.Stopped:
		l.add("Next", "warp-cli service start"+user)
	default:
	}
	_, err := io.WriteString(w, l.b.String())
	return err
}

func serviceText(st Style, s service.State) string {
	switch s {
	case service.Running:
		return st.Green("running")
	case service.Failed:
		return st.Red("failed; it is started again after a while")
	case service.NotInstalled:
		return st.Yellow("not installed")
	default:
		return st.Yellow(string(s))
	}
}

func managerText(s service.Status) string {
	text := map[string]string{
		"systemd": "systemd", "openrc": "OpenRC", "launchd": "launchd", "windows": "the service control manager", "run-key": "the Run key of the registry",
	}[s.Manager]
	if s.Scope == service.User {
		text += ", for this user"
	} else {
		text += ", for the whole system"
	}
	if s.Packaged {
		text += "; installed by a package"
	}
	return text
}

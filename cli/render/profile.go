package render

import (
	"io"
	"strconv"

	"weft/agent/localapi"
)

// stateWord is a state in one or two words.
func stateWord(st Style, s localapi.State) string {
	if s == localapi.Unregistered {
		return st.Red("Not registered")
	}
	return stateText(st, &localapi.Status{State: s})
}

// Profiles draws the list of profiles.
func Profiles(w io.Writer, st Style, l *localapi.ProfileList) error {
	st.Colour = false // colours would count as width
	rows := make([][]string, len(l.Profiles))
	for i := range l.Profiles {
		p := &l.Profiles[i]
		rows[i] = []string{
			Clean(p.Name), mark(p.Current), stateWord(st, p.State), Clean(p.Email), Clean(p.VNET), Clean(p.ProxyAddress),
		}
	}
	return Table(w, []string{"Name", "Current", "State", "Email", "Virtual Network", "Proxy"}, rows)
}

// Profile writes one profile.
func Profile(w io.Writer, st Style, p *localapi.Profile) error {
	var l lines
	l.add("Profile", Clean(p.Name))
	current := "no"
	if p.Current {
		current = "yes"
	}
	l.add("Current", current)
	l.add("State", stateWord(st, p.State))
	l.add("Email", Clean(p.Email))
	l.add("Account ID", Clean(p.AccountID))
	l.add("Control plane", Clean(p.ControlURL))
	l.add("Virtual network", Clean(p.VNET))
	l.add("Proxy", Clean(p.ProxyAddress))
	_, err := io.WriteString(w, l.b.String())
	return err
}

// Sessions draws the running sessions of all users.
func Sessions(w io.Writer, l *localapi.SessionList) error {
	rows := make([][]string, len(l.Sessions))
	for i := range l.Sessions {
		s := &l.Sessions[i]
		rows[i] = []string{
			Clean(s.UserID), Clean(s.User), Clean(s.Profile), stateWord(Style{}, s.State), Clean(s.Email),
			strconv.Itoa(s.FlowsOpen), moment(s.LastUsedAt),
		}
	}
	return Table(w, []string{"User ID", "User", "Profile", "State", "Email", "Connections", "Last Used"}, rows)
}

package localapi

import "time"

// Paths of profiles and sessions.
const (
	PathProfiles      = "/v1/profiles"        // GET ?name= -> ProfileList; POST NewProfile -> ProfileList
	PathProfileUse    = "/v1/profiles/use"    // POST UseProfile -> ProfileList
	PathProfileRemove = "/v1/profiles/remove" // POST RemoveProfile -> ProfileList
	PathProfileRename = "/v1/profiles/rename" // POST RenameProfile -> ProfileList
	PathSessions      = "/v1/sessions"        // GET -> SessionList (administrators)
)

// Headers of a request that say which session it is about. Who calls is never read from a header.
const (
	HeaderProfile = "Weft-Profile"  // the profile's name; absent: the current one
	HeaderForUser = "Weft-For-User" // administrators only: the account, by name, uid or SID
)

// DefaultProfile is the name of the profile that everybody has from the start.
const DefaultProfile = "default"

// MaxProfileName bounds the length of a profile's name.
const MaxProfileName = 32

// CodeUnknownProfile: the user has no profile of that name.
const CodeUnknownProfile = "unknown_profile"

// ValidProfileName reports whether s can name a profile: 1 to 32 lower-case letters, digits, '-', '_' and '.', of
// which the first is a letter or digit. It is safe in a shell, in a header, and in a table.
func ValidProfileName(s string) bool {
	if s == "" || len(s) > MaxProfileName {
		return false
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return true
}

// Profile is one registration of a user, or a place for one. All live at the same time; the current one answers
// when none is named.
type Profile struct {
	Name       string `json:"name"`
	Current    bool   `json:"current"`
	State      State  `json:"state"`       // of its agent
	Email      string `json:"email"`       // empty: not registered
	AccountID  string `json:"account_id"`  // empty: not registered
	ControlURL string `json:"control_url"` // empty: not registered
	VNET       string `json:"vnet"`        // name of the selected one; empty: none
	// ProxyAddress is where the proxy leads to this profile; empty: nowhere.
	ProxyAddress string `json:"proxy_address"`
}

// ProfileList answers every path of profiles with what there is then, sorted by name.
type ProfileList struct {
	SchemaVersion int       `json:"schema_version"`
	Profiles      []Profile `json:"profiles"`
}

// NewProfile asks for another profile.
type NewProfile struct {
	Name string `json:"name"`
}

// UseProfile makes a profile the current one.
type UseProfile struct {
	Name string `json:"name"`
}

// RemoveProfile ends a profile: its registration, key and settings. Force does so although it is connected.
type RemoveProfile struct {
	Name  string `json:"name"`
	Force bool   `json:"force"`
}

// RenameProfile gives a profile another name; its tunnel and flows stay.
type RenameProfile struct {
	Name    string `json:"name"`
	NewName string `json:"new_name"`
}

// Session is one running agent of the service, as an administrator sees it.
type Session struct {
	UserID     string    `json:"user_id"` // uid or SID
	User       string    `json:"user"`    // its name; empty: not known
	Profile    string    `json:"profile"`
	State      State     `json:"state"`
	Email      string    `json:"email"`
	FlowsOpen  int       `json:"flows_open"`
	LastUsedAt time.Time `json:"last_used_at"`
}

// SessionList answers PathSessions, sorted by account and profile.
type SessionList struct {
	SchemaVersion int       `json:"schema_version"`
	Sessions      []Session `json:"sessions"`
	MaxSessions   int       `json:"max_sessions"`
	// Refused counts sessions that were not started because of the limit.
	Refused uint64 `json:"refused"`
}

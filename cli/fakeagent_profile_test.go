package cli_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"weft/agent/localapi"
)

// sessionFields writes which session a request is about, for the log.
func sessionFields(r *http.Request) string {
	var out string
	for _, name := range []string{localapi.HeaderProfile, localapi.HeaderForUser} {
		if v := r.Header.Values(name); len(v) > 0 {
			out += " " + name + "=" + strings.Join(v, ",")
		}
	}
	return out
}

// answerProfiles answers the paths of profiles and sessions. It is called with the lock held.
func (f *fakeAgent) answerProfiles(w http.ResponseWriter, r *http.Request, key string, body []byte) bool {
	var in struct {
		Name    string `json:"name"`
		NewName string `json:"new_name"`
		Force   bool   `json:"force"`
	}
	if len(body) > 0 && strings.HasPrefix(r.URL.Path, localapi.PathProfiles) {
		if err := json.Unmarshal(body, &in); err != nil {
			reply(w, http.StatusBadRequest, localapi.Error{Code: "invalid", Message: "malformed JSON"})
			return true
		}
	}
	at := slices.IndexFunc(f.w.Profiles, func(p localapi.Profile) bool { return p.Name == in.Name })
	switch key {
	case "GET " + localapi.PathProfiles:
		all := f.w.Profiles
		if name := r.URL.Query().Get("name"); name != "" {
			all = slices.DeleteFunc(slices.Clone(all), func(p localapi.Profile) bool { return p.Name != name })
		}
		reply(w, http.StatusOK, localapi.ProfileList{SchemaVersion: localapi.SchemaVersion, Profiles: all})
		return true
	case "GET " + localapi.PathSessions:
		reply(w, http.StatusOK, localapi.SessionList{SchemaVersion: localapi.SchemaVersion, Sessions: f.w.Sessions, MaxSessions: 64})
		return true
	case "POST " + localapi.PathProfiles:
		f.w.Profiles = append(f.w.Profiles, localapi.Profile{Name: in.Name, State: localapi.Unregistered})
	case "POST " + localapi.PathProfileUse, "POST " + localapi.PathProfileRemove, "POST " + localapi.PathProfileRename:
		if at < 0 {
			reply(w, http.StatusNotFound, localapi.Error{Code: localapi.CodeUnknownProfile, Message: "there is no profile " + in.Name})
			return true
		}
		f.changeProfile(r.URL.Path, at, in.NewName)
	default:
		return false
	}
	slices.SortFunc(f.w.Profiles, func(a, b localapi.Profile) int { return strings.Compare(a.Name, b.Name) })
	reply(w, http.StatusOK, localapi.ProfileList{SchemaVersion: localapi.SchemaVersion, Profiles: f.w.Profiles})
	return true
}

func (f *fakeAgent) changeProfile(path string, at int, newName string) {
	switch path {
	case localapi.PathProfileUse:
		for i := range f.w.Profiles {
			f.w.Profiles[i].Current = i == at
		}
	case localapi.PathProfileRename:
		f.w.Profiles[at].Name = newName
	default:
		f.w.Profiles = slices.Delete(f.w.Profiles, at, at+1)
	}
}

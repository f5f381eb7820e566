package cli

// NeverTaken and its like are seams for tests of what ssh-config takes.
var (
	NeverTaken       = neverTaken
	CutNameSuffix    = cutNameSuffix
	AuthorityLines   = authorityLines
	ParseTarget      = parseTarget
	ParseConnectFile = parseConnectFile
	Kubeconfig       = kubeconfig
)

// Expand fills in the arguments of a program.
func Expand(args []string, values map[string]string) ([]string, error) {
	return expandAll(args, values)
}

// Placeholders are the words that braces may hold.
func Placeholders() []string { return placeholders }

// RenderSSHConfig is the generated file for a system.
func RenderSSHConfig(goos, self, socket, suffix string, vnets, authorities []string) (string, error) {
	p := newSSHPaths("/home/x", true)
	f := sshFile{goos: goos, self: self, socket: socket, suffix: suffix, known: p.known, caFile: p.authorities, vnets: vnets, authorities: authorities}
	return f.render()
}

// SSHPaths are the files of a home.
type SSHPaths struct{ p sshPaths }

// NewSSHPaths returns the files of a home that is ssh's "~", or is not.
func NewSSHPaths(home string, own bool) *SSHPaths { return &SSHPaths{newSSHPaths(home, own)} }

// Include is the line.
func (s *SSHPaths) Include() string { return s.p.include }

// Config is the user's configuration.
func (s *SSHPaths) Config() string { return s.p.config }

// Install, Uninstall, Installed and Refresh are what the command does.
func (s *SSHPaths) Install(text, authorities string) (bool, error) {
	return s.p.install(text, authorities)
}

// Uninstall takes everything back.
func (s *SSHPaths) Uninstall() (bool, error) { return s.p.uninstall() }

// Installed reports whether ssh reads the file.
func (s *SSHPaths) Installed() (bool, error) { return s.p.installed() }

// Refresh rewrites what the agent knows better.
func (s *SSHPaths) Refresh(text, authorities string) error { return s.p.refresh(text, authorities) }

// BuiltinProgram is the program for a protocol on a system; nil: there is none.
func BuiltinProgram(goos, protocol string) []string {
	to := &connection{protocol: protocol, target: "t", identity: hostIdentity{alias: "weft-t-22"}}
	to.dial.Name, to.dial.VNET, to.dial.Port = "10.0.0.1", "v", 22
	if t := builtin(goos, protocol, to); t != nil {
		return t.argv
	}
	return nil
}

// IdentityOptions are ssh's options for an alias and a file of authorities.
func IdentityOptions(alias, authorities string) []string {
	return hostIdentity{alias: alias, authorities: authorities}.options()
}

// KeepAuthorities keeps lines in a file.
func (s *SSHPaths) KeepAuthorities(lines string) (string, error) { return s.p.keepAuthorities(lines) }

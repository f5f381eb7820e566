// Package posture knows posture rules: what a device must be, or have, for a rule to pass. A device says what it found
// (Facts, and an Observation for each Check that it was given); Evaluate says whether a rule passes. It is pure.
//
// In doubt a rule fails: a type that nobody here can check, a fact that was not reported, an observation that the device
// could not make, a value that cannot be compared. The types and the members of their input are those of the public API
// (Device posture rules).
package posture

import "time"

// The types that are evaluated. Rules of the other types of the public API are kept and always fail.
const (
	TypeFile           = "file"
	TypeApplication    = "application"
	TypeOSVersion      = "os_version"
	TypeDiskEncryption = "disk_encryption"
	TypeSerialNumber   = "serial_number"
	TypeUniqueClientID = "unique_client_id"
	TypeWARP           = "warp"
	TypeGateway        = "gateway"
)

// types are all that the public API has; the value says whether they are evaluated.
var types = map[string]bool{
	TypeFile: true, TypeApplication: true, TypeOSVersion: true, TypeDiskEncryption: true, TypeSerialNumber: true, TypeUniqueClientID: true,
	TypeWARP: true, TypeGateway: true,
	"tanium": false, "sentinelone": false, "carbonblack": false, "firewall": false, "domain_joined": false, "client_certificate": false,
	"client_certificate_v2": false, "antivirus": false, "kolide": false, "tanium_s2s": false, "crowdstrike_s2s": false, "intune": false,
	"workspace_one": false, "sentinelone_s2s": false, "custom_s2s": false,
}

// platforms are the names of systems on the wire, by Go's.
var platforms = map[string]string{"linux": "linux", "darwin": "mac", "windows": "windows", "android": "android", "ios": "ios", "": "chromeos"}

// How often a device looks, and how long its word is good.
const (
	DefaultSchedule = 5 * time.Minute
	MinSchedule     = time.Minute
	MaxSchedule     = 24 * time.Hour
	MaxExpiration   = 30 * 24 * time.Hour
)

// Facts is what a device says of its system; an empty string is a fact that is not known.
type Facts struct {
	// OS is Go's name of the system: linux, darwin, windows.
	OS string `json:"os,omitempty"`
	// OSVersion is the kernel's release on Linux, the product's version elsewhere.
	OSVersion string `json:"os_version,omitempty"`
	// OSVersionExtra is the update build revision of Windows, the product's extra version of macOS.
	OSVersionExtra   string `json:"os_version_extra,omitempty"`
	OSDistroName     string `json:"os_distro_name,omitempty"`     // Linux: ID of os-release
	OSDistroRevision string `json:"os_distro_revision,omitempty"` // Linux: VERSION_ID of os-release
	SerialNumber     string `json:"serial_number,omitempty"`
	UniqueClientID   string `json:"unique_client_id,omitempty"` // from the machine's administrator
	Manufacturer     string `json:"manufacturer,omitempty"`
	Model            string `json:"model,omitempty"`
}

// Check is what a device is asked to look at for a rule; rules that Facts alone decide need none.
type Check struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Path string `json:"path,omitempty"`
	// SHA256 asks for the digest of the file.
	SHA256 bool `json:"sha256,omitempty"`
	// IntervalSeconds is how often to look.
	IntervalSeconds int `json:"interval_seconds"`
}

// Observation is what a device found for a Check.
type Observation struct {
	// Error says why the device cannot tell; the rule fails then.
	Error   string `json:"error,omitempty"`
	Exists  bool   `json:"exists,omitempty"`
	Running bool   `json:"running,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // hex
	// Disks are the mounted file systems that are on disks.
	Disks []Disk `json:"disks,omitempty"`
}

// Disk is a mounted file system.
type Disk struct {
	Mount     string `json:"mount"`
	Encrypted bool   `json:"encrypted"`
}

package recording

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// FormatVersion is the version of the file format.
const FormatVersion = 1

// Subject is who and what a session is; the audit log holds the same facts under the same session ID. Fields that are not known are
// empty.
type Subject struct {
	SessionID       string         `json:"session_id"`
	AccountID       string         `json:"account_id,omitempty"`
	UserID          string         `json:"user_id"`
	Email           string         `json:"email"`
	DeviceID        string         `json:"device_id"`
	DeviceName      string         `json:"device_name"`
	TargetID        string         `json:"target_id"`
	Hostname        string         `json:"hostname"`
	VNETID          string         `json:"vnet_id"`
	VNETName        string         `json:"vnet_name"`
	Login           string         `json:"login"`
	ApplicationID   string         `json:"application_id"`
	PolicyID        string         `json:"policy_id"`
	PolicyName      string         `json:"policy_name"`
	PolicyRev       uint64         `json:"policy_rev"`
	ClientAddress   netip.AddrPort `json:"client_address"`
	ServerAddress   netip.AddrPort `json:"server_address"`
	Protocol        string         `json:"protocol"`
	CertificateID   string         `json:"certificate_id,omitempty"`
	ClientVersion   string         `json:"client_version,omitempty"`
	ServerVersion   string         `json:"server_version,omitempty"`
	GatewayVersion  string         `json:"gateway_version,omitempty"`
	GatewayHostname string         `json:"gateway_hostname,omitempty"`
}

// Header is the first chunk of a recording. It is not encrypted: whoever keeps recordings can list them without being able
// to read them.
type Header struct {
	Version    int         `json:"version"`
	Started    time.Time   `json:"started"`
	GatewayID  string      `json:"gateway_id"`
	KeyID      string      `json:"key_id"`
	PublicKey  []byte      `json:"public_key"` // Ed25519
	Encryption *Encryption `json:"encryption,omitempty"`
	// SSHLogKey is the public key of ssh-log-cli that the account had set (audit_ssh_settings), for the export in that format.
	SSHLogKey string `json:"ssh_log_key,omitempty"`
	Subject
}

// Encryption says how the data chunks are encrypted: by ChaCha20-Poly1305 under a key of this file alone, the nonce being
// the chunk's number and the additional data its head. The key is an age file for the recipients.
type Encryption struct {
	Scheme     string   `json:"scheme"`
	Recipients []string `json:"recipients"`
	WrappedKey []byte   `json:"wrapped_key"`
}

const schemeAge = "age+chacha20poly1305"

// The ways in which a recording ends.
const (
	EndClosed      = "closed"       // the session is over
	EndFailed      = "failed"       // it could not be recorded any further
	EndInterrupted = "interrupted"  // the gateway died; what was on disk was sealed at its next start
	EndGatewayStop = "gateway_stop" // the gateway was stopped
)

// End is the last but one chunk.
type End struct {
	Ended     time.Time `json:"ended"`
	Reason    string    `json:"reason"`
	Error     string    `json:"error,omitempty"`
	Channels  int       `json:"channels"`
	Events    int       `json:"events"`
	Commands  int       `json:"commands"` // exec, shell command lines and sftp operations
	Output    int64     `json:"output_bytes"`
	Unwritten int64     `json:"output_bytes_not_recorded"` // over the limit of a channel without a terminal
	BytesUp   int64     `json:"bytes_up"`
	BytesDown int64     `json:"bytes_down"`
	Discarded int64     `json:"discarded_bytes,omitempty"` // of a torn chunk, when it was sealed after a crash
}

// Index is the last chunk. It is a help for seeking and says nothing that the chunks do not.
type Index struct {
	Chunks    []ChunkRef    `json:"chunks"`
	KeyFrames []KeyFrameRef `json:"key_frames"`
}

// ChunkRef is where a data chunk begins, and its times in microseconds since 1970.
type ChunkRef struct {
	Offset int64 `json:"offset"`
	First  int64 `json:"first"`
	Last   int64 `json:"last"`
}

// KeyFrameRef is a key frame: where its chunk begins, its channel and its time.
type KeyFrameRef struct {
	Offset  int64 `json:"offset"`
	Channel int   `json:"channel"`
	Time    int64 `json:"time"`
}

func encodeJSON(what string, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	return b, nil
}

func decodeJSON(what string, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}

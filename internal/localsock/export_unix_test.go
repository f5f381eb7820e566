//go:build unix

package localsock

// PeerCredentialsForTest opens peerCredentials.
var PeerCredentialsForTest = peerCredentials

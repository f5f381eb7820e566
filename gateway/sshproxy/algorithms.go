package sshproxy

import "golang.org/x/crypto/ssh"

// version is our identification string (RFC 4253 section 4.2) on both sides.
const version = "SSH-2.0-Weft"

// sshConfig is common to both sides: no SHA-1, no CBC, AES-GCM first because it costs the least per byte. Strict key
// exchange (the answer to prefix truncation) is always offered by the library.
func sshConfig() ssh.Config {
	return ssh.Config{
		KeyExchanges: []string{
			ssh.KeyExchangeMLKEM768X25519,
			ssh.KeyExchangeCurve25519,
			ssh.KeyExchangeECDHP256,
			ssh.KeyExchangeECDHP384,
			ssh.KeyExchangeECDHP521,
			ssh.KeyExchangeDH16SHA512,
			ssh.KeyExchangeDH14SHA256,
		},
		Ciphers: []string{
			ssh.CipherAES128GCM,
			ssh.CipherAES256GCM,
			ssh.CipherChaCha20Poly1305,
			ssh.CipherAES128CTR,
			ssh.CipherAES192CTR,
			ssh.CipherAES256CTR,
		},
		MACs: []string{
			ssh.HMACSHA256ETM,
			ssh.HMACSHA512ETM,
			ssh.HMACSHA256,
			ssh.HMACSHA512,
		},
	}
}

// hostKeyAlgorithms are accepted from targets. Certificates are asked for only where an authority is known that could have
// signed them: what is pinned otherwise is a key, and a server that has a host certificate as well presents its key when
// no certificate is asked for. The order is fixed, so that a server with several keys shows the same one every time.
func hostKeyAlgorithms(certificates bool) []string {
	keys := []string{
		ssh.KeyAlgoED25519,
		ssh.KeyAlgoECDSA256,
		ssh.KeyAlgoECDSA384,
		ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512,
		ssh.KeyAlgoRSASHA256,
	}
	if !certificates {
		return keys
	}
	return append([]string{
		ssh.CertAlgoED25519v01,
		ssh.CertAlgoECDSA256v01,
		ssh.CertAlgoECDSA384v01,
		ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01,
		ssh.CertAlgoRSASHA256v01,
	}, keys...)
}

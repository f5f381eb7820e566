package sshproxy

import (
	"io"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/time/rate"
)

// A key exchange costs the gateway much more than a peer that does it carelessly, and RFC 4253 section 9 lets either side
// ask for another at any time. So those of one connection are spaced out after the first ones: with the client by the
// signature that each needs, with the target by the check of its key.

// keyExchangeBurst is how many seconds' worth may come at once: somebody who moves 5 GiB with new keys every 16 MiB waits a little.
const keyExchangeBurst = 8

func newKeyExchangeLimiter(l Limits) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(l.KeyExchangesPerSecond), keyExchangeBurst*l.KeyExchangesPerSecond)
}

// paceKeys waits for l, at most until the session ends. The library's goroutine for key exchanges calls it.
func (x *session) paceKeys(l *rate.Limiter) {
	wait := l.Reserve().Delay()
	if wait <= 0 {
		return
	}
	x.p.stats.keyExchangesThrottled.Add(1)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-x.done:
	}
}

// serverKeyExchanges leaves out the group of 4096 bits, which costs a client that chooses its exponent nothing and us forty
// milliseconds of a processor. Every client that knows it knows one of the others.
func serverKeyExchanges(all []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == ssh.KeyExchangeDH16SHA512 })
}

// pacedSigner is a host key that waits before it signs.
type pacedSigner struct {
	ssh.AlgorithmSigner
	pace func()
}

// pace makes a host key wait as long as the session's limit asks for.
func (x *session) pace(key ssh.Signer, l *rate.Limiter) ssh.Signer {
	s, ok := key.(ssh.AlgorithmSigner)
	if !ok {
		return key // none of ours
	}
	paced := pacedSigner{s, func() { x.paceKeys(l) }}
	if m, ok := key.(ssh.MultiAlgorithmSigner); ok {
		return pacedMultiSigner{paced, m}
	}
	return paced
}

func (s pacedSigner) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	s.pace()
	return s.AlgorithmSigner.Sign(rand, data)
}

func (s pacedSigner) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	s.pace()
	return s.AlgorithmSigner.SignWithAlgorithm(rand, data, algorithm)
}

// pacedMultiSigner is one that says which algorithms it signs with.
type pacedMultiSigner struct {
	pacedSigner
	of ssh.MultiAlgorithmSigner
}

func (s pacedMultiSigner) Algorithms() []string { return s.of.Algorithms() }

var (
	_ ssh.AlgorithmSigner      = pacedSigner{}
	_ ssh.MultiAlgorithmSigner = pacedMultiSigner{}
)

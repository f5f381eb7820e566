package sshca

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"
)

// Numbers of OpenSSH PROTOCOL.krl.
const (
	krlMagic         = 0x5353484b524c0a00 // "SSHKRL\n\0"
	krlFormat        = 1
	krlCertificates  = 1
	krlExplicitKeys  = 2
	krlSerialList    = 0x20
	krlSerialBytes   = 8
	krlHeaderBytes   = 8 + 4 + 8 + 8 + 8
	maxKRLBytes      = 8 << 20
	maxKRLKeyBytes   = 16 << 10
	maxKRLTextBytes  = 1024
	maxKRLAuthorites = 1024
)

// KRL is what a key revocation list (OpenSSH PROTOCOL.krl) says, as far as it is used here: keys, of which those of authorities revoke
// all that they signed, and certificates by the authority that signed them and their serial number.
type KRL struct {
	// Version is for people: sshd does not compare it.
	Version   uint64
	Generated time.Time
	Comment   string
	Keys      []ssh.PublicKey
	Serials   []RevokedSerials
}

// RevokedSerials are certificates of one authority.
type RevokedSerials struct {
	CA      ssh.PublicKey
	Serials []uint64
}

// Marshal renders the list in the order of the protocol, keys and serials sorted, so that the same content is the same bytes.
func (k *KRL) Marshal() ([]byte, error) {
	b := binary.BigEndian.AppendUint64(nil, krlMagic)
	b = binary.BigEndian.AppendUint32(b, krlFormat)
	b = binary.BigEndian.AppendUint64(b, k.Version)
	b = binary.BigEndian.AppendUint64(b, uint64(max(k.Generated.Unix(), 0)))
	b = binary.BigEndian.AppendUint64(b, 0) // flags: none are defined
	b = appendString(b, nil)                // reserved
	b = appendString(b, []byte(k.Comment))
	cas := slices.Clone(k.Serials)
	slices.SortFunc(cas, func(a, b RevokedSerials) int { return bytes.Compare(a.CA.Marshal(), b.CA.Marshal()) })
	for _, ca := range cas {
		section, err := ca.marshal()
		if err != nil {
			return nil, fmt.Errorf("render key revocation list: %w", err)
		}
		if section != nil {
			b = append(b, krlCertificates)
			b = appendString(b, section)
		}
	}
	if len(k.Keys) > 0 {
		var blobs [][]byte
		for _, key := range k.Keys {
			blobs = append(blobs, key.Marshal())
		}
		slices.SortFunc(blobs, bytes.Compare)
		var section []byte
		for _, blob := range slices.CompactFunc(blobs, bytes.Equal) {
			section = appendString(section, blob)
		}
		b = append(b, krlExplicitKeys)
		b = appendString(b, section)
	}
	return b, nil
}

func (r *RevokedSerials) marshal() ([]byte, error) {
	serials := slices.Compact(slices.Sorted(slices.Values(r.Serials)))
	if len(serials) == 0 {
		return nil, nil
	}
	if serials[0] == 0 {
		return nil, errors.New("serial number 0 cannot be revoked")
	}
	list := make([]byte, 0, len(serials)*krlSerialBytes)
	for _, s := range serials {
		list = binary.BigEndian.AppendUint64(list, s)
	}
	b := appendString(nil, r.CA.Marshal())
	b = appendString(b, nil) // reserved
	b = append(b, krlSerialList)
	return appendString(b, list), nil
}

func appendString(b, s []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// ErrKRL is what ParseKRL wraps.
var ErrKRL = errors.New("not a key revocation list")

// ParseKRL reads what Marshal writes; every other section is an error, because a list that is not understood must not replace
// one that works: sshd refuses all keys when it cannot read its RevokedKeys.
func ParseKRL(b []byte) (*KRL, error) {
	if len(b) > maxKRLBytes || len(b) < krlHeaderBytes || binary.BigEndian.Uint64(b) != krlMagic || binary.BigEndian.Uint32(b[8:]) != krlFormat {
		return nil, ErrKRL
	}
	generated := binary.BigEndian.Uint64(b[20:])
	if generated > 1<<40 || binary.BigEndian.Uint64(b[28:]) != 0 {
		return nil, fmt.Errorf("%w: header", ErrKRL)
	}
	k := &KRL{Version: binary.BigEndian.Uint64(b[12:]), Generated: time.Unix(int64(generated), 0).UTC()}
	r := krlReader{rest: b[krlHeaderBytes:]}
	if len(r.text(0)) != 0 {
		r.fail("reserved")
	}
	k.Comment = string(r.text(maxKRLTextBytes))
	for r.err == nil && len(r.rest) > 0 {
		switch t := r.byte(); t {
		case krlCertificates:
			k.certificates(&r)
		case krlExplicitKeys:
			for section := (krlReader{rest: r.text(maxKRLBytes)}); r.err == nil && len(section.rest) > 0; r.err = section.err {
				k.Keys = append(k.Keys, section.key())
			}
		default:
			r.fail(fmt.Sprintf("section %d", t))
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return k, nil
}

func (k *KRL) certificates(r *krlReader) {
	s := krlReader{rest: r.text(maxKRLBytes)}
	ca := RevokedSerials{CA: s.key()}
	if len(s.text(0)) != 0 || s.byte() != krlSerialList {
		s.fail("certificates")
	}
	list := s.text(maxKRLBytes)
	if len(s.rest) > 0 || len(list)%krlSerialBytes != 0 || len(k.Serials) >= maxKRLAuthorites {
		s.fail("serial numbers")
	}
	for ; s.err == nil && len(list) > 0; list = list[krlSerialBytes:] {
		ca.Serials = append(ca.Serials, binary.BigEndian.Uint64(list))
	}
	if r.err == nil {
		r.err = s.err
	}
	k.Serials = append(k.Serials, ca)
}

// krlReader reads until something is wrong, and then nothing more.
type krlReader struct {
	rest []byte
	err  error
}

func (r *krlReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s", ErrKRL, what)
	}
	r.rest = nil
}

func (r *krlReader) byte() byte {
	if len(r.rest) == 0 {
		r.fail("cut short")
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *krlReader) text(limit int) []byte {
	if len(r.rest) < 4 {
		r.fail("cut short")
		return nil
	}
	n := binary.BigEndian.Uint32(r.rest)
	if uint64(n) > uint64(limit) || uint64(n) > uint64(len(r.rest)-4) {
		r.fail("length")
		return nil
	}
	s := r.rest[4 : 4+n]
	r.rest = r.rest[4+n:]
	return s
}

func (r *krlReader) key() ssh.PublicKey {
	key, err := ssh.ParsePublicKey(r.text(maxKRLKeyBytes))
	if err != nil {
		r.fail("key")
		return nil
	}
	return key
}

// Package msisummary makes the summary of an MSI repeatable: the compiler writes the time of
// its run and a random package code into it. The summary is a property set ([MS-OLEPS]) in a
// compound file ([MS-CFB]); it is changed in place, each value by one of the same length.
package msisummary

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// formatID is FMTID_SummaryInformation, F29F85E0-4FF9-1068-AB91-08002B27B3D9.
var formatID = []byte{0xe0, 0x85, 0x9f, 0xf2, 0xf9, 0x4f, 0x68, 0x10, 0xab, 0x91, 0x08, 0x00, 0x2b, 0x27, 0xb3, 0xd9}

// Properties of the summary and their types.
const (
	propRevision = 9 // the package code
	propCreated  = 12
	propSaved    = 13
	typeString   = 0x1e
	typeFileTime = 0x40
)

// formatAt is where the format's identifier stands in a property set with one section.
const formatAt = 28

// maxProperties bounds what is believed of a summary.
const maxProperties = 64

var errDamaged = errors.New("the summary is not as it should be")

// Fix sets both times to at and the package code to code, a UUID in braces.
func Fix(msi []byte, at time.Time, code string) error {
	i := bytes.Index(msi, formatID)
	if i < formatAt || bytes.Contains(msi[i+len(formatID):], formatID) {
		return fmt.Errorf("find the summary: %w", errDamaged)
	}
	set := msi[i-formatAt:]
	if le16(set, 0) != 0xfffe || le32(set, 24) != 1 {
		return fmt.Errorf("read the summary's head: %w", errDamaged)
	}
	section := int(le32(set, formatAt+16))
	count := int(le32(set, section+4))
	if section < formatAt+20 || section > 4096 || count > maxProperties {
		return fmt.Errorf("read the summary's section: %w", errDamaged)
	}
	fixed := 0
	for p := range count {
		id, off := le32(set, section+8+8*p), int(le32(set, section+12+8*p))
		if off > 1<<16 || section+off+12 > len(set) {
			return fmt.Errorf("read property %d: %w", id, errDamaged)
		}
		value := set[section+off:]
		switch {
		case (id == propCreated || id == propSaved) && le32(value, 0) == typeFileTime:
			// 100 ns since 1601: [MS-DTYP] 2.3.3.
			binary.LittleEndian.PutUint64(value[4:], uint64(at.Unix()+11644473600)*10_000_000)
			fixed++
		case id == propRevision && le32(value, 0) == typeString && int(le32(value, 4)) == len(code)+1 && value[8] == '{':
			copy(value[8:], code)
			fixed++
		}
	}
	if fixed != 3 {
		return fmt.Errorf("%d of 3 properties are there: %w", fixed, errDamaged)
	}
	return nil
}

func le16(b []byte, at int) uint16 {
	if at < 0 || at+2 > len(b) {
		return 0
	}
	return binary.LittleEndian.Uint16(b[at:])
}

func le32(b []byte, at int) uint32 {
	if at < 0 || at+4 > len(b) {
		return 0
	}
	return binary.LittleEndian.Uint32(b[at:])
}

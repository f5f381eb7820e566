package netexpr

// Truth is the value of an expression.
type Truth uint8

// The values, in the order in which "and" takes the least and "or" the greatest.
const (
	False Truth = iota
	Unknown
	True
)

// String returns "false", "unknown" or "true".
func (t Truth) String() string {
	switch t {
	case False:
		return "false"
	case True:
		return "true"
	default:
		return "unknown"
	}
}

func (t Truth) not() Truth { return True - t }

func (t Truth) xor(u Truth) Truth {
	switch {
	case t == Unknown || u == Unknown:
		return Unknown
	case t == u:
		return False
	default:
		return True
	}
}

func truth(b bool) Truth {
	if b {
		return True
	}
	return False
}

package sshproxy

// ParseForTest runs the parser of a channel request's payload and returns what it read, for the fuzz test.
func ParseForTest(request string, payload []byte) (any, error) {
	switch request {
	case "pty-req":
		return parsePTY(payload)
	case "env":
		return parseEnv(payload)
	case "window-change":
		return parseWindowChange(payload)
	case "exec":
		c, err := parseCommand(payload, 128<<10)
		return struct{ Command string }{c}, err
	case "subsystem":
		n, err := parseSubsystem(payload)
		return struct{ Name string }{n}, err
	case "signal":
		n, err := parseSignal(payload)
		return struct{ Name string }{n}, err
	case "break":
		n, err := parseBreak(payload)
		return struct{ N uint32 }{n}, err
	case "exit-status":
		n, err := parseExitStatus(payload)
		return struct{ N uint32 }{n}, err
	}
	panic("no parser for " + request)
}

// ParseForwardForTest runs the parser of a payload of forwarding.
func ParseForwardForTest(typ string, payload []byte) (any, error) {
	switch typ {
	case typeDirectTCP:
		return parseTCPChannel(payload)
	case typeDirectSocket:
		return parseDirectSocket(payload)
	case typeForwardedSocket:
		return parseForwardedSocket(payload)
	case reqTCPListen:
		return parseTCPListen(payload)
	case reqSocketListen:
		return parseSocketListen(payload)
	case "x11-req":
		return parseX11Request(payload)
	case typeX11:
		return parseX11Channel(payload)
	case "allocated":
		port, err := parseAllocated(payload)
		return struct{ Port uint32 }{port}, err
	}
	panic("no parser for " + typ)
}

// OriginForTest is how the origin of a connection is written.
var OriginForTest = origin

// EnvAllowedForTest says which variables are passed on.
var EnvAllowedForTest = envAllowed

// Seams for the fuzz tests.
var (
	CleanForTest           = clean
	DestinationForTest     = destination
	ListenAddressForTest   = listenAddress
	ParseExitSignalForTest = parseExitSignal
)

// ParseKexInitForTest is the parser of a client's first bytes.
var ParseKexInitForTest = parseKexInit

// FastAESForTest says whether ciphers are chosen here.
func FastAESForTest() bool { return fastAES }

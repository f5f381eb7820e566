package sshproxy

import (
	"reflect"
	"unsafe"

	"golang.org/x/crypto/ssh"
)

// drain reads what the SSH library has received on c and nobody will take, until its reader ends. The connection under
// c must be closed.
//
// When a handshake fails or a peer breaks the protocol, the library (golang.org/x/crypto v0.58.0) stops taking packets
// while its reader may be waiting to hand over the seventeenth. That reader and what it holds, up to four megabytes,
// then stay for ever, and any client can make it happen at will by sending more packets behind a bad one. The library
// has no call for it, so its queue is looked up by name; when the layout is another one day this does nothing, and
// TestServe_FloodLeavesNothing says so. To be removed when the library does it itself.
func drain(c any) {
	if sc, ok := c.(*ssh.ServerConn); ok {
		c = sc.Conn
	}
	conn := reflect.ValueOf(c)
	if conn.Kind() != reflect.Pointer || conn.IsNil() || conn.Elem().Kind() != reflect.Struct {
		return
	}
	transport := conn.Elem().FieldByName("transport")
	if !transport.IsValid() || transport.Kind() != reflect.Interface || transport.IsNil() {
		return
	}
	handshake := transport.Elem()
	if handshake.Kind() != reflect.Pointer || handshake.IsNil() || handshake.Elem().Kind() != reflect.Struct {
		return
	}
	field := handshake.Elem().FieldByName("incoming")
	if !field.IsValid() || field.Type() != reflect.TypeFor[chan []byte]() {
		return
	}
	incoming := *(*chan []byte)(unsafe.Pointer(field.UnsafeAddr()))
	for range incoming { // closed by the reader when it ends
	}
}

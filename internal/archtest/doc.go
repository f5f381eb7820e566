// Package archtest holds the dependency test: which way imports point, and
// what each program may not link. It has no code of its own.
package archtest

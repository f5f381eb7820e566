package store

import (
	"context"
	"errors"
)

type contextKey int

const (
	preconditionKey contextKey = iota
	readerKey
)

// WithPrecondition has the first write under the context check something inside its transaction, before it does
// anything. Whatever check reads by View under the context that it is given, it reads in that transaction.
func WithPrecondition(ctx context.Context, check func(context.Context) error) context.Context {
	return context.WithValue(ctx, preconditionKey, &precondition{check: check})
}

type precondition struct {
	check func(context.Context) error
	met   bool // by a write that was committed
}

// errNested is a write inside a check: it would wait for itself.
var errNested = errors.New("a write within the check of a write")

// checkPrecondition runs what WithPrecondition asked for; committed is to be called after the commit.
func (tx *Tx) checkPrecondition(ctx context.Context) (committed func(), err error) {
	p, ok := ctx.Value(preconditionKey).(*precondition)
	if !ok || p.met {
		return func() {}, nil
	}
	if err := p.check(context.WithValue(ctx, readerKey, &tx.Reader)); err != nil {
		return nil, err
	}
	return func() { p.met = true }, nil
}

// within is the transaction that reads under ctx belong to.
func (s *Store) within(ctx context.Context) (*Reader, bool) {
	r, ok := ctx.Value(readerKey).(*Reader)
	return r, ok && r.store == s
}

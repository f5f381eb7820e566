package kind_test

import (
	"errors"
	"fmt"
	"testing"

	"weft/internal/kind"
)

func TestOf(t *testing.T) {
	base := kind.New(kind.Conflict, "port %d is taken", 22)
	tests := []struct {
		name string
		err  error
		want kind.Kind
	}{
		{"nil", nil, ""},
		{"no kind", errors.New("x"), kind.Internal},
		{"itself", base, kind.Conflict},
		{"wrapped", fmt.Errorf("write: %w", base), kind.Conflict},
		{"wrapped twice", fmt.Errorf("a: %w", fmt.Errorf("b: %w", base)), kind.Conflict},
		{"joined", errors.Join(errors.New("x"), base), kind.Conflict},
		{"the outermost counts", kind.New(kind.Unavailable, "x").WithCause(base), kind.Unavailable},
		{"a field", kind.Field("/port", "x"), kind.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := kind.Of(tt.err); got != tt.want {
				t.Errorf("got %q; want %q", got, tt.want)
			}
			if tt.want != "" && (!kind.Is(tt.err, tt.want) || kind.Is(tt.err, "other")) {
				t.Error("Is and Of differ")
			}
		})
	}
}

func TestError_WithCopies(t *testing.T) {
	base := kind.Field("/port", "port %d is taken", 22)
	cause := errors.New("unique constraint")
	all := base.WithHint("use %d", 23).WithCause(cause)
	if base.Hint != "" || base.Err != nil {
		t.Errorf("the original was changed: %+v", base)
	}
	if all.Hint != "use 23" || all.Pointer != "/port" || all.Message != "port 22 is taken" || !errors.Is(all, cause) {
		t.Errorf("got %+v", all)
	}
	if got := all.Error(); got != "port 22 is taken: unique constraint" {
		t.Errorf("with a cause it says %q", got)
	}
	if got := base.Error(); got != "port 22 is taken" {
		t.Errorf("without a cause it says %q", got)
	}
}

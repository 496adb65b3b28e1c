package local

import (
	"cmp"
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// defaultRows is the bound of a micro-batch's rows unless it is set.
const defaultRows = 4096

// rowBound returns maxRows or the default.
func rowBound(maxRows int) int { return cmp.Or(maxRows, defaultRows) }

// microBatches divides n items into micro-batches. fill prepares the one that
// begins with item from and returns where it ends; compute then computes items
// [from, to).
func microBatches(ctx context.Context, n int, fill func(from int) (to int), compute func(from, to int) error) error {
	for from := 0; from < n; {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := fill(from)
		if err := compute(from, to); err != nil {
			return err
		}
		from = to
	}
	return ctx.Err()
}

// cleared returns err after it has cleared the error that sticks to a backend, if there
// is one: what was returned once must not fail the next call.
func cleared(b tensor.Backend, err error) error {
	if err != nil {
		_ = b.Sync()
	}
	return err
}

// checkTokenizer is what errors about a token id ask.
const checkTokenizer = ": was the tokenizer compared with the model (model.Config.CheckTokenizer)?"

// checkTokens returns an error that names the first token id out of range, in
// the i-th prompt, sample or input.
func checkTokens(what string, i int, ids []int32, vocab int) error {
	for t, id := range ids {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("local: %s %d: token %d has id %d, want 0 to %d%s", what, i, t, id, vocab-1, checkTokenizer)
		}
	}
	return nil
}

// sized returns v with n elements of any content.
func sized[T any](v []T, n int) []T {
	if cap(v) < n {
		return make([]T, n)
	}
	return v[:n]
}

package enginetest

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/stepwise-rl/stepwise/rollout"
)

// collect samples the requests and returns the completions by request and index.
// It checks that each is emitted once, serially, and is sound.
func (s *suite) collect(ctx context.Context, reqs ...rollout.Request) ([][]rollout.Completion, error) {
	got := make([][]rollout.Completion, len(reqs))
	arrived := make([][]bool, len(reqs))
	for i, r := range reqs {
		got[i] = make([]rollout.Completion, r.N)
		arrived[i] = make([]bool, r.N)
	}
	var busy, returned atomic.Bool
	err := s.engine.Generate(ctx, reqs, func(c rollout.Completion) error {
		if returned.Load() {
			panic("enginetest: emit is called after Generate has returned")
		}
		if !busy.CompareAndSwap(false, true) {
			return fmt.Errorf("emit is called while another call of it runs")
		}
		defer busy.Store(false)
		runtime.Gosched() // a chance for a second call
		if c.Request < 0 || c.Request >= len(reqs) || c.Index < 0 || c.Index >= reqs[c.Request].N {
			return fmt.Errorf("sample %d of request %d is emitted, which nobody asked for", c.Index, c.Request)
		}
		if arrived[c.Request][c.Index] {
			return fmt.Errorf("sample %d of request %d is emitted twice", c.Index, c.Request)
		}
		arrived[c.Request][c.Index] = true
		got[c.Request][c.Index] = c
		return s.sound(&reqs[c.Request], &c)
	})
	returned.Store(true)
	if err != nil {
		return nil, err
	}
	for i := range arrived {
		for n, ok := range arrived[i] {
			if !ok {
				return nil, fmt.Errorf("sample %d of request %d is never emitted", n, i)
			}
		}
	}
	return got, nil
}

// sound checks the properties of every completion.
func (s *suite) sound(r *rollout.Request, c *rollout.Completion) error {
	wrong := func(format string, a ...any) error {
		return fmt.Errorf("sample %d of request %d: "+format, append([]any{c.Index, c.Request}, a...)...)
	}
	n := len(c.Tokens)
	switch {
	case c.Err != nil:
		return wrong("%w", c.Err)
	case n < 1 || n > r.Params.MaxTokens:
		return wrong("%d tokens, want 1 to %d", n, r.Params.MaxTokens)
	case len(c.Ends) != n || len(c.LogP) != n:
		return wrong("%d tokens, but %d Ends and %d LogP", n, len(c.Ends), len(c.LogP))
	case c.LogPUnit != nil && len(c.LogPUnit) != n:
		return wrong("%d tokens, but %d LogPUnit", n, len(c.LogPUnit))
	case c.Finish != rollout.FinishStop && c.Finish != rollout.FinishLength:
		return wrong("Finish is %q, want %q or %q", c.Finish, rollout.FinishStop, rollout.FinishLength)
	case c.Finish == rollout.FinishLength && n != r.Params.MaxTokens:
		return wrong("Finish is %q after %d of %d tokens", c.Finish, n, r.Params.MaxTokens)
	case c.Ends[n-1] != len(c.Text):
		return wrong("the last token ends at byte %d of a text of %d", c.Ends[n-1], len(c.Text))
	case c.FirstVersion > c.LastVersion:
		return wrong("first version %d is after the last one, %d", c.FirstVersion, c.LastVersion)
	}
	start := 0
	for i, id := range c.Tokens {
		end := c.Ends[i]
		if end < start || end > len(c.Text) {
			return wrong("token %d ends at byte %d, after one that ends at %d, in a text of %d", i, end, start, len(c.Text))
		}
		if s.Vocab != nil && c.Text[start:end] != string(s.Vocab.Bytes(id)) {
			return wrong("token %d (id %d) is %q in the text, but its bytes are %q", i, id, c.Text[start:end], s.Vocab.Bytes(id))
		}
		start = end
	}
	for i, l := range slices.Concat(c.LogP, c.LogPUnit) {
		if !(l <= 1e-6) || math.IsInf(l, -1) {
			return wrong("log-prob %d is %v", i%n, l)
		}
	}
	return nil
}

// same returns an error that names the difference between two completions of the
// same sample.
func same(a, b *rollout.Completion) error {
	switch {
	case !slices.Equal(a.Tokens, b.Tokens):
		return fmt.Errorf("tokens %v and %v", a.Tokens, b.Tokens)
	case a.Text != b.Text:
		return fmt.Errorf("texts %q and %q", a.Text, b.Text)
	case a.Finish != b.Finish:
		return fmt.Errorf("finished by %q and by %q", a.Finish, b.Finish)
	}
	for i := range a.LogP {
		if math.Abs(a.LogP[i]-b.LogP[i]) > 1e-4 {
			return fmt.Errorf("log-probs of token %d: %v and %v", i, a.LogP[i], b.LogP[i])
		}
	}
	return nil
}

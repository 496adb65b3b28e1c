package enginetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/rollout"
)

func eachSampleOnce(ctx context.Context, s *suite) error {
	// The same prompt twice: two requests, not one.
	_, err := s.collect(ctx,
		s.request(0, 3, rollout.Params{Temperature: 1}),
		s.request(1, 1, rollout.Params{Temperature: 1}),
		s.request(0, 5, rollout.Params{Temperature: 1}))
	return err
}

func noRequests(ctx context.Context, s *suite) error {
	_, err := s.collect(ctx)
	return err
}

func fields(ctx context.Context, s *suite) error {
	for _, p := range []rollout.Params{
		{Temperature: 1}, {Temperature: 0.6}, {Temperature: 2, TopK: 2}, {Temperature: 1, TopP: 0.5}, {},
	} {
		if s.lacks(p) {
			continue
		}
		got, err := s.collect(ctx, s.request(0, 4, p), s.request(1, 4, p))
		if err != nil {
			return fmt.Errorf("%+v: %w", p, err)
		}
		if p.Temperature != 0 && p.Temperature != 1 {
			continue
		}
		for _, c := range append(got[0], got[1]...) {
			for i := range c.LogPUnit {
				if c.LogP[i] != c.LogPUnit[i] {
					return fmt.Errorf("%+v: token %d has LogP %v and LogPUnit %v, want the same", p, i, c.LogP[i], c.LogPUnit[i])
				}
			}
		}
	}
	return nil
}

func maxTokens(ctx context.Context, s *suite) error {
	for n := 1; n <= 3; n++ {
		// sound, which collect calls, compares lengths with the limit.
		if _, err := s.collect(ctx, s.request(0, 4, rollout.Params{Temperature: 1, MaxTokens: n})); err != nil {
			return fmt.Errorf("MaxTokens %d: %w", n, err)
		}
	}
	return nil
}

func greedy(ctx context.Context, s *suite) error {
	var first *rollout.Completion
	for _, p := range []rollout.Params{
		{}, {}, {Temperature: 1, TopK: 1}, {Temperature: 1, TopP: 1e-9}, // the last two leave no choice either
	} {
		if s.lacks(p) {
			continue
		}
		got, err := s.collect(ctx, s.request(0, 3, p))
		if err != nil {
			return fmt.Errorf("%+v: %w", p, err)
		}
		if first == nil {
			first = &got[0][0]
		}
		for i := range got[0] {
			c := &got[0][i]
			if p.Temperature != 0 {
				c.LogP = first.LogP // at another temperature
			}
			if err := same(first, c); err != nil {
				return fmt.Errorf("%+v: two greedy samples of one prompt have %w", p, err)
			}
		}
	}
	return nil
}

func stop(ctx context.Context, s *suite) error {
	if s.Lacks&FeatureStop != 0 {
		return skip("the engine lacks stop strings")
	}
	for i := range s.Prompts {
		got, err := s.collect(ctx, s.request(i, 1, rollout.Params{}))
		if err != nil {
			return err
		}
		whole := &got[0][0]
		str := straddle(whole)
		if str == "" {
			continue
		}
		got, err = s.collect(ctx, s.request(i, 1, rollout.Params{Stop: []string{"\x00 not in the text \x00"}}))
		if err != nil {
			return err
		}
		if err := same(whole, &got[0][0]); err != nil {
			return fmt.Errorf("without a stop string, and with one that does not occur: %w", err)
		}
		got, err = s.collect(ctx, s.request(i, 1, rollout.Params{Stop: []string{"\x00 not in the text \x00", str}}))
		if err != nil {
			return err
		}
		if err := same(cut(whole, str), &got[0][0]); err != nil {
			return fmt.Errorf("text %q cut after %q, and with that as stop string: %w", whole.Text, str, err)
		}
		return nil
	}
	return errors.New("no prompt is followed, greedily, by two tokens with bytes: the check needs one")
}

// straddle returns the first characters of the text that lie in two tokens, or on
// both sides of where one ends and another one starts; if none are valid UTF-8, which
// an engine might want to send as JSON, the bytes on both sides; "" if there are none.
func straddle(c *rollout.Completion) (str string) {
	for _, at := range c.Ends {
		if at <= 0 || at >= len(c.Text) {
			continue
		}
		start, end := at-1, at+1
		for start > 0 && !utf8.RuneStart(c.Text[start]) {
			start--
		}
		for end < len(c.Text) && !utf8.RuneStart(c.Text[end]) {
			end++
		}
		if utf8.ValidString(c.Text[start:end]) {
			return c.Text[start:end]
		}
		if str == "" {
			str = c.Text[at-1 : at+1]
		}
	}
	return str
}

// cut returns what is left of a completion that ends with the token that
// completes the first str.
func cut(c *rollout.Completion, str string) *rollout.Completion {
	end := strings.Index(c.Text, str) + len(str)
	n := 0
	for c.Ends[n] < end {
		n++
	}
	n++
	return &rollout.Completion{Tokens: c.Tokens[:n], Text: c.Text[:c.Ends[n-1]], LogP: c.LogP[:n], Finish: rollout.FinishStop}
}

func batching(ctx context.Context, s *suite) error {
	if s.BatchDependent {
		return skip("samples of this engine depend on the batch")
	}
	p := rollout.Params{Temperature: 1}
	a, b := s.request(0, 3, p), s.request(1, 4, p)
	together, err := s.collect(ctx, a, b)
	if err != nil {
		return err
	}
	a.N = 6
	swapped, err := s.collect(ctx, b, a)
	if err != nil {
		return err
	}
	alone, err := s.collect(ctx, a)
	if err != nil {
		return err
	}
	for _, other := range []struct {
		name string
		a, b []rollout.Completion
	}{{"in another order", swapped[1], swapped[0]}, {"alone", alone[0], nil}} {
		for i := range together[0] {
			if err := same(&together[0][i], &other.a[i]); err != nil {
				return fmt.Errorf("sample %d of a request, and of the same one %s: %w", i, other.name, err)
			}
		}
		for i := range other.b {
			if err := same(&together[1][i], &other.b[i]); err != nil {
				return fmt.Errorf("sample %d of a request, and of the same one %s: %w", i, other.name, err)
			}
		}
	}
	return nil
}

func versions(ctx context.Context, s *suite) error {
	if s.Weights == nil {
		return skip("Config.Weights is not set")
	}
	r, ok := s.engine.(rollout.Refresher)
	if !ok {
		return errors.New("Config.Weights is set, but the engine is no rollout.Refresher")
	}
	for _, v := range []int64{3, 4} {
		if err := r.Refresh(ctx, s.Weights(v)); err != nil {
			return fmt.Errorf("refresh to version %d: %w", v, err)
		}
		got, err := s.collect(ctx, s.request(0, 3, rollout.Params{Temperature: 1}))
		if err != nil {
			return err
		}
		for _, c := range got[0] {
			if c.FirstVersion != v || c.LastVersion != v {
				return fmt.Errorf("after a refresh to version %d a sample has versions %d to %d", v, c.FirstVersion, c.LastVersion)
			}
		}
	}
	return nil
}

package reward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/prompt"
)

// FormatShare scores the share of a completion's steps whose status is OK.
// Duplicate and surplus steps count as steps that are not OK. Asked about one
// step, it scores 1 if that step is OK, else 0.
func FormatShare[E any]() Rule[E] {
	return RuleFunc[E](func(_ context.Context, _ E, trace *prompt.Trace, step int) (Score, error) {
		if step != WholeCompletion {
			return oneIf(asked(trace, step).Status == prompt.StatusOK), nil
		}
		ok := 0
		for _, s := range trace.Steps {
			if s.Status == prompt.StatusOK {
				ok++
			}
		}
		return Score{Value: float64(ok) / float64(len(trace.Steps)+len(trace.Extra))}, nil
	})
}

// FormatStrict scores 1 if the completion follows its template throughout, else
// 0. Asked about one step, it scores 1 if that step is OK, else 0.
func FormatStrict[E any]() Rule[E] {
	return RuleFunc[E](func(_ context.Context, _ E, trace *prompt.Trace, step int) (Score, error) {
		if step != WholeCompletion {
			return oneIf(asked(trace, step).Status == prompt.StatusOK), nil
		}
		return oneIf(!trace.Malformed()), nil
	})
}

// Length scores 1 up to full tokens, 0 from zero tokens on, and falls in a
// straight line in between:
//
//	(zero - tokens) / (zero - full)
//
// With zero == full it is a plain bound: 1 up to full tokens, 0 beyond. Asked
// about one step, it counts that step's tokens. A trace that was parsed without
// token offsets is unscorable, "no token offsets". Length panics unless
// 0 <= full <= zero.
func Length[E any](full, zero int) Rule[E] {
	if full < 0 || zero < full {
		panic(fmt.Sprintf("reward: Length needs 0 <= full <= zero, not full %d and zero %d", full, zero))
	}
	return RuleFunc[E](func(_ context.Context, _ E, trace *prompt.Trace, step int) (Score, error) {
		n, s := tokens(trace, step)
		switch {
		case !s.Scorable():
			return s, nil
		case n <= full:
			return Score{Value: 1}, nil
		case n >= zero:
			return Score{Value: 0}, nil
		}
		return Score{Value: float64(zero-n) / float64(zero-full)}, nil
	})
}

// Overlong sets the length at which a completion is too long, and the penalty.
type Overlong struct {
	// Max is the length in tokens from which the full penalty applies, the
	// paper's L_max; at least 1.
	Max int
	// Buffer is the number of tokens before Max over which the penalty grows:
	// L_cache, or the overlong buffer, from 0 to Max. With 0 there is no
	// penalty up to Max and the full one beyond.
	Buffer int
	// Factor is the size of the full penalty, finite and not negative; 0 means 1.
	Factor float64
	// Uncapped lets the penalty grow on beyond Max at the same rate, as in
	// verl and AReaL; it needs a Buffer. By default the penalty stays at
	// Factor, as in the paper, TRL and OpenRLHF. The two differ only where
	// completions can be longer than Max.
	Uncapped bool
}

// Validate returns an error that names the first invalid field.
func (o Overlong) Validate() error {
	switch {
	case o.Max < 1:
		return fmt.Errorf("reward: Overlong.Max is %d, need at least 1", o.Max)
	case o.Buffer < 0 || o.Buffer > o.Max:
		return fmt.Errorf("reward: Overlong.Buffer is %d, need 0 to Max, %d", o.Buffer, o.Max)
	case !(o.Factor >= 0) || math.IsInf(o.Factor, 0):
		return fmt.Errorf("reward: Overlong.Factor is %v, need a finite number that is not negative", o.Factor)
	case o.Uncapped && o.Buffer == 0:
		return errors.New("reward: Overlong.Uncapped needs a Buffer")
	}
	return nil
}

// SoftOverlong is the soft overlong punishment (DAPO, arXiv:2503.14476,
// equation 13). With L tokens it scores
//
//	−Factor · min(max(L − (Max − Buffer), 0) / Buffer, 1)
//
// or the same without the minimum if Uncapped. As that is never above 0, add it
// to the task's reward as a weighted outcome beside it; Combine would take a
// mean. Asked about one step, it counts that step's tokens. A trace that was
// parsed without token offsets is unscorable, "no token offsets". SoftOverlong
// panics on settings that Validate rejects.
func SoftOverlong[E any](o Overlong) Rule[E] {
	if err := o.Validate(); err != nil {
		panic(err.Error())
	}
	o.Factor = cmp.Or(o.Factor, 1)
	return RuleFunc[E](func(_ context.Context, _ E, trace *prompt.Trace, step int) (Score, error) {
		n, s := tokens(trace, step)
		excess := n - (o.Max - o.Buffer)
		switch {
		case !s.Scorable():
			return s, nil
		case excess <= 0:
			return Score{Value: 0}, nil
		case excess >= o.Buffer && !o.Uncapped:
			return Score{Value: -o.Factor}, nil
		}
		return Score{Value: -o.Factor * float64(excess) / float64(o.Buffer)}, nil
	})
}

// tokens counts the tokens of the step, or of the whole completion; if it
// cannot, the score is unscorable and says why.
func tokens(trace *prompt.Trace, step int) (int, Score) {
	switch {
	case trace.Tokens == 0 && trace.Text != "":
		return 0, Unscorable("no token offsets")
	case step == WholeCompletion:
		return trace.Tokens, Score{}
	}
	s := asked(trace, step)
	if s.Status != prompt.StatusOK {
		return 0, broken(s)
	}
	return s.Tokens.Len(), Score{}
}

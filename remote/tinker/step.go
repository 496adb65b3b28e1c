package tinker

import (
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
)

// sequence is one sample as the server sees it. It has a target for each token but
// the first.
type sequence struct {
	tokens []int32   // prompt and completion
	at     int       // index of the first target that grad is about
	grad   []float64 // d(loss)/d(log-prob) of the targets from at on
	logp   []float32 // of all targets, as forward returned them
}

func (s *sequence) inputs(more ...wire.Tensor) wire.Datum {
	n := len(s.tokens) - 1
	targets := make([]int64, n)
	for i, id := range s.tokens[1:] {
		targets[i] = int64(id)
	}
	return wire.Datum{Tokens: s.tokens[:n], Inputs: append([]wire.Tensor{{Name: "target_tokens", Ints: targets}}, more...)}
}

// forward returns the datum of a pass that only computes log-probs.
func (s *sequence) forward() wire.Datum {
	return s.inputs(wire.Tensor{Name: "weights", Floats: make([]float32, len(s.tokens)-1)})
}

// linear returns the datum whose loss has the gradient grad, with advantages
// multiplied by factor. The loss is importance_sampling,
//
//	−Σ_t exp(logp_t − logprobs_t)·advantages_t,
//
// whose derivative at logp = logprobs is −advantages: it takes both signs, and needs
// no weights, by which some servers divide.
func (s *sequence) linear(factor float64) wire.Datum {
	advantages := make([]float32, len(s.tokens)-1)
	for t, g := range s.grad {
		advantages[s.at+t] = float32(-g * factor)
	}
	return s.inputs(wire.Tensor{Name: "advantages", Floats: advantages}, wire.Tensor{Name: "logprobs", Floats: s.logp})
}

// step is an optimiser step: all passes and then the step itself, sent back to back.
// Run can be repeated after an error: it goes on with the first request that was not
// answered, which the server recognises if it had arrived.
type step struct {
	m         *model
	sequences []sequence
	calls     []call // the last one is optim_step
	ids       []string
	checked   int // calls whose result was read
}

// step prepares an optimiser step on the summed losses of sequences.
func (m *model) step(sequences []sequence, s Scaling, lr float64, a Adam) *step {
	data := make([]wire.Datum, len(sequences))
	for i := range sequences {
		q := &sequences[i]
		data[i] = q.linear(s.factor(len(q.tokens)-1, len(sequences)))
	}
	st := &step{m: m, sequences: sequences}
	for _, part := range chunks(data) {
		st.calls = append(st.calls, m.pass(part, "importance_sampling", false))
	}
	st.calls = append(st.calls, m.optim(lr, a))
	return st
}

// run returns the gradient norm; ok is false if the server reports none. After a
// *failure or a *changed the server's weights are not those of a whole step, and run
// must not be repeated.
func (s *step) run(ctx context.Context) (norm float64, ok bool, err error) {
	for len(s.ids) < len(s.calls) {
		id, err := s.m.c.submit(ctx, s.calls[len(s.ids)].r)
		if err != nil {
			return 0, false, err
		}
		s.ids = append(s.ids, id)
	}
	last := len(s.calls) - 1
	for ; s.checked < last; s.checked++ {
		c := s.calls[s.checked]
		logp, err := s.m.outputs(ctx, s.ids[s.checked], c)
		if err != nil {
			return 0, false, err
		}
		part := s.sequences[:len(c.data)]
		s.sequences = s.sequences[len(c.data):]
		if err := checkSame(part, logp); err != nil {
			return 0, false, err
		}
	}
	return s.m.gradNorm(ctx, s.ids[last])
}

// changed says that the log-probs of a pass are not those that the loss was evaluated
// with, so that importance_sampling was not linear.
type changed struct {
	token     int
	got, want float32
}

func (c *changed) Error() string {
	return fmt.Sprintf("tinker: the server's log-prob of token %d went from %v to %v between two passes with the same weights", c.token, c.want, c.got)
}

// maxChange is the change of a log-prob at which its token's gradient is wrong by
// two thirds. Passes in half precision differ by less than 0.1.
const maxChange = 0.5

func checkSame(sequences []sequence, logp [][]float32) error {
	for i := range sequences {
		q := &sequences[i]
		for t, g := range q.grad {
			got, want := logp[i][q.at+t], q.logp[q.at+t]
			if d := math.Abs(float64(got) - float64(want)); g != 0 && !(d <= maxChange) {
				return &changed{q.at + t + 1, got, want}
			}
		}
	}
	return nil
}

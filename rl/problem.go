package rl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Problem is one example joined with its task: what to sample, and how to judge
// the completions. Package task makes problems from examples; you can also write
// your own.
type Problem interface {
	// Request returns the prompt and how many completions to sample, or an
	// error that says why this example has no prompt. The error ends the
	// collection; if the source is a Lister, NewTrainer finds it.
	Request() (rollout.Request, error)
	// Judge parses and scores one completion: it writes the judge's fields of
	// c. It may be called concurrently for different completions. An error
	// means that judging itself failed, and ends the collection, unless it is
	// a reward.ErrDrop, which drops the completion; what cannot be scored is
	// NaN instead, or VerdictUnknown.
	Judge(ctx context.Context, c *rollout.Completion) error
}

// Named is a Problem whose outcome rewards have names, which metrics then use.
// Problems of package task have them.
type Named interface {
	// RewardNames returns one name per outcome reward.
	RewardNames() []string
}

// Source yields problems. One goroutine uses it.
type Source interface {
	// Next returns the next problem, or io.EOF when there is none left.
	Next(ctx context.Context) (Problem, error)
	// State returns the source's position; Restore goes back there.
	State() ([]byte, error)
	Restore(state []byte) error
}

// Lister is a Source that knows all its problems. NewTrainer checks the request of
// each, so that one that cannot be sampled is found before the first training step.
type Lister interface {
	// List returns the problems that the source may yield, in any order.
	List() []Problem
}

// Observer is a Source that learns from results, such as a curriculum. The
// trainer shows it every collection before it draws problems for the next.
type Observer interface {
	// Observe receives the problems of a collection, including those that
	// dynamic sampling dropped, and the judged group of each. It must not
	// change or keep them.
	Observe(problems []Problem, groups []rollout.Group) error
}

// SliceSource yields a fixed list of problems in shuffled order, Epochs times,
// each time in another order that depends on the seed alone.
type SliceSource struct {
	// Problems is the list; it must not change while the source is in use.
	Problems []Problem
	// Seed decides the orders.
	Seed uint64
	// Epochs is how often to go through the list; 0 = without end.
	Epochs int

	epoch, next int
	order       []int
}

// Validate returns an error if Epochs is negative. NewTrainer calls it.
func (s *SliceSource) Validate() error {
	if s.Epochs < 0 {
		return fmt.Errorf("rl: SliceSource.Epochs is %d, must not be negative", s.Epochs)
	}
	return nil
}

// Next returns the next problem, or io.EOF after the last epoch.
func (s *SliceSource) Next(ctx context.Context) (Problem, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.next == len(s.Problems) {
		s.epoch, s.next, s.order = s.epoch+1, 0, nil
	}
	if len(s.Problems) == 0 || s.Epochs > 0 && s.epoch >= s.Epochs {
		return nil, io.EOF
	}
	if s.order == nil {
		s.order = rand.New(rand.NewPCG(s.Seed, uint64(s.epoch))).Perm(len(s.Problems))
	}
	p := s.Problems[s.order[s.next]]
	s.next++
	return p, nil
}

// List returns the problems; it makes the source a Lister.
func (s *SliceSource) List() []Problem { return s.Problems }

type sliceState struct{ Epoch, Next, Problems int }

// State returns epoch and position as JSON.
func (s *SliceSource) State() ([]byte, error) {
	return json.Marshal(sliceState{s.epoch, s.next, len(s.Problems)})
}

// Restore goes back to a State of a source with the same problems and seed.
func (s *SliceSource) Restore(b []byte) error {
	var st sliceState
	if err := json.Unmarshal(b, &st); err != nil {
		return fmt.Errorf("rl: slice source state: %w", err)
	}
	if st.Problems != len(s.Problems) || st.Epoch < 0 || st.Next < 0 || st.Next > st.Problems {
		return fmt.Errorf("rl: slice source state is for %d problems at position %d of epoch %d; the source has %d problems", st.Problems, st.Next, st.Epoch, len(s.Problems))
	}
	s.epoch, s.next, s.order = st.Epoch, st.Next, nil
	return nil
}

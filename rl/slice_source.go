package rl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
)

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

// State returns epoch and position.
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

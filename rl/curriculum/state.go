package curriculum

import (
	"encoding/json"
	"errors"
	"fmt"
)

const stateFormat = 1

// state is what State returns as JSON. Go writes float64 with as many digits as
// it takes to read the same bits again.
type state struct {
	Format    int       `json:"format"`
	Random    []byte    `json:"random"`
	Successes []float64 `json:"successes"`
	Trials    []float64 `json:"trials"`
	Drawn     []int     `json:"drawn"`
}

// State returns the random generator, the counts and the awaited draws.
func (s *Source) State() ([]byte, error) {
	random, err := s.pcg.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("curriculum: %w", err)
	}
	st := state{Format: stateFormat, Random: random, Drawn: append([]int{}, s.drawn...)}
	for _, c := range s.counts {
		st.Successes = append(st.Successes, c.successes)
		st.Trials = append(st.Trials, c.trials)
	}
	return json.Marshal(st)
}

// Restore goes back to a State of a source with the same problems and options.
// An error says what is wrong with the state, and leaves the source as it was.
func (s *Source) Restore(saved []byte) error {
	var st state
	if err := json.Unmarshal(saved, &st); err != nil {
		return fmt.Errorf("curriculum: state: %w", err)
	}
	if err := s.check(&st); err != nil {
		return fmt.Errorf("curriculum: state: %w", err)
	}
	if err := s.pcg.UnmarshalBinary(st.Random); err != nil {
		return fmt.Errorf("curriculum: state: random: %w", err)
	}
	s.drawn = s.drawn[:0]
	for i := range s.counts {
		s.counts[i] = count{st.Successes[i], st.Trials[i]}
		s.awaited[i] = false
		s.offer(i)
	}
	for _, i := range st.Drawn {
		s.await(i)
	}
	return nil
}

func (s *Source) check(st *state) error {
	n := len(s.problems)
	switch {
	case st.Format != stateFormat:
		return fmt.Errorf("format is %d, want %d", st.Format, stateFormat)
	case len(st.Successes) != n || len(st.Trials) != n:
		return fmt.Errorf("it is of %d and %d problems, the source has %d", len(st.Successes), len(st.Trials), n)
	case len(st.Random) == 0:
		return errors.New("random is missing")
	}
	for i, trials := range st.Trials {
		if v := st.Successes[i]; !(0 <= v && v <= trials) {
			return fmt.Errorf("problem %d has %v successes in %v trials", i, v, trials)
		}
	}
	drawn := make(map[int]bool, len(st.Drawn))
	for _, i := range st.Drawn {
		if i < 0 || i >= n || drawn[i] {
			return fmt.Errorf("drawn problem %d is outside the source's %d, or drawn twice", i, n)
		}
		drawn[i] = true
	}
	return nil
}

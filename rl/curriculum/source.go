package curriculum

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Source draws from a fixed list of problems without end. It is an rl.Source
// and an rl.Observer, used by one goroutine.
//
// A problem that was drawn is not drawn again before the next Observe, or before all
// problems have been drawn. So no collection has a problem twice, unless more are
// drawn between two observations than there are (for a large collection, by dynamic
// sampling, with rl.Async); and without any observations the source goes through the
// list again and again.
type Source struct {
	o        Options
	problems []rl.Problem
	index    map[rl.Problem]int

	pcg    *rand.PCG
	random *rand.Rand
	counts []count
	drawn  []int // awaited, in the order of the draws

	digest string // of the problems, once it is needed

	weights tree // of the problems that are not awaited
	even    tree // 1 for each of them
}

// count holds the observations of a problem.
type count struct{ successes, trials float64 }

// New returns a source over problems, which must not change. Observe tells
// problems apart by ==, so it is an error if two are equal or one cannot be
// compared (a pointer always can; task.Task.Bind returns one). Other errors are those
// of Options.Validate.
func New(problems []rl.Problem, o Options) (*Source, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if len(problems) == 0 {
		return nil, errors.New("curriculum: no problems to draw from")
	}
	s := &Source{
		o:        o,
		problems: problems,
		index:    make(map[rl.Problem]int, len(problems)),
		pcg:      rand.NewPCG(o.Seed, 0),
		counts:   make([]count, len(problems)),
		weights:  newTree(len(problems)),
		even:     newTree(len(problems)),
	}
	s.random = rand.New(s.pcg)
	for i, p := range problems {
		if p == nil || !reflect.ValueOf(p).Comparable() {
			return nil, fmt.Errorf("curriculum: problem %d, a %T, cannot be compared: use a pointer", i, p)
		}
		if j, ok := s.index[p]; ok {
			return nil, fmt.Errorf("curriculum: problems %d and %d are equal", j, i)
		}
		s.index[p] = i
		s.offer(i)
	}
	return s, nil
}

// List returns the problems; it makes the source an rl.Lister.
func (s *Source) List() []rl.Problem { return s.problems }

// Next draws a problem.
func (s *Source) Next(ctx context.Context) (rl.Problem, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(s.drawn) == len(s.problems) {
		s.forget()
	}
	from := &s.weights
	if explore := s.random.Float64() < s.o.Explore; explore || s.weights.total() <= 0 {
		from = &s.even
	}
	i := from.find(s.random.Float64())
	s.await(i)
	return s.problems[i], nil
}

// Observe implements rl.Observer: it counts the successes of each group, and no
// longer awaits any problem. A problem that is not the source's is an error, and
// so is a Success outside [0, 1]; then nothing is counted. It panics unless there
// is one group per problem.
func (s *Source) Observe(problems []rl.Problem, groups []rollout.Group) error {
	if len(problems) != len(groups) {
		panic(fmt.Sprintf("curriculum: %d problems and %d groups", len(problems), len(groups)))
	}
	indices, seen := make([]int, len(problems)), make([]count, len(problems))
	for k, p := range problems {
		i, ok := s.lookUp(p)
		if !ok {
			return fmt.Errorf("curriculum: problem %d of the collection, a %T, was not drawn from this source", k, p)
		}
		indices[k] = i
		for c := range groups[k] {
			v := s.o.Success(&groups[k][c])
			switch {
			case math.IsNaN(v):
			case v < 0 || v > 1:
				return fmt.Errorf("curriculum: completion %d of problem %d of the collection: success %v, want 0 to 1 or NaN", c, k, v)
			default:
				seen[k].successes += v
				seen[k].trials++
			}
		}
	}
	for k, i := range indices {
		if seen[k].trials == 0 {
			continue
		}
		c := &s.counts[i]
		c.successes = s.o.Decay*c.successes + seen[k].successes
		c.trials = s.o.Decay*c.trials + seen[k].trials
		s.offer(i)
	}
	s.forget()
	return nil
}

func (s *Source) lookUp(p rl.Problem) (int, bool) {
	if p == nil || !reflect.ValueOf(p).Comparable() {
		return 0, false
	}
	i, ok := s.index[p]
	return i, ok
}

// Rate returns the estimated success rate of problem i, and the number of
// completions, the older ones discounted, that it is based on besides the prior.
func (s *Source) Rate(i int) (rate, trials float64) {
	c := s.counts[i]
	prior := s.o.PriorWeight
	return (c.successes + s.o.PriorRate*prior) / (c.trials + prior), c.trials
}

// await takes problem i out of the draws until its results are in.
func (s *Source) await(i int) {
	s.drawn = append(s.drawn, i)
	s.weights.set(i, 0)
	s.even.set(i, 0)
}

// forget ends the waiting for all problems.
func (s *Source) forget() {
	for _, i := range s.drawn {
		s.offer(i)
	}
	s.drawn = s.drawn[:0]
}

// offer lets problem i be drawn with its present weight.
func (s *Source) offer(i int) {
	rate, _ := s.Rate(i)
	w := s.o.Weight(rate)
	if !(w >= 0) || math.IsInf(w, 0) {
		panic(fmt.Sprintf("curriculum: Options.Weight of rate %v is %v, want a finite number of at least 0", rate, w))
	}
	s.weights.set(i, w)
	s.even.set(i, 1)
}

// Summary describes the estimates of all problems.
type Summary struct {
	// Problems is their number, Seen how many of them have been judged.
	Problems, Seen int
	// Solved and Hopeless count the seen problems whose estimated rate is
	// above 0.9 and below 0.1.
	Solved, Hopeless int
	// Rate is the mean estimated rate of the seen problems; NaN if there are none.
	Rate float64
}

// Summary describes the estimates as they are now.
func (s *Source) Summary() Summary {
	m := Summary{Problems: len(s.problems)}
	for i := range s.counts {
		rate, trials := s.Rate(i)
		if trials == 0 {
			continue
		}
		m.Seen++
		m.Rate += rate
		switch {
		case rate > .9:
			m.Solved++
		case rate < .1:
			m.Hopeless++
		}
	}
	m.Rate /= float64(m.Seen)
	return m
}

const stateFormat = 2

// state is the JSON of State. Go writes float64 with as many digits as
// it takes to read the same bits again.
type state struct {
	Format    int        `json:"format"`
	Seed      uint64     `json:"seed"`
	Digest    string     `json:"digest"`
	Explore   float64    `json:"explore"`
	Decay     float64    `json:"decay"`
	Prior     [2]float64 `json:"prior"`
	Random    []byte     `json:"random"`
	Successes []float64  `json:"successes"`
	Trials    []float64  `json:"trials"`
	Drawn     []int      `json:"drawn"`
}

// identity returns a state with what does not change: options and problems.
func (s *Source) identity() (st state, err error) {
	if s.digest == "" {
		if s.digest, err = rl.Digest(s.problems); err != nil {
			return st, fmt.Errorf("curriculum: %w", err)
		}
	}
	o := s.o
	return state{Format: stateFormat, Seed: o.Seed, Digest: s.digest, Explore: o.Explore, Decay: o.Decay, Prior: [2]float64{o.PriorRate, o.PriorWeight}}, nil
}

// State returns the random generator, the counts and the awaited draws as JSON, with
// the options that are numbers and the rl.Digest of the problems.
func (s *Source) State() ([]byte, error) {
	st, err := s.identity()
	if err != nil {
		return nil, err
	}
	if st.Random, err = s.pcg.MarshalBinary(); err != nil {
		return nil, fmt.Errorf("curriculum: %w", err)
	}
	st.Drawn = append([]int{}, s.drawn...)
	for _, c := range s.counts {
		st.Successes = append(st.Successes, c.successes)
		st.Trials = append(st.Trials, c.trials)
	}
	return json.Marshal(st)
}

// Restore goes back to a State of a source with the same problems, in the same order,
// and the same options; other problems and other numbers are an error that names
// them. An error leaves the source as it was.
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
		s.offer(i)
	}
	for _, i := range st.Drawn {
		s.await(i)
	}
	return nil
}

func (s *Source) check(st *state) error {
	n := len(s.problems)
	own, err := s.identity()
	if err != nil {
		return err
	}
	switch {
	case st.Format != stateFormat:
		return fmt.Errorf("format is %d, want %d", st.Format, stateFormat)
	case len(st.Successes) != n || len(st.Trials) != n:
		return fmt.Errorf("it is of %d and %d problems, the source has %d", len(st.Successes), len(st.Trials), n)
	case st.Seed != own.Seed:
		return fmt.Errorf("it is of seed %d, Options.Seed is %d", st.Seed, own.Seed)
	case st.Explore != own.Explore || st.Decay != own.Decay || st.Prior != own.Prior:
		return fmt.Errorf("it is of Explore %v, Decay %v, PriorRate and PriorWeight %v; the source has %v, %v and %v",
			st.Explore, st.Decay, st.Prior, own.Explore, own.Decay, own.Prior)
	case st.Digest != own.Digest:
		return fmt.Errorf("it is of other problems, or another order of them: their digest is %.12s…, the source's is %.12s…", st.Digest, own.Digest)
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

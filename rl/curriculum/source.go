package curriculum

import (
	"context"
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
// A problem whose results are still awaited is not drawn a second time, unless
// all of them are: a collection has no problem twice, and without any
// observations the source goes through the list again and again.
type Source struct {
	o        Options
	problems []rl.Problem
	index    map[rl.Problem]int

	pcg     *rand.PCG
	random  *rand.Rand
	counts  []count
	drawn   []int // awaited, in the order of the draws
	awaited []bool

	weights tree // of the problems that are not awaited
	even    tree // 1 for each of those
}

// count is what was seen of a problem.
type count struct{ successes, trials float64 }

// New returns a source over problems, which must not change. Problems are told
// apart by ==, which Observe needs: it is an error if two are equal or one
// cannot be compared (a pointer always can; task.Bind returns one). Other errors
// name the option that cannot be.
func New(problems []rl.Problem, o Options) (*Source, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if len(problems) == 0 {
		return nil, errors.New("curriculum: no problems to draw from")
	}
	s := &Source{
		o:        o,
		problems: problems,
		index:    make(map[rl.Problem]int, len(problems)),
		pcg:      rand.NewPCG(o.Seed, 0),
		counts:   make([]count, len(problems)),
		awaited:  make([]bool, len(problems)),
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

// Observe implements rl.Observer: it counts the successes of each group, and
// no longer waits for any problem. A problem that is not the source's is an
// error, and so is a Success outside [0, 1]; nothing is counted then.
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

// Rate returns the estimated success rate of problem i, and how many
// completions, older ones discounted, it rests on besides the prior.
func (s *Source) Rate(i int) (rate, trials float64) {
	c := s.counts[i]
	prior := s.o.PriorWeight
	return (c.successes + s.o.PriorRate*prior) / (c.trials + prior), c.trials
}

// await takes problem i out of the draws until its results are in.
func (s *Source) await(i int) {
	s.drawn, s.awaited[i] = append(s.drawn, i), true
	s.weights.set(i, 0)
	s.even.set(i, 0)
}

// forget no longer waits for any problem.
func (s *Source) forget() {
	for _, i := range s.drawn {
		s.awaited[i] = false
		s.offer(i)
	}
	s.drawn = s.drawn[:0]
}

// offer lets problem i be drawn by what it is worth now.
func (s *Source) offer(i int) {
	rate, _ := s.Rate(i)
	w := s.o.Weight(rate)
	if !(w >= 0) || math.IsInf(w, 0) {
		panic(fmt.Sprintf("curriculum: Options.Weight of rate %v is %v, want a finite number from 0 on", rate, w))
	}
	s.weights.set(i, w)
	s.even.set(i, 1)
}

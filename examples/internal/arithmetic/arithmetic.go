// Package arithmetic is a task whose every step is verified by calculation: a chain of
// sums, one step for each number that is added. It needs no data.
package arithmetic

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/task"
)

// Sum is a chain of numbers to add.
type Sum struct {
	ID      string
	Numbers []int
}

// Text writes the chain as the model reads it: "17+5+23".
func (s Sum) Text() string {
	var b strings.Builder
	for i, n := range s.Numbers {
		if i > 0 {
			b.WriteByte('+')
		}
		b.WriteString(strconv.Itoa(n))
	}
	return b.String()
}

// Partial is the sum of the first k+2 numbers, which is the answer of step k.
func (s Sum) Partial(k int) int {
	total := 0
	for _, n := range s.Numbers[:k+2] {
		total += n
	}
	return total
}

// Answer is the last partial sum as text.
func (s Sum) Answer() string { return strconv.Itoa(s.Partial(len(s.Numbers) - 2)) }

// Example returns sum i of a stream without end; each is determined by seed and i.
// It has steps+1 numbers from 1 to 39.
func Example(seed uint64, i, steps int) Sum {
	rng := rand.New(rand.NewPCG(seed, uint64(i)))
	s := Sum{ID: fmt.Sprintf("sum-%d", i)}
	for range steps + 1 {
		s.Numbers = append(s.Numbers, 1+rng.IntN(39))
	}
	return s
}

// The test sets that Draw knows, beside Train.
const (
	Train    = ""
	Random   = "RANDOM"
	LongTail = "LONGTAIL"
)

// Draw returns sum i of a set. No sum is in two sets: LONGTAIL has those of which most
// numbers are from 30 on, RANDOM an eighth of the others, training the rest.
func Draw(seed uint64, set string, i, steps int) Sum {
	for again := uint64(0); ; again++ {
		if s := Example(seed+again<<32, i, steps); s.set(seed) == set {
			return s
		}
	}
}

// set is the only set that may hold a sum.
func (s Sum) set(seed uint64) string {
	large := 0
	for _, n := range s.Numbers {
		if n >= 30 {
			large++
		}
	}
	h := fnv.New64a()
	io.WriteString(h, s.Text())
	switch {
	case 2*large > len(s.Numbers):
		return LongTail
	case rand.New(rand.NewPCG(h.Sum64(), seed<<16)).Float64() < 1./8:
		return Random
	}
	return Train
}

// Teacher writes traces that err on purpose.
type Teacher struct {
	// Slip is the probability that a step is off by 1 or 10; later steps go on from
	// what was written.
	Slip float64
	// Glance is the probability that the last step states the true sum, whatever the
	// steps before it came to.
	Glance float64
}

// Trace writes a trace, a thought per step.
func (t Teacher) Trace(s Sum, rng *rand.Rand) []prompt.Written {
	written := make([]prompt.Written, len(s.Numbers)-1)
	total := s.Numbers[0]
	for k := range written {
		last := k == len(written)-1
		reasoning := fmt.Sprintf("%d+%d", total, s.Numbers[k+1])
		total += s.Numbers[k+1]
		if rng.Float64() < t.Slip {
			total += [...]int{-10, -1, 1, 10}[rng.IntN(4)]
		}
		if last && rng.Float64() < t.Glance {
			total = s.Partial(k)
		}
		written[k] = prompt.Written{Reasoning: reasoning, Answer: strconv.Itoa(total)}
	}
	return written
}

// Definition is the task with so many steps. A step is right if its answer is the true
// partial sum; the outcome is that of the last.
func Definition(steps int) task.Definition[Sum] {
	d := task.Definition[Sum]{
		System:   "Add the numbers from left to right, one a step.",
		Compact:  true,
		Input:    Sum.Text,
		ID:       func(s Sum) string { return s.ID },
		Outcomes: []task.Outcome[Sum]{{Name: "sum", Rule: reward.ExactLabel(Sum.Answer)}},
	}
	for k := range steps {
		d.Steps = append(d.Steps, task.Step[Sum]{
			Name: fmt.Sprintf("sum %d", k+1), Instruction: "Add the next number.",
			Rule: reward.ExactLabel(func(s Sum) string { return strconv.Itoa(s.Partial(k)) }),
		})
	}
	return d
}

package explain

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// World is the small world of Credit. A completion has a right or wrong answer
// (outcome reward 1 or 0) and some steps of one token each, right or wrong
// independently of each other given the answer (step rewards 1 or 0).
type World struct {
	// GroupSize is the number of completions in a group.
	GroupSize int
	// Steps is the number of steps. No step is the final one.
	Steps int
	// Success is the probability of a right answer.
	Success float64
	// RightInRight and RightInWrong are the probabilities that a step is right
	// in a right and in a wrong answer.
	RightInRight, RightInWrong float64
}

// Typical is a prompt that is solved half of the time, in groups of four with
// two steps, with the shares of right steps that arXiv:2605.17291 reports:
// 18.2% of the steps of right answers are wrong and 49.9% of the steps of wrong
// answers are right.
func Typical() World {
	return World{GroupSize: 4, Steps: 2, Success: .5, RightInRight: .818, RightInWrong: .499}
}

// Value is what the credit makes of one combination of answer and step.
type Value struct {
	// Answer and Step say whether they are right.
	Answer, Step bool
	// Prob is the probability of the combination.
	Prob float64
	// Credit and Outcome are the implied value under the credit and without
	// any, less those of a wrong step in a wrong answer.
	Credit, Outcome float64
	// Noise is the standard deviation of the advantage that the credit gives
	// the step, given the combination.
	Noise float64
}

// Bias is what the credit pays beyond the outcome.
func (v Value) Bias() float64 { return difference(v.Credit, v.Outcome) }

// Report says what a credit optimises.
type Report struct {
	World World
	// Steps holds the reward table that the credit implies for each step: the
	// values of (answer, step) = (1,1), (1,0), (0,1), (0,0).
	Steps [][4]Value
}

// Credit lists all groups of the setting and returns the value that the credit
// implies for each step: the mean advantage of the step given the answer and
// the step, up to a constant. Its gradient through the step's tokens, with
// these values held fixed, is the mean gradient that a training step takes.
// Where the advantage depends on other steps too (Prefix, ReturnToGo), the
// value is the mean over them.
func Credit(est advantage.Estimator, credit sam.Credit, s World) (*Report, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	types := s.types()
	credited, err := tables(types, s, est, credit)
	if err != nil {
		return nil, err
	}
	outcome, err := tables(types, s, est, sam.Outcome{})
	if err != nil {
		return nil, err
	}
	r := &Report{World: s, Steps: make([][4]Value, s.Steps)}
	for k := range r.Steps {
		for cell := range 4 {
			answer, step := cell < 2, cell%2 == 0
			c := &credited[k][cell]
			r.Steps[k][cell] = Value{
				Answer: answer, Step: step,
				Prob:    c.weight / float64(s.GroupSize),
				Credit:  difference(c.mean(), credited[k][3].mean()),
				Outcome: difference(outcome[k][cell].mean(), outcome[k][3].mean()),
				Noise:   c.std(),
			}
		}
	}
	return r, nil
}

// difference is a − b, and 0 where only rounding makes a difference.
func difference(a, b float64) float64 {
	if math.Abs(a-b) < 1e-12 {
		return 0
	}
	return a - b
}

// String formats the report as a table.
func (r *Report) String() string {
	var b strings.Builder
	s := r.World
	fmt.Fprintf(&b, "groups of %d, %.3g of the answers right, steps right: %.3g in right answers, %.3g in wrong ones\n",
		s.GroupSize, s.Success, s.RightInRight, s.RightInWrong)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "step\tanswer\tstep is\tshare\tvalue\toutcome alone\tbias\tnoise\t")
	word := map[bool]string{true: "right", false: "wrong"}
	for k, step := range r.Steps {
		for _, v := range step {
			fmt.Fprintf(w, "%d\t%s\t%s\t%.3f\t%.4f\t%.4f\t%+.4f\t%.4f\t\n",
				k+1, word[v.Answer], word[v.Step], v.Prob, v.Credit, v.Outcome, v.Bias(), v.Noise)
		}
	}
	if err := w.Flush(); err != nil {
		panic(err) // a strings.Builder takes everything
	}
	return b.String()
}

// Validate returns an error that names what is wrong with the setting.
func (s World) Validate() error {
	if s.GroupSize < 1 || s.Steps < 1 {
		return fmt.Errorf("explain: groups of %d with %d steps, want at least 1 of each", s.GroupSize, s.Steps)
	}
	if s.Steps > 8 {
		return fmt.Errorf("explain: %d steps, want at most 8", s.Steps)
	}
	for _, p := range []float64{s.Success, s.RightInRight, s.RightInWrong} {
		if !(p > 0 && p < 1) {
			return errors.New("explain: Success, RightInRight and RightInWrong must lie between 0 and 1, so that every combination occurs")
		}
	}
	return nil
}

// types lists all completions; the number of a type has the answer in its
// lowest bit and step k in bit k+1.
func (s World) types() []Type {
	types := make([]Type, 2<<s.Steps)
	for j := range types {
		answer := j & 1
		p, right := 1-s.Success, s.RightInWrong
		if answer == 1 {
			p, right = s.Success, s.RightInRight
		}
		c := rollout.Completion{Rewards: []float64{float64(answer)}, Tokens: make([]int32, s.Steps), Final: -1}
		for k := range s.Steps {
			st := rollout.Step{Name: fmt.Sprint(k + 1), Start: k, End: k + 1, Verdict: rollout.VerdictIncorrect}
			if j>>(k+1)&1 == 1 {
				st.Verdict, st.Reward = rollout.VerdictCorrect, 1
				p *= right
			} else {
				p *= 1 - right
			}
			c.Steps = append(c.Steps, st)
		}
		types[j] = Type{c, p}
	}
	return types
}

// sums are the weighted moments of the advantages in one cell of a table.
type sums struct{ weight, sum, squares float64 }

func (s sums) mean() float64 { return s.sum / s.weight }

func (s sums) std() float64 {
	return math.Sqrt(max(0, s.squares/s.weight-s.mean()*s.mean()))
}

// tables sums up the advantages of each step by answer and verdict, in the
// order of Report.Steps.
func tables(types []Type, s World, est advantage.Estimator, credit sam.Credit) ([][4]sums, error) {
	cells := make([][4]sums, s.Steps)
	err := Groups(types, s.GroupSize, est, credit, func(prob float64, pick []int, g rollout.Group) {
		for i, j := range pick {
			for k := range cells {
				c := &cells[k][3-2*(j&1)-(j>>(k+1)&1)]
				a := g[i].Adv[k]
				c.weight += prob
				c.sum += prob * a
				c.squares += prob * a * a
			}
		}
	})
	return cells, err
}

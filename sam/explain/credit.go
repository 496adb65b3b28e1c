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

// World is the distribution of Credit's completions. Each has a right or wrong answer
// (outcome reward 1 or 0) and some steps of one token each. Given the answer, the
// steps are right or wrong (step reward 1 or 0) independently of each other.
type World struct {
	// GroupSize is the number of completions in a group.
	GroupSize int
	// Steps is the number of steps, at most 8. None of them is the final step.
	Steps int
	// Success is the probability of a right answer.
	Success float64
	// RightInRight and RightInWrong are the probabilities that a step is right
	// in a right and in a wrong answer.
	RightInRight, RightInWrong float64
}

// Typical is a prompt that is solved half of the time, with groups of four, two
// steps, and the shares of right steps that arXiv:2605.17291 reports: 18.2% of the
// steps of right answers are wrong, and 49.9% of the steps of wrong answers are
// right.
func Typical() World {
	return World{GroupSize: 4, Steps: 2, Success: .5, RightInRight: .818, RightInWrong: .499}
}

// Value is the value that a credit implies for one combination of answer and step.
type Value struct {
	// Answer and Step say whether they are right.
	Answer, Step bool
	// Prob is the probability of the combination.
	Prob float64
	// Credit and Outcome are the implied values under the credit and under
	// sam.Outcome, each less that of a wrong step in a wrong answer.
	Credit, Outcome float64
	// Noise is the standard deviation of the step's advantage under the credit,
	// given the combination.
	Noise float64
}

// Bias is the value under the credit less that under sam.Outcome.
func (v Value) Bias() float64 { return difference(v.Credit, v.Outcome) }

// Report is the value that a credit optimises.
type Report struct {
	World World
	// Steps holds the reward table that the credit implies for each step: the
	// values of (answer, step) = (1,1), (1,0), (0,1), (0,0).
	Steps [][4]Value
}

// Credit lists all groups of the world and returns the value that the credit implies
// for each step: the mean advantage of the step given the answer and the step, up to
// a constant. The gradient of that value through the step's tokens, with the value
// held fixed, is the mean gradient that a training step takes. Where the advantage
// depends on other steps too (sam.Prefix, sam.ReturnToGo), the value is the mean
// over them.
func Credit(est advantage.Estimator, credit sam.Credit, w World) (*Report, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	types := w.types()
	credited, err := tables(types, w, est, credit)
	if err != nil {
		return nil, err
	}
	outcome, err := tables(types, w, est, sam.Outcome{})
	if err != nil {
		return nil, err
	}
	r := &Report{World: w, Steps: make([][4]Value, w.Steps)}
	for k := range r.Steps {
		for cell := range 4 {
			answer, step := cell < 2, cell%2 == 0
			c := &credited[k][cell]
			r.Steps[k][cell] = Value{
				Answer: answer, Step: step,
				Prob:    c.weight / float64(w.GroupSize),
				Credit:  difference(c.mean(), credited[k][3].mean()),
				Outcome: difference(outcome[k][cell].mean(), outcome[k][3].mean()),
				Noise:   c.std(),
			}
		}
	}
	return r, nil
}

// difference is a − b, or 0 if it is only due to rounding.
func difference(a, b float64) float64 {
	if math.Abs(a-b) < 1e-12 {
		return 0
	}
	return a - b
}

// String formats the report as a table.
func (r *Report) String() string {
	var b strings.Builder
	world := r.World
	fmt.Fprintf(&b, "groups of %d, %.3g of the answers right, steps right: %.3g in right answers, %.3g in wrong ones\n",
		world.GroupSize, world.Success, world.RightInRight, world.RightInWrong)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "step\tanswer\tstep is\tshare\tvalue\toutcome alone\tbias\tnoise\t")
	word := map[bool]string{true: "right", false: "wrong"}
	for k, step := range r.Steps {
		for _, v := range step {
			fmt.Fprintf(w, "%d\t%s\t%s\t%.4f\t%.4f\t%.4f\t%+.4f\t%.4f\t\n",
				k+1, word[v.Answer], word[v.Step], v.Prob, v.Credit, v.Outcome, v.Bias(), v.Noise)
		}
	}
	if err := w.Flush(); err != nil {
		panic(err) // a strings.Builder takes everything
	}
	return b.String()
}

// Validate returns an error that names the first invalid field.
func (w World) Validate() error {
	if w.GroupSize < 1 || w.Steps < 1 {
		return fmt.Errorf("explain: World.GroupSize is %d and World.Steps %d, want at least 1", w.GroupSize, w.Steps)
	}
	if w.Steps > 8 {
		return fmt.Errorf("explain: World.Steps is %d, want at most 8", w.Steps)
	}
	for _, p := range []float64{w.Success, w.RightInRight, w.RightInWrong} {
		if !(p > 0 && p < 1) {
			return errors.New("explain: World.Success, RightInRight and RightInWrong must be above 0 and below 1, so that every combination occurs")
		}
	}
	return nil
}

// types lists all completions; the number of a type has the answer in its
// lowest bit and step k in bit k+1.
func (w World) types() []Type {
	types := make([]Type, 2<<w.Steps)
	for j := range types {
		answer := j & 1
		p, right := 1-w.Success, w.RightInWrong
		if answer == 1 {
			p, right = w.Success, w.RightInRight
		}
		c := rollout.Completion{Rewards: []float64{float64(answer)}, Tokens: make([]int32, w.Steps)}
		for k := range w.Steps {
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
func tables(types []Type, w World, est advantage.Estimator, credit sam.Credit) ([][4]sums, error) {
	cells := make([][4]sums, w.Steps)
	err := Groups(types, w.GroupSize, est, credit, func(prob float64, pick []int, g rollout.Group) {
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

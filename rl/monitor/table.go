package monitor

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Verdict is a row of a StepTable: what the rule says of a step.
type Verdict uint8

// The rows. A step that the policy broke (missing, duplicate, out of order,
// truncated, unparsable) is Broken, not Incorrect; Unknown is what the rule
// cannot judge.
const (
	Correct Verdict = iota
	Incorrect
	Broken
	Unknown
)

// Outcome is a column of a StepTable: what became of the completion.
type Outcome uint8

// The columns. Unscored is a completion without a usable first reward.
const (
	Right Outcome = iota
	Wrong
	Unscored
)

var (
	verdictNames = [...]string{"correct", "incorrect", "broken", "unknown"}
	outcomeNames = [...]string{"right", "wrong", "unscored"}
)

// String returns "correct", "incorrect", "broken" or "unknown".
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict %d", uint8(v))
}

// String returns "right", "wrong" or "unscored".
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// StepTable counts the steps of one name by Verdict and Outcome:
// StepTable[Incorrect][Right] are the wrong steps of right completions.
type StepTable [4][3]int

// Of is the share of steps with verdict v; NaN without any step.
func (t *StepTable) Of(v Verdict) float64 {
	n, all := 0, 0
	for row := range t {
		for _, c := range t[row] {
			all += c
			if Verdict(row) == v {
				n += c
			}
		}
	}
	return ratio(n, all)
}

// Accuracy is the share of correct steps among correct, incorrect and broken ones.
func (t *StepTable) Accuracy() float64 {
	n, all := 0, 0
	for _, v := range []Verdict{Correct, Incorrect, Broken} {
		for _, c := range t[v] {
			all += c
			if v == Correct {
				n += c
			}
		}
	}
	return ratio(n, all)
}

// WrongIfRight is the share of wrong steps (incorrect or broken) among the
// judged steps of right completions: what outcome-only credit reinforces by
// mistake.
func (t *StepTable) WrongIfRight() float64 {
	wrong := t[Incorrect][Right] + t[Broken][Right]
	return ratio(wrong, wrong+t[Correct][Right])
}

// CorrectIfWrong is the share of correct steps among the judged steps of wrong
// completions: what outcome-only credit punishes by mistake.
func (t *StepTable) CorrectIfWrong() float64 {
	correct := t[Correct][Wrong]
	return ratio(correct, correct+t[Incorrect][Wrong]+t[Broken][Wrong])
}

// fourfold returns the judged steps of scored completions: a correct and right,
// b correct and wrong, c wrong and right, d wrong and wrong.
func (t *StepTable) fourfold() (a, b, c, d int) {
	return t[Correct][Right], t[Correct][Wrong],
		t[Incorrect][Right] + t[Broken][Right], t[Incorrect][Wrong] + t[Broken][Wrong]
}

// Agreement is the share of judged steps of scored completions that go with
// the outcome: correct where it is right, incorrect or broken where it is wrong.
func (t *StepTable) Agreement() float64 {
	a, b, c, d := t.fourfold()
	return ratio(a+d, a+b+c+d)
}

// Phi is the correlation of verdict and outcome over the same steps: 1 if they
// always agree, 0 if the verdict says nothing about the outcome, NaN if either
// never varies. Agreement rises with the reward alone; Phi does not.
func (t *StepTable) Phi() float64 {
	a, b, c, d := t.fourfold()
	f := func(n int) float64 { return float64(n) }
	return (f(a)*f(d) - f(b)*f(c)) / math.Sqrt(f(a+b)*f(c+d)*f(a+c)*f(b+d))
}

// Table is the reward-hacking table of some rollouts: what each step's rule
// said against what became of the completion.
type Table struct {
	// Steps holds a table per step name.
	Steps map[string]*StepTable `json:"steps"`
	// Completions counts completions by Outcome, and RightWithWrongStep the
	// right ones with at least one incorrect or broken step.
	Completions        [3]int `json:"completions"`
	RightWithWrongStep int    `json:"right_with_wrong_step"`
	// Reward is the sum of the first rewards of the scored completions.
	Reward float64 `json:"reward"`
	// Credited counts the completions that have tokens and went through step
	// credit, FullyMasked those of them without a kept token.
	Credited    int `json:"credited"`
	FullyMasked int `json:"fully_masked"`
	// Groups counts groups, Dead those that rl.DropConstant(0) drops.
	Groups int `json:"groups"`
	Dead   int `json:"dead"`
}

// Count makes the table of all that was sampled (see rl.Rollouts.Sampled). A
// completion is right if its first reward is at least passAt.
func Count(r *rl.Rollouts, passAt float64) Table {
	t := Table{Steps: make(map[string]*StepTable)}
	dead := rl.DropConstant(0)
	for _, g := range r.Sampled().Groups {
		t.Groups++
		if dead(g) != "" {
			t.Dead++
		}
		for i := range g {
			t.completion(&g[i], passAt)
		}
	}
	return t
}

func (t *Table) completion(c *rollout.Completion, passAt float64) {
	outcome := Unscored
	if v := firstReward(c.Rewards); !math.IsNaN(v) {
		t.Reward += v
		outcome = Wrong
		if v >= passAt {
			outcome = Right
		}
	}
	t.Completions[outcome]++
	wrongStep := false
	for _, s := range c.Steps {
		v := verdictOf(&s)
		wrongStep = wrongStep || v == Incorrect || v == Broken
		t.step(s.Name)[v][outcome]++
	}
	if outcome == Right && wrongStep {
		t.RightWithWrongStep++
	}
	if c.Tokens > 0 && len(c.Keep) == c.Tokens {
		t.Credited++
		if !slices.Contains(c.Keep, true) {
			t.FullyMasked++
		}
	}
}

func verdictOf(s *rollout.Step) Verdict {
	switch {
	case s.Broken:
		return Broken
	case s.Verdict == rollout.VerdictCorrect:
		return Correct
	case s.Verdict == rollout.VerdictIncorrect:
		return Incorrect
	}
	return Unknown
}

func (t *Table) step(name string) *StepTable {
	s := t.Steps[name]
	if s == nil {
		if t.Steps == nil {
			t.Steps = make(map[string]*StepTable)
		}
		s = new(StepTable)
		t.Steps[name] = s
	}
	return s
}

// Merge adds what o counted.
func (t *Table) Merge(o Table) {
	for name, s := range o.Steps {
		sum := t.step(name)
		for v := range s {
			for c := range s[v] {
				sum[v][c] += s[v][c]
			}
		}
	}
	for c := range t.Completions {
		t.Completions[c] += o.Completions[c]
	}
	t.RightWithWrongStep += o.RightWithWrongStep
	t.Reward += o.Reward
	t.Credited += o.Credited
	t.FullyMasked += o.FullyMasked
	t.Groups += o.Groups
	t.Dead += o.Dead
}

// Names returns the names of the steps, sorted.
func (t *Table) Names() []string { return slices.Sorted(maps.Keys(t.Steps)) }

// MeanReward is the mean first reward of the scored completions; NaN without any.
func (t *Table) MeanReward() float64 {
	return t.Reward / float64(t.Completions[Right]+t.Completions[Wrong])
}

// WrongStepIfRight is the share of right completions with a wrong step.
func (t *Table) WrongStepIfRight() float64 {
	return ratio(t.RightWithWrongStep, t.Completions[Right])
}

// MaskedShare is the share of credited completions that are fully masked.
func (t *Table) MaskedShare() float64 { return ratio(t.FullyMasked, t.Credited) }

// DeadShare is the share of dead groups.
func (t *Table) DeadShare() float64 { return ratio(t.Dead, t.Groups) }

// String lays the table out for reading: a line per step and verdict.
func (t *Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d completions right (%s with a wrong step), %d wrong, %d unscored; %s of %d groups dead\n",
		t.Completions[Right], percent(t.WrongStepIfRight()), t.Completions[Wrong], t.Completions[Unscored], percent(t.DeadShare()), t.Groups)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "step\tagreement\tphi\tverdict\tright\twrong\tunscored")
	for _, name := range t.Names() {
		s := t.Steps[name]
		head := fmt.Sprintf("%s\t%s\t%.2f", name, percent(s.Agreement()), s.Phi())
		for v := range s {
			fmt.Fprintf(w, "%s\t%v\t%d\t%d\t%d\n", head, Verdict(v), s[v][Right], s[v][Wrong], s[v][Unscored])
			head = "\t\t"
		}
	}
	w.Flush()
	return b.String()
}

func percent(share float64) string {
	if math.IsNaN(share) {
		return "none"
	}
	return fmt.Sprintf("%.1f%%", 100*share)
}

// ratio is n of all; NaN if all is 0.
func ratio(n, all int) float64 { return float64(n) / float64(all) }

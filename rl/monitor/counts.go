package monitor

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Result is whether a completion is right: the column of a StepCounts.
type Result uint8

const (
	// ResultRight: the first reward is at least the PassAt of the run.
	ResultRight Result = iota
	// ResultWrong: it is less.
	ResultWrong
	// ResultUnscorable: there is no first reward, or it is NaN.
	ResultUnscorable
)

var resultNames = [...]string{"right", "wrong", "unscorable"}

// String returns "right", "wrong" or "unscorable".
func (r Result) String() string {
	if int(r) < len(resultNames) {
		return resultNames[r]
	}
	return fmt.Sprintf("Result(%d)", uint8(r))
}

// StepCounts counts the steps of one name, indexed [verdict][result]. The number of
// incorrect steps in right completions is
//
//	counts[rollout.VerdictIncorrect][monitor.ResultRight]
type StepCounts [4][3]int

// judged are the verdicts but unknown.
var judged = []rollout.Verdict{rollout.VerdictCorrect, rollout.VerdictIncorrect, rollout.VerdictBroken}

// Of is the share of steps with verdict v; NaN without any step.
func (t *StepCounts) Of(v rollout.Verdict) float64 {
	n, all := 0, 0
	for row := range t {
		for _, c := range t[row] {
			all += c
			if rollout.Verdict(row) == v {
				n += c
			}
		}
	}
	return ratio(n, all)
}

// Accuracy is the share of correct steps among correct, incorrect and broken ones.
func (t *StepCounts) Accuracy() float64 {
	n, all := 0, 0
	for _, v := range judged {
		for _, c := range t[v] {
			all += c
			if v == rollout.VerdictCorrect {
				n += c
			}
		}
	}
	return ratio(n, all)
}

// WrongIfRight is the share of wrong steps (incorrect or broken) among the
// judged steps of right completions: what outcome-only credit reinforces by
// mistake.
func (t *StepCounts) WrongIfRight() float64 {
	wrong := t[rollout.VerdictIncorrect][ResultRight] + t[rollout.VerdictBroken][ResultRight]
	return ratio(wrong, wrong+t[rollout.VerdictCorrect][ResultRight])
}

// CorrectIfWrong is the share of correct steps among the judged steps of wrong
// completions: what outcome-only credit punishes by mistake.
func (t *StepCounts) CorrectIfWrong() float64 {
	correct := t[rollout.VerdictCorrect][ResultWrong]
	return ratio(correct, correct+t[rollout.VerdictIncorrect][ResultWrong]+t[rollout.VerdictBroken][ResultWrong])
}

// fourfold counts the judged steps of scorable completions by verdict and result:
// a correct in right ones, b correct in wrong ones, c wrong in right ones, d wrong
// in wrong ones.
func (t *StepCounts) fourfold() (a, b, c, d int) {
	return t[rollout.VerdictCorrect][ResultRight], t[rollout.VerdictCorrect][ResultWrong],
		t[rollout.VerdictIncorrect][ResultRight] + t[rollout.VerdictBroken][ResultRight], t[rollout.VerdictIncorrect][ResultWrong] + t[rollout.VerdictBroken][ResultWrong]
}

// Agreement is the share of judged steps of scorable completions that agree with
// the result: correct where it is right, incorrect or broken where it is wrong.
func (t *StepCounts) Agreement() float64 {
	a, b, c, d := t.fourfold()
	return ratio(a+d, a+b+c+d)
}

// Phi is the correlation of verdict and result over the same steps: 1 if they
// always agree, 0 if the verdict says nothing about the result, NaN if either
// never varies. Agreement rises when the reward does; Phi does not.
func (t *StepCounts) Phi() float64 {
	a, b, c, d := t.fourfold()
	f := func(n int) float64 { return float64(n) }
	return (f(a)*f(d) - f(b)*f(c)) / math.Sqrt(f(a+b)*f(c+d)*f(a+c)*f(b+d))
}

// Counts is the table of verdicts on each step against the results of the
// completions, over some rollouts. It shows reward hacking.
type Counts struct {
	// Steps holds a table per step name.
	Steps map[string]*StepCounts `json:"steps"`
	// Completions counts completions by Result, and RightWithWrongStep the
	// right ones with at least one incorrect or broken step.
	Completions        [3]int `json:"completions"`
	RightWithWrongStep int    `json:"right_with_wrong_step"`
	// Reward is the sum of the first rewards of the scorable completions.
	Reward float64 `json:"reward"`
	// Credited counts the completions that have tokens and went through step
	// credit, and FullyMasked those of them without a kept token.
	Credited    int `json:"credited"`
	FullyMasked int `json:"fully_masked"`
	// Groups counts groups, and Dead the dead ones.
	Groups int `json:"groups"`
	Dead   int `json:"dead"`
}

// Count makes the table of all groups that were sampled (rl.Rollouts.Sampled). A
// completion is right if its first reward is at least passAt; est, the run's
// estimator, decides which groups are dead.
func Count(r *rl.Rollouts, est advantage.Estimator, passAt float64) Counts {
	t := Counts{Steps: make(map[string]*StepCounts)}
	for _, g := range r.Sampled().Groups {
		t.Groups++
		if est.Dead(g) != "" {
			t.Dead++
		}
		for i := range g {
			t.completion(&g[i], passAt)
		}
	}
	return t
}

func (t *Counts) completion(c *rollout.Completion, passAt float64) {
	result := ResultUnscorable
	if v := firstReward(c.Rewards); !math.IsNaN(v) {
		t.Reward += v
		result = ResultWrong
		if v >= passAt {
			result = ResultRight
		}
	}
	t.Completions[result]++
	wrongStep := false
	for _, s := range c.Steps {
		wrongStep = wrongStep || s.Verdict.Wrong()
		t.step(s.Label())[s.Verdict][result]++
	}
	if result == ResultRight && wrongStep {
		t.RightWithWrongStep++
	}
	if n := len(c.Tokens); n > 0 && len(c.Keep) == n {
		t.Credited++
		if !slices.Contains(c.Keep, true) {
			t.FullyMasked++
		}
	}
}

func (t *Counts) step(name string) *StepCounts {
	s := t.Steps[name]
	if s == nil {
		if t.Steps == nil {
			t.Steps = make(map[string]*StepCounts)
		}
		s = new(StepCounts)
		t.Steps[name] = s
	}
	return s
}

// Merge adds what o counted.
func (t *Counts) Merge(o Counts) {
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
func (t *Counts) Names() []string { return slices.Sorted(maps.Keys(t.Steps)) }

// MeanReward is the mean first reward of the scorable completions; NaN without any.
func (t *Counts) MeanReward() float64 {
	return t.Reward / float64(t.Completions[ResultRight]+t.Completions[ResultWrong])
}

// WrongStepIfRight is the share of right completions with a wrong step.
func (t *Counts) WrongStepIfRight() float64 {
	return ratio(t.RightWithWrongStep, t.Completions[ResultRight])
}

// MaskedShare is the share of credited completions that are fully masked.
func (t *Counts) MaskedShare() float64 { return ratio(t.FullyMasked, t.Credited) }

// DeadShare is the share of dead groups.
func (t *Counts) DeadShare() float64 { return ratio(t.Dead, t.Groups) }

// String formats the table: a line per step and verdict.
func (t *Counts) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d completions right (%s with a wrong step), %d wrong, %d unscorable; %s of %d groups dead\n",
		t.Completions[ResultRight], percent(t.WrongStepIfRight()), t.Completions[ResultWrong], t.Completions[ResultUnscorable], percent(t.DeadShare()), t.Groups)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "step\tagreement\tphi\tverdict\tright\twrong\tunscorable")
	for _, name := range t.Names() {
		s := t.Steps[name]
		head := fmt.Sprintf("%s\t%s\t%.2f", name, percent(s.Agreement()), s.Phi())
		for _, v := range append(judged, rollout.VerdictUnknown) {
			fmt.Fprintf(w, "%s\t%v\t%d\t%d\t%d\n", head, v, s[v][ResultRight], s[v][ResultWrong], s[v][ResultUnscorable])
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

package monitor

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Drift is how one number moved from the steps before the window to those in
// it; NaN where there was nothing to measure.
type Drift struct {
	// Step is the name of the reasoning step; "" for the completions.
	Step string
	// Measure says what was measured, as the method of Counts or StepCounts
	// that computes it.
	Measure string
	// Before and Recent are computed on the merged tables Before and Recent.
	Before, Recent float64
}

// Drifts lists how every measure moved: first those of the completions, then
// those of each step, in the order of the names.
func (m *Monitor) Drifts() []Drift {
	before, recent := m.Before(), m.Recent()
	var out []Drift
	add := func(step, name string, f measure) {
		out = append(out, Drift{step, name, f(&before), f(&recent)})
	}
	add("", "MeanReward", (*Counts).MeanReward)
	add("", "WrongStepIfRight", (*Counts).WrongStepIfRight)
	add("", "MaskedShare", (*Counts).MaskedShare)
	add("", "DeadShare", (*Counts).DeadShare)
	all := merged([]Counts{before, recent})
	for _, step := range all.Names() {
		for _, d := range []struct {
			name string
			f    func(*StepCounts) float64
		}{
			{"Accuracy", (*StepCounts).Accuracy},
			{"Of(Broken)", func(s *StepCounts) float64 { return s.Of(rollout.VerdictBroken) }},
			{"Of(Unknown)", func(s *StepCounts) float64 { return s.Of(rollout.VerdictUnknown) }},
			{"WrongIfRight", (*StepCounts).WrongIfRight},
			{"CorrectIfWrong", (*StepCounts).CorrectIfWrong},
			{"Agreement", (*StepCounts).Agreement},
			{"Phi", (*StepCounts).Phi},
		} {
			add(step, d.name, ofStep(step, d.f))
		}
	}
	return out
}

// FormatDrifts lays drifts out for reading.
func FormatDrifts(drifts []Drift) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "step\tmeasure\tbefore\trecent\tchange")
	for _, d := range drifts {
		fmt.Fprintf(w, "%s\t%s\t%.3f\t%.3f\t%+.3f\n", d.Step, d.Measure, d.Before, d.Recent, d.Recent-d.Before)
	}
	w.Flush()
	return b.String()
}

package monitor

import "fmt"

// Kind names what an alarm is about.
type Kind string

// The kinds. Those that are Rising compare the last Options.Window training
// steps with those before; the others compare them with a limit.
const (
	// BrokenRising: a step is broken (missing, unparsable, …) more often than
	// before. A policy that hides from its rules shows here first.
	BrokenRising Kind = "broken_rising"
	// UnknownRising: the rule cannot judge a step more often than before.
	// Unknown verdicts keep the outcome's credit: a refuge, where the policy
	// can bring them about.
	UnknownRising Kind = "unknown_rising"
	// DisagreementRising: a step's verdicts agree with the outcome less than
	// before (1 − StepTable.Agreement rises). Either the rule is being gamed
	// or the reward is.
	DisagreementRising Kind = "disagreement_rising"
	// WrongStepsRising: more right completions have a wrong step than before,
	// while the reward rises too: answers are reached by other ways than the
	// steps.
	WrongStepsRising Kind = "wrong_steps_rising_with_reward"
	// FullyMasked: typically more completions than Options.MaxMasked have no
	// token left after step credit, and train nothing.
	FullyMasked Kind = "fully_masked"
	// DeadGroups: typically more groups than Options.MaxDead are dead. See
	// package curriculum and rl.DynamicSampling.
	DeadGroups Kind = "dead_groups"
)

// Alarm says that something in a run deserves a look.
type Alarm struct {
	Kind Kind
	// Step is the name of the reasoning step; "" if it concerns all.
	Step string
	// At is the training step at which the test was made.
	At int64
	// Reference is the mean of the measure over the steps before the window,
	// or the limit; Recent is its mean over the window.
	Reference, Recent float64
	// P is the test's p-value: how probable so large a difference would be if
	// nothing had changed.
	P float64
	// Reason says it in a sentence, numbers included.
	Reason string
}

// String returns the step and the reason.
func (a Alarm) String() string { return fmt.Sprintf("step %d: %s", a.At, a.Reason) }

// measure is a number that one training step's table gives; NaN if it does not.
type measure func(t *Table) float64

func ofStep(name string, f func(s *StepTable) float64) measure {
	return func(t *Table) float64 {
		if s := t.Steps[name]; s != nil {
			return f(s)
		}
		return f(&StepTable{})
	}
}

// stepAlarms are the alarms about each reasoning step.
var stepAlarms = []struct {
	kind   Kind
	of     func(s *StepTable) float64
	reason string // step, recent, reference
}{
	{BrokenRising, func(s *StepTable) float64 { return s.Of(Broken) },
		"step %q is missing or broken in %s of completions, before in %s"},
	{UnknownRising, func(s *StepTable) float64 { return s.Of(Unknown) },
		"step %q cannot be judged in %s of completions, before in %s"},
	{DisagreementRising, func(s *StepTable) float64 { return 1 - s.Agreement() },
		"the verdicts on step %q contradict the outcome in %s of completions, before in %s"},
}

package monitor

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/rollout"
)

// AlarmKind names what an alarm is about.
type AlarmKind string

// The kinds. Those that are Rising compare the last Options.Window training
// steps with those before; the others compare them with a limit.
const (
	// AlarmBrokenRising: a step is broken (missing, unparsable, …) more often than
	// before. A policy that hides from its rules shows here first.
	AlarmBrokenRising AlarmKind = "broken_rising"
	// AlarmUnknownRising: the rule cannot judge a step more often than before.
	// Unknown verdicts keep the outcome's credit: a loophole, where the policy
	// can bring them about.
	AlarmUnknownRising AlarmKind = "unknown_rising"
	// AlarmDisagreementRising: a step's verdicts agree with the outcome less than
	// before (1 − StepCounts.Agreement rises). Either the rule is being gamed
	// or the reward is.
	AlarmDisagreementRising AlarmKind = "disagreement_rising"
	// AlarmWrongStepsRising: more right completions have a wrong step than before,
	// while the reward rises too: answers are reached by other ways than the
	// steps.
	AlarmWrongStepsRising AlarmKind = "wrong_steps_rising_with_reward"
	// AlarmFullyMasked: typically more completions than Options.MaxMasked have no
	// token left after step credit, and train nothing.
	AlarmFullyMasked AlarmKind = "fully_masked"
	// AlarmDeadGroups: typically more groups than Options.MaxDead are dead. See
	// package curriculum and rl.DynamicSampling.
	AlarmDeadGroups AlarmKind = "dead_groups"
)

// Alarm says that something in a run deserves a look.
type Alarm struct {
	Kind AlarmKind
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
type measure func(t *Counts) float64

func ofStep(name string, f func(s *StepCounts) float64) measure {
	return func(t *Counts) float64 {
		if s := t.Steps[name]; s != nil {
			return f(s)
		}
		return f(&StepCounts{})
	}
}

// stepAlarms are the alarms about each reasoning step.
var stepAlarms = []struct {
	kind   AlarmKind
	of     func(s *StepCounts) float64
	reason string // step, recent, reference
}{
	{AlarmBrokenRising, func(s *StepCounts) float64 { return s.Of(rollout.VerdictBroken) },
		"step %q is missing or broken in %s of completions, before in %s"},
	{AlarmUnknownRising, func(s *StepCounts) float64 { return s.Of(rollout.VerdictUnknown) },
		"step %q cannot be judged in %s of completions, before in %s"},
	{AlarmDisagreementRising, func(s *StepCounts) float64 { return 1 - s.Agreement() },
		"the verdicts on step %q contradict the outcome in %s of completions, before in %s"},
}

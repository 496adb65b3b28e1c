package monitor

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/rollout"
)

// AlarmKind is the cause of an alarm.
type AlarmKind string

// The kinds of alarm. Those that end in Rising compare the last Options.Window
// training steps with those before; the others compare them with a limit.
const (
	// AlarmBrokenRising: a step is broken (missing, truncated, …) more often
	// than before. A policy that hides from its rules shows here first.
	AlarmBrokenRising AlarmKind = "broken_rising"
	// AlarmUnknownRising: a step cannot be judged more often than before. Such
	// a step keeps the outcome's credit: a loophole, if the policy can cause it.
	AlarmUnknownRising AlarmKind = "unknown_rising"
	// AlarmDisagreementRising: a step's verdicts agree with the outcome less than
	// before (1 − StepCounts.Agreement rises). Either the rule or the reward
	// is being gamed.
	AlarmDisagreementRising AlarmKind = "disagreement_rising"
	// AlarmWrongStepsRising: more right completions have a wrong step than
	// before, and the reward rises too: answers are not reached by the steps.
	AlarmWrongStepsRising AlarmKind = "wrong_steps_rising_with_reward"
	// AlarmFullyMasked: the share of completions without any token left after
	// step credit, which train nothing, is typically above Options.MaxMasked.
	AlarmFullyMasked AlarmKind = "fully_masked"
	// AlarmDeadGroups: the share of dead groups is typically above
	// Options.MaxDead. See package curriculum and rl.DynamicSampling.
	AlarmDeadGroups AlarmKind = "dead_groups"
)

// Alarm reports a number of a run that should be looked at.
type Alarm struct {
	Kind AlarmKind
	// Step is the name of the reasoning step; "" if the alarm is about all of them.
	Step string
	// At is the training step at which the test was made.
	At int64
	// Reference is the limit, or the mean of the measure over the training
	// steps before the window; Recent is its mean over the window.
	Reference, Recent float64
	// P is the test's p-value: the probability of such a difference if nothing
	// had changed.
	P float64
	// Reason describes the alarm in a sentence.
	Reason string
}

// String returns the training step and the reason.
func (a Alarm) String() string { return fmt.Sprintf("training step %d: %s", a.At, a.Reason) }

// measure computes a number from the table of a training step; NaN if it cannot.
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
		"step %q is missing or broken in %s of cases, before in %s"},
	{AlarmUnknownRising, func(s *StepCounts) float64 { return s.Of(rollout.VerdictUnknown) },
		"step %q cannot be judged in %s of cases, before in %s"},
	{AlarmDisagreementRising, func(s *StepCounts) float64 { return 1 - s.Agreement() },
		"the verdicts on step %q contradict the outcome in %s of judged cases, before in %s"},
}

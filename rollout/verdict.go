package rollout

import "github.com/stepwise-rl/stepwise/internal/settings"

// Verdict is the judgement of one step.
type Verdict uint8

const (
	// VerdictUnknown: no rule can judge the step, through no fault of the
	// policy.
	VerdictUnknown Verdict = iota
	// VerdictCorrect: the step is right.
	VerdictCorrect
	// VerdictIncorrect: the step is well-formed and wrong.
	VerdictIncorrect
	// VerdictBroken: the policy broke the step (missing, duplicate, out of
	// order, truncated, surplus, or with an invalid answer). It counts as wrong
	// unless an option says otherwise, because training would exploit anything
	// else.
	VerdictBroken
)

var verdictNames = []string{"unknown", "correct", "incorrect", "broken"}

// Wrong reports whether the step is incorrect or broken.
func (v Verdict) Wrong() bool { return v == VerdictIncorrect || v == VerdictBroken }

// Known reports whether the step could be judged: any verdict but unknown.
func (v Verdict) Known() bool { return v != VerdictUnknown }

// String returns "unknown", "correct", "incorrect" or "broken".
func (v Verdict) String() string { return settings.EnumString(verdictNames, v) }

// MarshalText returns the same; any other value is an error.
func (v Verdict) MarshalText() ([]byte, error) { return settings.EnumText(verdictNames, v) }

// UnmarshalText reads what MarshalText writes.
func (v *Verdict) UnmarshalText(text []byte) error { return settings.ParseEnum(verdictNames, text, v) }

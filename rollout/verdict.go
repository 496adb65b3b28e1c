package rollout

import "fmt"

// Verdict is the judgement of one step.
type Verdict uint8

const (
	// VerdictUnknown: no rule can judge the step, which is not the policy's
	// doing.
	VerdictUnknown Verdict = iota
	// VerdictCorrect: the step is right.
	VerdictCorrect
	// VerdictIncorrect: the step is well-formed and wrong.
	VerdictIncorrect
	// VerdictBroken: the policy broke the step (missing, duplicate, out of
	// order, truncated, unparsable, surplus). It counts as wrong unless an
	// option says otherwise, because training exploits any other treatment.
	VerdictBroken
)

var verdictNames = [...]string{"unknown", "correct", "incorrect", "broken"}

// Wrong reports whether the step is incorrect or broken.
func (v Verdict) Wrong() bool { return v == VerdictIncorrect || v == VerdictBroken }

// Known reports whether the step could be judged: it is anything but unknown.
func (v Verdict) Known() bool { return v != VerdictUnknown }

// String returns "unknown", "correct", "incorrect" or "broken".
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("Verdict(%d)", uint8(v))
}

// MarshalText returns what String does; a value that is none of the four is an
// error.
func (v Verdict) MarshalText() ([]byte, error) {
	if int(v) >= len(verdictNames) {
		return nil, fmt.Errorf("rollout: no such verdict: %d", uint8(v))
	}
	return []byte(verdictNames[v]), nil
}

// UnmarshalText reads what MarshalText writes.
func (v *Verdict) UnmarshalText(text []byte) error {
	for i, name := range verdictNames {
		if string(text) == name {
			*v = Verdict(i)
			return nil
		}
	}
	return fmt.Errorf("verdict %q, want unknown, correct, incorrect or broken", text)
}

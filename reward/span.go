package reward

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/prompt"
)

// asked returns the step that a rule is asked about; for Answer, the final one.
func asked(trace *prompt.Trace, step int) *prompt.Span {
	if step == Answer {
		step = trace.Final
	}
	if step < 0 || step >= len(trace.Steps) {
		panic(fmt.Sprintf("reward: there is no step %d in a trace of %d steps", step, len(trace.Steps)))
	}
	return &trace.Steps[step]
}

// broken says why a step that is not OK has no score.
func broken(s *prompt.Span) Score { return Unscorable("broken step: " + s.Status.String()) }

// textOf returns the part of the completion that a rule is asked about.
func textOf(trace *prompt.Trace, step int) string {
	if step == Answer {
		return trace.Text
	}
	s := asked(trace, step)
	return trace.Text[s.Bytes.Start:s.Bytes.End]
}

// tokens counts the tokens of the part of the completion that a rule is asked
// about, or says in an unscorable score why it cannot.
func tokens(trace *prompt.Trace, step int) (int, Score) {
	switch {
	case trace.Tokens == 0 && trace.Text != "":
		return 0, Unscorable("no token offsets")
	case step == Answer:
		return trace.Tokens, Score{}
	}
	s := asked(trace, step)
	if s.Status != prompt.StatusOK {
		return 0, broken(s)
	}
	return s.Tokens.Len(), Score{}
}

func oneIf(b bool) Score {
	if b {
		return Score{Value: 1}
	}
	return Score{Value: 0}
}

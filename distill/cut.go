package distill

import "github.com/stepwise-rl/stepwise/prompt"

// Cut returns the tokens of a completion before its final answer: a Trace's
// Reasoning. ends[i] is the byte offset at which token i ends, as in
// rollout.Completion, and tr the parse of its text. It returns false, and the
// completion says nothing of the teacher's belief, if the final step is not
// well-formed, or if its answer does not begin with a token of its own (a token
// that holds the opening mark and the answer's first byte, say): cut there,
// the answer would be scored where the teacher never writes it.
func Cut(tr *prompt.Trace, tokens []int32, ends []int) (reasoning []int32, ok bool) {
	if _, ok := tr.FinalAnswer(); !ok {
		return nil, false
	}
	last := &tr.Steps[tr.Final]
	first := last.AnswerTokens.Start
	if last.AnswerTokens.Empty() || first == 0 || ends[first-1] != last.AnswerBytes.Start {
		return nil, false
	}
	return tokens[:first], true
}

package rl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Top holds K different tokens for every position of a completion, with their
// log-probs and that of all others together, the rest. The layout is that of
// objective.Candidates: IDs is [tokens×K], LogP [tokens×(K+1)] with the rest as the
// last of each position.
type Top struct {
	IDs  []int32
	LogP []float64
}

// NewTops returns room for k tokens at every position of every sample of b.
func NewTops(b *Batch, k int) []Top {
	tops := make([]Top, len(b.Samples))
	for i := range tops {
		n := len(b.Samples[i].Tokens)
		tops[i] = Top{IDs: make([]int32, n*k), LogP: make([]float64, n*(k+1))}
	}
	return tops
}

// TopLogProber gives the most likely tokens of a model: a teacher, or a policy that
// chooses the candidates. Package rl/policytest checks that it keeps this contract.
type TopLogProber interface {
	// TopLogProbs writes the k most likely tokens at the position of token t of
	// sample i into dst[i], in falling order, with their log-probs and the rest's:
	// log of 1 minus their probabilities, and -Inf if k is the whole vocabulary.
	// NewTops makes dst; it panics if dst does not fit. A k that it cannot give is
	// an error.
	TopLogProbs(ctx context.Context, b *Batch, k int, dst []Top) error
}

// CandidateProber gives the log-probs of given candidates: a teacher whose policy
// chooses them. Servers give none.
type CandidateProber interface {
	// CandidateLogProbs writes the log-probs of the k different tokens dst[i].IDs
	// at every position of sample i, and the rest's, into dst[i].LogP. It panics if
	// dst does not fit.
	CandidateLogProbs(ctx context.Context, b *Batch, k int, dst []Top) error
}

// TopLogProbChecker is a TopLogProber, teacher or policy, that may not be able to give
// any tokens, or so many. NewTrainer asks it, so that a run that cannot work does not
// start.
type TopLogProbChecker interface {
	// CheckTopLogProbs returns the error that every call of TopLogProbs with this k
	// would; nil if none is known beforehand.
	CheckTopLogProbs(k int) error
}

// TokenBounder is a TopLogProber of a model that may have more ids than its tokenizer has
// tokens, as heads are padded. A Teacher with a Vocab bounds teacher and policy itself.
// Call BoundTokens yourself before asking for candidates without one, to record them for
// example.
type TokenBounder interface {
	// BoundTokens says that only ids below n are tokens: the others are no candidates.
	// They are in the rest.
	BoundTokens(n int)
}

// CandidatesOf says who chooses the candidates of an objective.
type CandidatesOf uint8

const (
	// CandidatesTeacher: the teacher's K most likely tokens. That fits forward KL,
	// which the teacher weighs; servers and files give no others.
	CandidatesTeacher CandidatesOf = iota
	// CandidatesPolicy: those of the policy before the first update on the
	// collection. That fits reverse KL, which the policy weighs.
	CandidatesPolicy
	// CandidatesUnion: the teacher's K, and then the policy's most likely others,
	// 2·K in all. That fits JSD.
	CandidatesUnion
)

var candidatesOfNames = []string{CandidatesTeacher: "teacher", CandidatesPolicy: "policy", CandidatesUnion: "union"}

// String returns "teacher", "policy" or "union".
func (c CandidatesOf) String() string { return settings.EnumString(candidatesOfNames, c) }

// MarshalText returns the same; an invalid value is an error.
func (c CandidatesOf) MarshalText() ([]byte, error) { return settings.EnumText(candidatesOfNames, c) }

// UnmarshalText is the inverse of MarshalText.
func (c *CandidatesOf) UnmarshalText(text []byte) error {
	return settings.ParseEnum(candidatesOfNames, text, c)
}

// Vocab is the vocabulary of a tokenizer, as far as two of them are compared.
type Vocab interface {
	// Bytes returns the bytes of a token; none for a special token.
	Bytes(id int32) []byte
	// VocabSize is the number of token ids.
	VocabSize() int
}

// SameVocab returns an error that names the first token in which two vocabularies
// differ.
func SameVocab(teacher, policy Vocab) error {
	if t, p := teacher.VocabSize(), policy.VocabSize(); t != p {
		return fmt.Errorf("rl: the teacher's tokenizer has %d tokens, the policy's %d: log-probs of other tokens say nothing here (distill by text instead, Rollouts.Best)", t, p)
	}
	for id := range int32(policy.VocabSize()) {
		if t, p := teacher.Bytes(id), policy.Bytes(id); !bytes.Equal(t, p) {
			return fmt.Errorf("rl: token %d is %q in the teacher's tokenizer and %q in the policy's: log-probs of other tokens say nothing here (distill by text instead, Rollouts.Best)", id, t, p)
		}
	}
	return nil
}

// Teacher is a model that the policy is distilled from, by its log-probs
// (objective.Distilled) or those of candidates (objective.ForwardKL, ReverseKL, JSD).
// It has the policy's tokenizer.
type Teacher struct {
	// LogProber gives the log-probs. It must be a TopLogProber if the teacher
	// chooses candidates, and a CandidateProber if the policy does.
	LogProber LogProber
	// K is the number of candidates at each position, if the objective needs
	// candidates: 16 to 128 are usual, and more where metrics
	// objective/candidate_mass_policy and candidate_mass_teacher are low. The
	// vocabulary's size makes it exact; with CandidatesUnion half of it does, and is
	// the most.
	K int
	// Candidates says whose tokens they are. The zero value is the teacher's;
	// NewTrainer warns if those of the policy fit the objective better and this
	// teacher can give their log-probs.
	Candidates CandidatesOf
	// Prompt, if not nil, returns the teacher's own prompt of a problem, of which
	// it judges the same completions: one with criteria that the policy shall learn
	// to do without, for example. The completion must continue both.
	Prompt func(p Problem) ([]int32, error)
	// Vocab and PolicyVocab are the tokenizers of the two. They must be the same,
	// token for token. Set them: log-probs of other tokens train the policy towards
	// nonsense, and no metric shows it. NewTrainer warns if they are nil.
	Vocab, PolicyVocab Vocab
}

// validate checks the teacher for an objective's needs and a policy, and tells both which
// ids are tokens.
func (t *Teacher) validate(needs objective.Inputs, policy LogProber) error {
	if t == nil {
		if needs&(objective.InputTeacher|objective.InputCandidates) != 0 {
			return errors.New("Teacher is missing, but the objective needs " + (needs & (objective.InputTeacher | objective.InputCandidates)).String())
		}
		return nil
	}
	switch {
	case t.LogProber == nil:
		return errors.New("Teacher.LogProber is missing")
	case needs&(objective.InputTeacher|objective.InputCandidates) == 0:
		return errors.New("Teacher is set, but the objective reads nothing of it")
	case (t.Vocab == nil) != (t.PolicyVocab == nil):
		return errors.New("Teacher.Vocab and Teacher.PolicyVocab need each other")
	}
	if t.Vocab != nil {
		if err := SameVocab(t.Vocab, t.PolicyVocab); err != nil {
			return fmt.Errorf("Teacher.Vocab: %w", err)
		}
		for _, model := range []LogProber{t.LogProber, policy} {
			if b, ok := model.(TokenBounder); ok {
				b.BoundTokens(t.Vocab.VocabSize())
			}
		}
	}
	if c, ok := t.LogProber.(LogProbChecker); ok && needs&objective.InputTeacher != 0 {
		if err := c.CheckLogProbs(); err != nil {
			return fmt.Errorf("Teacher: %w", err)
		}
	}
	if needs&objective.InputCandidates == 0 {
		return nil
	}
	if t.K < 1 {
		return fmt.Errorf("Teacher.K is %d, want the number of candidates that the objective needs", t.K)
	}
	if err := settings.CheckEnum("Teacher.Candidates", candidatesOfNames, t.Candidates); err != nil {
		return err
	}
	top, isTop := t.LogProber.(TopLogProber)
	_, isProber := t.LogProber.(CandidateProber)
	_, chooses := policy.(TopLogProber)
	switch {
	case t.Candidates != CandidatesPolicy && !isTop:
		return fmt.Errorf("Teacher.LogProber (%T) is no TopLogProber, so it cannot choose candidates", t.LogProber)
	case t.Candidates != CandidatesTeacher && !isProber:
		return fmt.Errorf("Teacher.LogProber (%T) is no CandidateProber, so the policy cannot choose candidates, want Candidates of the teacher", t.LogProber)
	case t.Candidates != CandidatesTeacher && !chooses:
		return fmt.Errorf("the policy (%T) is no TopLogProber, so it cannot choose candidates, want Candidates of the teacher", policy)
	}
	if c, ok := top.(TopLogProbChecker); ok && t.Candidates != CandidatesPolicy {
		if err := c.CheckTopLogProbs(t.K); err != nil {
			return fmt.Errorf("Teacher.K is %d: %w", t.K, err)
		}
	}
	if c, ok := policy.(TopLogProbChecker); ok && t.Candidates != CandidatesTeacher {
		if err := c.CheckTopLogProbs(t.size()); err != nil {
			return fmt.Errorf("Teacher.K is %d, with Candidates (%v) that are %d at each position: %w", t.K, t.Candidates, t.size(), err)
		}
	}
	return nil
}

// size is the number of candidates at each position.
func (t *Teacher) size() int {
	if t.Candidates == CandidatesUnion {
		return 2 * t.K
	}
	return t.K
}

// Fill gives every sample of b what an objective needs of the teacher: Teacher, and
// Cand with the teacher's log-probs. problems are those of b's prompts, in their
// order; only Prompt reads them. policy is asked for its most likely tokens if it
// chooses the candidates. Call it once for a collection, before the first update on it,
// as a trainer does.
func (t *Teacher) Fill(ctx context.Context, b *Batch, problems []Problem, policy LogProber, needs objective.Inputs) error {
	if err := t.validate(needs, policy); err != nil {
		return fmt.Errorf("rl: %w", err)
	}
	if err := t.fill(ctx, b, problems, policy, needs); err != nil {
		return fmt.Errorf("rl: log-probs of the teacher: %w", err)
	}
	return nil
}

// fill is Fill of a valid teacher.
func (t *Teacher) fill(ctx context.Context, b *Batch, problems []Problem, policy LogProber, needs objective.Inputs) error {
	theirs, err := t.batch(b, problems)
	if err != nil {
		return err
	}
	if needs&objective.InputTeacher != 0 {
		dst := make([][]float64, len(b.Samples))
		for i := range dst {
			dst[i] = make([]float64, len(b.Samples[i].Tokens))
		}
		if err := t.LogProber.LogProbs(ctx, theirs, dst); err != nil {
			return err
		}
		for i := range dst {
			b.Samples[i].Teacher = dst[i]
		}
	}
	if needs&objective.InputCandidates == 0 {
		return nil
	}
	tops, err := t.candidates(ctx, b, theirs, policy)
	if err != nil {
		return err
	}
	for i := range tops {
		b.Samples[i].Cand = &objective.Candidates{K: t.size(), IDs: tops[i].IDs, Teacher: tops[i].LogP}
	}
	return nil
}

// batch returns b with the teacher's prompts and without the policy's numbers.
func (t *Teacher) batch(b *Batch, problems []Problem) (*Batch, error) {
	theirs := &Batch{Prompts: b.Prompts, Temperature: b.Temperature, Samples: make([]Sample, len(b.Samples))}
	for i := range b.Samples {
		theirs.Samples[i] = Sample{Prompt: b.Samples[i].Prompt, Tokens: b.Samples[i].Tokens}
	}
	if t.Prompt == nil {
		return theirs, nil
	}
	if len(problems) != len(b.Prompts) {
		return nil, fmt.Errorf("Teacher.Prompt needs the problems of %d prompts, got %d", len(b.Prompts), len(problems))
	}
	theirs.Prompts = make([][]int32, len(problems))
	for i, p := range problems {
		prompt, err := t.Prompt(p)
		if err == nil && len(prompt) == 0 {
			err = errors.New("it is empty")
		}
		if err != nil {
			return nil, fmt.Errorf("the teacher's prompt of problem %d: %w", i, err)
		}
		theirs.Prompts[i] = prompt
	}
	return theirs, nil
}

// candidates returns candidates with the teacher's log-probs.
func (t *Teacher) candidates(ctx context.Context, b, theirs *Batch, policy LogProber) ([]Top, error) {
	var tops []Top
	if t.Candidates != CandidatesPolicy {
		tops = NewTops(b, t.K)
		if err := t.LogProber.(TopLogProber).TopLogProbs(ctx, theirs, t.K, tops); err != nil {
			return nil, fmt.Errorf("its candidates: %w", err)
		}
		if t.Candidates == CandidatesTeacher {
			return tops, nil
		}
	}
	k := t.size()
	own := NewTops(b, k)
	if err := policy.(TopLogProber).TopLogProbs(ctx, b, k, own); err != nil {
		return nil, fmt.Errorf("the policy's candidates: %w", err)
	}
	if t.Candidates == CandidatesUnion {
		for i := range own {
			for at := range b.Samples[i].Tokens {
				unite(own[i].IDs[at*k:][:k], tops[i].IDs[at*t.K:][:t.K])
			}
		}
	}
	if err := t.LogProber.(CandidateProber).CandidateLogProbs(ctx, theirs, k, own); err != nil {
		return nil, fmt.Errorf("of the policy's candidates: %w", err)
	}
	return own, nil
}

// unite keeps, of ids in falling order, those of teacher, and fills the other places
// with the first that are not among them.
func unite(ids, teacher []int32) {
	united := append(make([]int32, 0, len(ids)), teacher...)
	for _, id := range ids {
		if len(united) < len(ids) && !slices.Contains(teacher, id) {
			united = append(united, id)
		}
	}
	copy(ids, united)
}

// warnings returns what is probably a mistake in a valid teacher. nil has none.
func (t *Teacher) warnings(o objective.Objective) (w []string) {
	if t == nil {
		return nil
	}
	if t.Vocab == nil {
		w = append(w, "Teacher.Vocab and PolicyVocab are not set: if the tokenizers differ, nothing will show it")
	}
	if _, any := t.LogProber.(CandidateProber); any && t.Candidates == CandidatesTeacher && policyWeighs(o) {
		w = append(w, "Teacher.Candidates is the teacher's, but the objective weighs candidates by the policy: CandidatesPolicy fits ReverseKL, and CandidatesUnion JSD")
	}
	return w
}

// policyWeighs reports whether a divergence in o is weighed by the policy.
func policyWeighs(o objective.Objective) bool {
	switch o := o.(type) {
	case objective.ReverseKL:
		return true
	case objective.JSD:
		return o.Beta > 0
	}
	return slices.ContainsFunc(objective.Parts(o), policyWeighs)
}

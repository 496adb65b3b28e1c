package relevance

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// Scorer judges how relevant documents are to a query. It may be used by one
// goroutine at a time.
//
// A scorer of your own gets all documents of a request in one call, however many there
// are, so it may compare them; see [PairScorer] for one that does not. Of a [Score] it
// fills in P or Label, and what else it knows: see there.
type Scorer interface {
	// Labels are the labels in ascending order of relevance.
	Labels() []string
	// Score returns one score per document, in their order.
	Score(ctx context.Context, query string, documents []rows.Document, o ScoreOptions) ([]Score, error)
}

// PairScorer is a scorer that judges every document without regard to the others. It is
// given pairs of several queries in one call, and a query's documents in several calls.
// The scorers of this package are of this kind.
type PairScorer interface {
	Scorer
	// ScorePairs returns one score per pair, in their order. Of a pair only query and
	// document are known.
	ScorePairs(ctx context.Context, pairs []rows.Example, o ScoreOptions) ([]Score, error)
}

// ScoreOptions say what is asked of a scorer beside the label.
type ScoreOptions struct {
	// Samples is the number of reasonings that are sampled per document, whose
	// distributions are averaged; 0 means one that takes the most probable token
	// every time. A classifier does not reason.
	Samples int
	// Steps asks for the reasoning.
	Steps bool
	// Stream determines what is sampled, together with the pair: whatever is scored
	// beside it, its samples are the same.
	Stream uint64
}

// Score is what a scorer says of one document.
//
// A scorer of your own fills in P, or Label, or both; from them [ScoreExamples] derives a
// Label that is "" and a Grade that is 0. Of a document that it cannot judge it says so:
// with a Grade of NaN, Unscorable, or Malformed without a label.
type Score struct {
	// Label is the label that was stated, or the most probable one; "" if the answer
	// is unreadable.
	Label string `json:"label"`
	// P is the distribution over the labels; nil if it is not known.
	P []float64 `json:"p,omitempty"`
	// Grade is the expected label, as a position among the labels: from 0 to one
	// less than there are. NaN if nothing is known.
	Grade float64 `json:"grade"`
	// ByGrade is the label by the cut points on Grade that were found best on
	// validation rows; "" without cut points.
	ByGrade string `json:"label_by_grade,omitempty"`
	// Malformed marks a reasoning that deviates from the task's format: a step that is
	// missing or written twice, or an answer that is not allowed. Problem says where.
	Malformed bool `json:"malformed,omitempty"`
	// Unscorable says why nothing is known: the engine could deliver none of the samples.
	Unscorable string `json:"unscorable,omitempty"`
	// Steps is the reasoning, if it was asked for.
	Steps []StepScore `json:"steps,omitempty"`

	text   string
	judged []rollout.Step
	tokens int
}

// Tokens is how many tokens a classifier read, or a policy wrote in all its samples.
func (s Score) Tokens() int { return s.tokens }

// scoreTolerance is how far probabilities may be from a sum of 1, and a grade from what
// they say, for scorers that compute in float32.
const scoreTolerance = 1e-3

// complete derives Label and Grade where they are unset, and returns an error about what
// contradicts itself.
func (s *Score) complete(labels []string) error {
	at := slices.Index(labels, s.Label)
	var sum float64
	for _, v := range s.P {
		sum += v
	}
	unreadable := s.Malformed && s.Label == "" && s.P == nil
	switch most := float64(len(labels) - 1); {
	case math.IsNaN(s.Grade) || math.IsInf(s.Grade, 0) || math.IsNaN(sum) || math.IsInf(sum, 0) || unreadable || s.Unscorable != "":
		s.Grade = math.NaN()
		return nil
	case s.Label != "" && at < 0:
		return fmt.Errorf("Label is %q, want one of %q", s.Label, labels)
	case s.Grade < 0 || s.Grade > most:
		return fmt.Errorf("Grade is %v, want 0 to %v", s.Grade, most)
	case s.P == nil && at < 0:
		return errors.New("neither P nor Label is set; a Grade of NaN says that nothing is known")
	case s.P == nil:
		s.Grade = cmp.Or(s.Grade, float64(at))
		return nil
	case len(s.P) != len(labels) || slices.Min(s.P) < 0 || math.Abs(sum-1) > scoreTolerance:
		return fmt.Errorf("P is %v, want a distribution over %d labels", s.P, len(labels))
	}
	expected := linear.Expected(s.P)
	if s.Grade != 0 && math.Abs(s.Grade-expected) > scoreTolerance*float64(len(labels)) {
		return fmt.Errorf("Grade is %v, and the expectation of P %v", s.Grade, expected)
	}
	s.Grade = expected
	if s.Label == "" {
		s.Label = labels[linear.MostProbable(s.P)]
	}
	return nil
}

// MarshalJSON writes an unknown grade as null, and texts as they are: whether "<" is
// escaped is for the encoder to say.
func (s Score) MarshalJSON() ([]byte, error) {
	type plain Score
	line := struct {
		plain
		Grade *float64 `json:"grade"`
	}{plain: plain(s)}
	if !math.IsNaN(s.Grade) {
		line.Grade = &s.Grade
	}
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	err := e.Encode(line)
	return text.Bytes(), err
}

// StepScore is a reasoning step as it was written.
type StepScore struct {
	Name   string `json:"name"`
	Reason string `json:"reason,omitempty"`
	Answer string `json:"answer"`
	// Found is what the step's criterion finds itself, if it has one. Training rewards
	// the answer alone, so a model may invent its reason.
	Found *Finding `json:"found,omitempty"`
	// Problem says what is wrong with the form of the step, such as "invalid answer"
	// for one that the task does not allow; "" if nothing is.
	Problem string `json:"problem,omitempty"`
}

// Finding is the answer of a criterion, and why.
type Finding struct {
	Answer string `json:"answer"`
	Reason string `json:"reason,omitempty"`
}

// exampleScorer scores pairs that are prepared already.
type exampleScorer interface {
	scoreExamples(ctx context.Context, es []rows.Example, o ScoreOptions) ([]Score, error)
}

// pairs makes examples of a query and documents.
func pairs(query string, documents []rows.Document) []rows.Example {
	es := make([]rows.Example, len(documents))
	for i, d := range documents {
		es[i] = rows.Example{ID: fmt.Sprint(i + 1), Query: query, Document: d}
	}
	return es
}

// policyScorer lets a policy reason.
type policyScorer struct {
	task      *task.Task[rows.Example]
	engine    rollout.Engine
	prober    rl.LogProber // nil: no distribution
	tok       *tokenizer.Tokenizer
	labels    []string
	maxTokens int
	seed      uint64
	// prepare completes a pair that comes from outside: it cuts texts and adds facts.
	prepare func(rows.Example) (rows.Example, error)
	fix     Calibration
	free    func()
	backend tensor.Backend // that is closed with the scorer; nil: none
}

func (s *policyScorer) Labels() []string { return s.labels }

// Close releases the model.
func (s *policyScorer) Close() error {
	if s.free != nil {
		s.free()
	}
	return tensor.Close(s.backend)
}

func (s *policyScorer) calibrate(fix Calibration) { s.fix = fix }

func (s *policyScorer) ready(e rows.Example) (rows.Example, error) { return s.prepare(e) }

// ScorePairs implements [PairScorer].
func (s *policyScorer) ScorePairs(ctx context.Context, pairs []rows.Example, o ScoreOptions) ([]Score, error) {
	return ScoreExamples(ctx, s, pairs, o)
}

func (s *policyScorer) Score(ctx context.Context, query string, documents []rows.Document, o ScoreOptions) ([]Score, error) {
	return ScoreExamples(ctx, s, pairs(query, documents), o)
}

// scoreChunk is how many rows are sampled at once.
const scoreChunk = 256

func (s *policyScorer) scoreExamples(ctx context.Context, es []rows.Example, o ScoreOptions) ([]Score, error) {
	n, params, engine := 1, rollout.Params{MaxTokens: s.maxTokens}, s.engine
	if o.Samples > 0 {
		n, params.Temperature = o.Samples, 1
		engine = byPrompt{s.engine, s.seed<<8 | scoreStream, o.Stream}
	}
	t, err := s.task.WithSampling(n, params)
	if err != nil {
		return nil, err
	}
	var all []Score
	for from := 0; from < len(es); from += scoreChunk {
		part := es[from:min(from+scoreChunk, len(es))]
		problems := make([]rl.Problem, len(part))
		for i, e := range part {
			problems[i] = t.Bind(e)
		}
		r, _, err := rl.EvaluateProblems(ctx, engine, problems, 0)
		if err != nil {
			return nil, err
		}
		beliefs, err := believe(ctx, s.prober, s.tok, s.labels, r)
		if err != nil {
			return nil, err
		}
		for i := range part {
			if len(r.Groups[i]) == 0 {
				why := cmp.Or(r.FirstFailure, r.FirstUnjudged)
				all = append(all, Score{Grade: math.NaN(), Unscorable: fmt.Sprintf("no sample was delivered; the first that failed: %v", why), judged: []rollout.Step{}})
				continue
			}
			all = append(all, s.score(r.Groups[i], beliefs[i].P, o))
		}
	}
	return all, nil
}

// byPrompt is an engine whose random streams are those of the prompts, and not of the
// requests' places, so that a pair's samples do not depend on its neighbours.
type byPrompt struct {
	rollout.Engine
	seed, stream uint64
}

// Generate implements [rollout.Engine].
func (e byPrompt) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	reqs = slices.Clone(reqs)
	for i := range reqs {
		h := fnv.New64a()
		_ = binary.Write(h, binary.LittleEndian, reqs[i].Prompt) // no hash fails
		reqs[i].Stream = [3]uint64{e.seed, e.stream, h.Sum64()}
	}
	return e.Engine.Generate(ctx, reqs, emit)
}

// score sums up a group of answers.
func (s *policyScorer) score(g rollout.Group, p []float64, o ScoreOptions) Score {
	c := &g[0]
	out := Score{text: c.Text, judged: c.Steps, Malformed: c.Malformed}
	for i := range g {
		out.tokens += len(g[i].Tokens)
	}
	if p == nil && o.Samples > 1 {
		p = votes(g, s.labels)
	}
	if answer, ok := c.Trace.FinalAnswer(); ok && o.Samples <= 1 {
		out.Label = answer
	}
	s.fix.apply(&out, p, s.labels)
	if o.Samples > 1 && p != nil {
		out.Label = s.labels[linear.MostProbable(p)]
	}
	if o.Steps {
		out.Steps = written(c.Trace)
	}
	return out
}

// votes is the share of the answers that state each label; nil if none does.
func votes(g rollout.Group, labels []string) []float64 {
	p, n := make([]float64, len(labels)), 0.0
	for i := range g {
		if answer, ok := g[i].Trace.FinalAnswer(); ok {
			if k := slices.Index(labels, answer); k >= 0 {
				p[k]++
				n++
			}
		}
	}
	if n == 0 {
		return nil
	}
	for k := range p {
		p[k] /= n
	}
	return p
}

// believe asks for the probability of every label where each completion states its
// final answer. Beliefs are unknown without a prober.
func believe(ctx context.Context, prober rl.LogProber, tok *tokenizer.Tokenizer, labels []string, r *rl.Rollouts) ([]distill.Belief, error) {
	if prober == nil {
		return make([]distill.Belief, len(r.Groups)), nil
	}
	rationales := make([][]distill.Rationale, len(r.Groups))
	for i := range rationales {
		for k := range r.Groups[i] {
			if before, ok := distill.Cut(&r.Groups[i][k]); ok {
				rationales[i] = append(rationales[i], distill.Rationale{Prompt: r.Requests[i].Prompt, Tokens: before})
			}
		}
	}
	l := distill.Labeler{Teacher: prober}
	for _, label := range labels {
		l.Labels = append(l.Labels, tok.Encode(label+"}"))
	}
	return l.Beliefs(ctx, rationales)
}

// noReason is what teachers write where a step has an answer and no reason.
const noReason = "so"

// written is the reasoning of a trace, with what it wrote beyond the task's steps last.
func written(t *prompt.Trace) (out []StepScore) {
	for _, s := range slices.Concat(t.Steps, t.Extra) {
		if s.Status == prompt.StatusMissing {
			continue
		}
		text := t.Text[s.Bytes.Start:s.Bytes.End]
		if s.Answer != "" {
			text = t.Text[s.Bytes.Start:s.AnswerBytes.Start]
		}
		if _, after, ok := strings.Cut(text, ">"); ok && strings.HasPrefix(text, "<") {
			text = after
		}
		text, _, _ = strings.Cut(text, `\boxed`)
		step := StepScore{Name: s.Name, Reason: strings.TrimSpace(text), Answer: s.Answer}
		if step.Reason == noReason {
			step.Reason = ""
		}
		if s.Status != prompt.StatusOK {
			step.Problem = s.Status.String()
		}
		out = append(out, step)
	}
	return out
}

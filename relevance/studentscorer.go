package relevance

import (
	"context"
	"math"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// studentScorer is a student as a scorer: a classScorer or a biScorer.
type studentScorer interface {
	calibrated
	Closer
	calibration() Calibration
}

// studentModel is what both have.
type studentModel struct {
	student *student
	labels  []string
	prepare func(rows.Example) (rows.Example, error)
	fix     Calibration
	backend tensor.Backend // that is closed with the scorer; nil: none
}

func (s *studentModel) Labels() []string { return s.labels }

// Close releases the model.
func (s *studentModel) Close() error {
	s.student.free()
	return tensor.Close(s.backend)
}

func (s *studentModel) calibrate(fix Calibration)                  { s.fix = fix }
func (s *studentModel) calibration() Calibration                   { return s.fix }
func (s *studentModel) ready(e rows.Example) (rows.Example, error) { return s.prepare(e) }

// newStudentScorer returns the scorer of a student's form.
func newStudentScorer(m studentModel) studentScorer {
	if m.student.ranker != nil {
		return &biScorer{m}
	}
	return &classScorer{m}
}

// classScorer classifies.
type classScorer struct{ studentModel }

// ScorePairs implements [PairScorer].
func (s *classScorer) ScorePairs(ctx context.Context, pairs []rows.Example, o ScoreOptions) ([]Score, error) {
	return ScoreExamples(ctx, s, pairs, o)
}

func (s *classScorer) Score(ctx context.Context, query string, documents []rows.Document, o ScoreOptions) ([]Score, error) {
	return ScoreExamples(ctx, s, pairs(query, documents), o)
}

func (s *classScorer) scoreExamples(ctx context.Context, es []rows.Example, o ScoreOptions) ([]Score, error) {
	info := &s.student.info
	all := make([]Score, len(es))
	inputs, outputs := make([][]int32, len(es)), make([][]float64, len(es))
	for i, e := range es {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		inputs[i], outputs[i] = s.student.encode(e), make([]float64, s.student.outputs(len(s.labels)))
		all[i].tokens = len(inputs[i])
	}
	if err := s.student.classifier.Logits(ctx, inputs, outputs, false); err != nil {
		return nil, err
	}
	for i := range all {
		n := info.Head.Outputs(len(s.labels))
		p := info.Head.Probs(outputs[i][:n], len(s.labels))
		s.fix.apply(&all[i], p, s.labels)
		all[i].Label = s.labels[linear.MostProbable(p)]
		if !o.Steps {
			continue
		}
		for _, step := range info.Steps {
			z := outputs[i][n : n+len(step.Answers)]
			all[i].Steps = append(all[i].Steps, StepScore{Name: step.Name, Answer: step.Answers[linear.MostProbable(z)]})
			n += len(step.Answers)
		}
	}
	return all, nil
}

// biScorer compares vectors. A line through the scaled cosine gives the cumulative
// logits of the labels (ModelInfo.Link).
type biScorer struct{ studentModel }

// ScorePairs implements [PairScorer].
func (s *biScorer) ScorePairs(ctx context.Context, pairs []rows.Example, o ScoreOptions) ([]Score, error) {
	return ScoreExamples(ctx, s, pairs, o)
}

func (s *biScorer) Score(ctx context.Context, query string, documents []rows.Document, o ScoreOptions) ([]Score, error) {
	return ScoreExamples(ctx, s, pairs(query, documents), o)
}

func (s *biScorer) scoreExamples(ctx context.Context, es []rows.Example, _ ScoreOptions) ([]Score, error) {
	all, queries, dst := make([]Score, len(es)), []distill.Query{}, [][]float64{}
	for i := 0; i < len(es); {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		q := distill.Query{Tokens: s.student.query(es[i])} // encoded once for all its documents
		from := i
		for ; i < len(es) && es[i].Query == es[from].Query; i++ {
			document := s.student.document(es[i])
			q.Documents = append(q.Documents, document)
			all[i].tokens = len(document)
		}
		all[from].tokens += len(q.Tokens)
		queries, dst = append(queries, q), append(dst, make([]float64, len(q.Documents)))
	}
	if err := s.student.ranker.Scores(ctx, queries, dst, false); err != nil {
		return nil, err
	}
	i := 0
	for _, scores := range dst {
		for _, score := range scores {
			p := linked(s.student.info.Link, score)
			s.fix.apply(&all[i], p, s.labels)
			all[i].Label = s.labels[linear.MostProbable(p)]
			i++
		}
	}
	return all, nil
}

// linked is the distribution over the labels that a score has by link: the slope, and
// the outputs of an ordinal head where the score is 0.
func linked(link []float64, score float64) []float64 {
	outputs := append([]float64(nil), link[1:]...)
	outputs[0] += link[0] * score
	return distill.HeadOrdinal.Probs(outputs, len(link))
}

// fitLink finds the link of the smallest cross-entropy with beliefs, by gradient
// descent scaled as in RMSProp.
func fitLink(scores []float64, beliefs [][]float64) ([]float64, error) {
	classes := len(beliefs[0])
	link := make([]float64, classes)
	link[0] = 1
	outputs, grad, dlink := make([]float64, classes-1), make([]float64, classes-1), make([]float64, classes)
	square := make([]float64, classes)
	f := distill.Fit{Classes: classes, Head: distill.HeadOrdinal, Loss: distill.Loss{Soft: 1}}
	for step := range 400 {
		clear(dlink)
		for i, s := range scores {
			copy(outputs, link[1:])
			outputs[0] += link[0] * s
			if _, err := f.Eval(&distill.Example{Belief: beliefs[i], Label: -1}, outputs, grad); err != nil {
				return nil, err
			}
			dlink[0] += grad[0] * s / float64(len(scores))
			for k, g := range grad {
				dlink[1+k] += g / float64(len(scores))
			}
		}
		rate := .1 / (1 + float64(step)/50)
		for k, g := range dlink {
			square[k] = .9*square[k] + .1*g*g
			link[k] -= rate * g / (math.Sqrt(square[k]) + 1e-8)
		}
	}
	return link, nil
}

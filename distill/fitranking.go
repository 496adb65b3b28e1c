package distill

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/rl"
)

// Ranker scores the documents of queries, and can be trained. A bi-encoder
// (local.BiEncoder) is one, and Grader makes one of a Student. One goroutine uses it at
// a time. After an error of any method the accumulated gradient is cleared.
type Ranker interface {
	// Scores writes the score of every document into dst[query][document]. If train is
	// set it keeps the state for Backward.
	Scores(ctx context.Context, queries []Query, dst [][]float64, train bool) error
	// Backward adds the gradient of the last Scores call with train set, given
	// d(loss)/d(scores), to the accumulated gradient.
	Backward(ctx context.Context, dscores [][]float64) error
	Weights
}

// Query is a query with its documents.
type Query struct {
	// Tokens are the query's, for a bi-encoder. For a classifier of pairs they are
	// empty, and each document holds both texts.
	Tokens    []int32
	Documents [][]int32
	// Teacher are the teacher's scores of the documents, such as ByGrade's.
	Teacher []float64
}

// FitRanking trains a ranker on queries whose documents a teacher has scored, as Fit
// does a student: batches are made of whole queries.
type FitRanking struct {
	Ranker  Ranker
	Queries []Query
	Loss    RankingLoss
	// Batch is the number of queries per training step; the last one of an epoch may
	// have fewer.
	Batch, Epochs int
	// Seed determines the orders.
	Seed uint64
	// LR is the learning rate of each training step, counted from 0.
	LR rl.Schedule
	// MaxNorm clips the global gradient norm; 0 = no clipping.
	MaxNorm float64

	shuffle shuffle
}

// Validate returns an error that names the first invalid field or query.
func (f *FitRanking) Validate() error {
	switch {
	case f.Ranker == nil:
		return errors.New("distill: FitRanking.Ranker is missing")
	case f.Loss == nil:
		return errors.New("distill: FitRanking.Loss is missing")
	case f.LR == nil:
		return errors.New("distill: FitRanking.LR is missing")
	case len(f.Queries) == 0:
		return errors.New("distill: FitRanking.Queries is empty")
	case f.Batch < 1 || f.Epochs < 1:
		return fmt.Errorf("distill: FitRanking has batches of %d, %d epochs; need at least 1 of both", f.Batch, f.Epochs)
	case !(f.MaxNorm >= 0):
		return fmt.Errorf("distill: FitRanking.MaxNorm is %v, want 0 (no clipping) or a positive number", f.MaxNorm)
	}
	for i, q := range f.Queries {
		if len(q.Documents) < 2 || len(q.Documents) != len(q.Teacher) {
			return fmt.Errorf("distill: FitRanking.Queries[%d] has %d documents and %d scores of the teacher, want as many and at least 2", i, len(q.Documents), len(q.Teacher))
		}
		for d, s := range q.Teacher {
			if math.IsNaN(s) || math.IsInf(s, 0) {
				return fmt.Errorf("distill: FitRanking.Queries[%d].Teacher[%d] is %v, want a finite score", i, d, s)
			}
		}
	}
	if err := f.LR.Validate(); err != nil {
		return fmt.Errorf("distill: FitRanking.LR: %w", err)
	}
	return f.Loss.Validate()
}

// Steps is the number of training steps in all epochs.
func (f *FitRanking) Steps() int { return steps(len(f.Queries), f.Batch, f.Epochs) }

// Step takes training step i, from 0 to Steps()-1, and returns the mean loss of its
// queries. It depends on the fields and i alone. It panics if i is outside that range.
func (f *FitRanking) Step(ctx context.Context, i int) (float64, error) {
	if err := f.Validate(); err != nil {
		return 0, err
	}
	if i < 0 || i >= f.Steps() {
		panic(fmt.Sprintf("distill: training step %d of %d", i, f.Steps()))
	}
	order := f.shuffle.batch(i, len(f.Queries), f.Batch, f.Seed)
	batch, scores, grad := make([]Query, len(order)), make([][]float64, len(order)), make([][]float64, len(order))
	for k, q := range order {
		batch[k] = f.Queries[q]
		scores[k], grad[k] = make([]float64, len(batch[k].Documents)), make([]float64, len(batch[k].Documents))
	}
	if err := f.Ranker.Scores(ctx, batch, scores, true); err != nil {
		return 0, err
	}
	mean, scale := 0.0, 1/float64(len(order))
	for k, q := range order {
		l, err := f.Loss.Eval(scores[k], batch[k].Teacher, grad[k])
		if err != nil {
			return 0, fmt.Errorf("distill: query %d: %w", q, err)
		}
		mean += scale * l
		for d := range grad[k] {
			grad[k][d] *= scale
		}
	}
	if err := f.Ranker.Backward(ctx, grad); err != nil {
		return 0, err
	}
	_, err := f.Ranker.OptimStep(ctx, rl.OptimOptions{LR: f.LR.At(int64(i)), MaxNorm: f.MaxNorm})
	return mean, err
}

// Grader is a classifier as a Ranker: the score is the expected class, counted from 0.
// The student has no outputs but those of Head.
type Grader struct {
	Student
	Classes int
	Head    Head

	outputs [][]float64 // of the last Scores with train
	counts  []int       // documents per query
}

// Scores implements Ranker.
func (g *Grader) Scores(ctx context.Context, queries []Query, dst [][]float64, train bool) error {
	var inputs [][]int32
	var outputs [][]float64
	var counts []int
	for _, q := range queries {
		inputs = append(inputs, q.Documents...)
		counts = append(counts, len(q.Documents))
	}
	if err := checkOutputs(g.Student, g.Head.Outputs(g.Classes)); err != nil {
		return fmt.Errorf("distill: Grader has %d classes with the head %q: %w", g.Classes, g.Head, err)
	}
	for range inputs {
		outputs = append(outputs, make([]float64, g.Head.Outputs(g.Classes)))
	}
	if err := g.Logits(ctx, inputs, outputs, train); err != nil {
		return err
	}
	if train {
		g.outputs, g.counts = outputs, counts
	}
	for i := range queries {
		for d := range dst[i] {
			dst[i][d] = ByGrade(g.probs(outputs[d]))
		}
		outputs = outputs[counts[i]:]
	}
	return nil
}

// Backward implements Ranker.
func (g *Grader) Backward(ctx context.Context, dscores [][]float64) error {
	var grads [][]float64
	for i, n := range g.counts {
		for d := range n {
			// The score is Σ c·p_c, so d(score)/d(log p_c) is c·p_c.
			outputs := g.outputs[len(grads)]
			p, grad := g.probs(outputs), make([]float64, len(outputs))
			for c := range p {
				p[c] *= float64(c) * dscores[i][d]
			}
			g.Head.Gradient(outputs, p, grad)
			grads = append(grads, grad)
		}
	}
	return g.Student.Backward(ctx, grads)
}

func (g *Grader) probs(outputs []float64) []float64 { return g.Head.Probs(outputs, g.Classes) }

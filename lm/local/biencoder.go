package local

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/model"
)

// BiEncoderConfig holds the settings of a bi-encoder.
type BiEncoderConfig struct {
	StudentConfig
	// Scale is what the cosine of query and document is multiplied by; 0 means 20, as
	// in sentence-transformers.
	Scale float64
}

// BiEncoder is an encoder that is trained so that the cosines of queries and documents
// order the documents of a query. It implements distill.Ranker. Used with an [Embedder]
// on the same encoder it retrieves: vectors of documents are computed once.
type BiEncoder struct {
	learner // its outputs are vectors
	encoder *model.Encoder
	scale   float64

	// Of the last training Scores: queries and documents, and their vectors.
	counts  []int // documents per query
	vectors [][]float64
}

var _ distill.Ranker = (*BiEncoder)(nil)

// NewBiEncoder returns a bi-encoder at version 0. The error is that of
// StudentConfig.Validate, or names the scale.
func NewBiEncoder(c BiEncoderConfig) (*BiEncoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if !(c.Scale >= 0) || math.IsInf(c.Scale, 1) {
		return nil, fmt.Errorf("local: BiEncoderConfig.Scale is %v, want a positive number, or 0 for 20", c.Scale)
	}
	c.Scale = cmp.Or(c.Scale, 20)
	s := &BiEncoder{encoder: c.Encoder, scale: c.Scale, learner: encoderLearner(c.StudentConfig)}
	s.net = vectorsOf{c.Encoder}
	if err := s.start(c.Encoder.Params(), c.Optimizer); err != nil {
		return nil, err
	}
	return s, nil
}

// Encoder returns the encoder that is trained.
func (s *BiEncoder) Encoder() *model.Encoder { return s.encoder }

// Free releases the memory of the optimiser and the encoder.
func (s *BiEncoder) Free() {
	s.opt.Free()
	s.encoder.Free()
}

// Scores implements distill.Ranker: Scale times the cosine of query and document.
// Errors are those of a student's Logits; inputs count queries and documents in order,
// each query before its documents. It panics if dst does not fit.
func (s *BiEncoder) Scores(ctx context.Context, queries []distill.Query, dst [][]float64, train bool) error {
	if len(dst) != len(queries) {
		panic(fmt.Sprintf("local: %d queries, but room for the scores of %d", len(queries), len(dst)))
	}
	var inputs [][]int32
	var counts []int
	for i, q := range queries {
		if len(dst[i]) != len(q.Documents) {
			panic(fmt.Sprintf("local: query %d has %d documents, but room for %d scores", i, len(q.Documents), len(dst[i])))
		}
		inputs = append(append(inputs, q.Tokens), q.Documents...)
		counts = append(counts, len(q.Documents))
	}
	vectors := make([][]float64, len(inputs))
	for i := range vectors {
		vectors[i] = make([]float64, s.encoder.Config().Dim)
	}
	if err := s.Logits(ctx, inputs, vectors, train); err != nil {
		return err
	}
	if train {
		s.counts, s.vectors = counts, vectors
	}
	for i := range queries {
		for d := range dst[i] {
			dst[i][d] = s.scale * cosine(vectors[0], vectors[1+d])
		}
		vectors = vectors[1+counts[i]:]
	}
	return nil
}

// Backward implements distill.Ranker.
func (s *BiEncoder) Backward(ctx context.Context, dscores [][]float64) error {
	grads := make([][]float64, len(s.vectors))
	for i := range grads {
		grads[i] = make([]float64, s.encoder.Config().Dim)
	}
	vectors, g := s.vectors, grads
	for i, n := range s.counts {
		for d := range n {
			addCosineGradient(g[0], s.scale*dscores[i][d], vectors[0], vectors[1+d])
			addCosineGradient(g[1+d], s.scale*dscores[i][d], vectors[1+d], vectors[0])
		}
		vectors, g = vectors[1+n:], g[1+n:]
	}
	return s.learner.Backward(ctx, grads)
}

// vectorsOf is an encoder as a network whose outputs are its vectors.
type vectorsOf struct{ *model.Encoder }

func (n vectorsOf) limits() (outputs, maxSeq, vocab int) {
	c := n.Config()
	return c.Dim, c.MaxSeq, c.Vocab
}

func (n vectorsOf) Forward(p *model.Pack, values []float32) error { return n.ForwardEmbed(p, values) }
func (n vectorsOf) Predict(p *model.Pack, values []float32) error { return n.Embed(p, values) }
func (n vectorsOf) Backward(dvalues []float32) error              { return n.BackwardEmbed(dvalues) }

// cosine is 0 where a vector is.
func cosine(x, y []float64) float64 {
	var xx, xy, yy float64
	for i := range x {
		xx, xy, yy = xx+x[i]*x[i], xy+x[i]*y[i], yy+y[i]*y[i]
	}
	if xx == 0 || yy == 0 {
		return 0
	}
	return xy / math.Sqrt(xx*yy)
}

// addCosineGradient adds scale·d(cosine)/dx to d: (y/|y| - cos·x/|x|)/|x|.
func addCosineGradient(d []float64, scale float64, x, y []float64) {
	var xx, xy, yy float64
	for i := range x {
		xx, xy, yy = xx+x[i]*x[i], xy+x[i]*y[i], yy+y[i]*y[i]
	}
	if xx == 0 || yy == 0 {
		return
	}
	norm := math.Sqrt(xx * yy)
	for i := range x {
		d[i] += scale * (y[i]/norm - xy/norm*x[i]/xx)
	}
}

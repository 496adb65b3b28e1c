package distill

import (
	"cmp"
	"fmt"
	"math"
)

// RankingLoss compares the scores that a student gives to the documents of one query
// with those of its teacher.
type RankingLoss interface {
	// Eval returns the loss and writes d(loss)/d(scores) into grad. With fewer than two
	// documents both are 0. It panics if lengths differ. A value that is not finite is
	// an error.
	Eval(scores, teacher, grad []float64) (float64, error)
	Validate() error
}

// MarginMSE asks that documents lie as far apart as they do for the teacher
// (Hofstätter et al., arXiv:2010.02666):
//
//	loss = mean over pairs i < j of ((s_i - s_j) - (t_i - t_j))²
//
// The scales of scores and teacher are the same; their zeros are free.
type MarginMSE struct{}

// ListKL compares distributions over the documents of a query, with temperature T:
//
//	q = softmax(t/T),  p = softmax(s/T),  loss = T²·KL(q ‖ p)
//
// It is ListNet's loss (Cao et al., ICML 2007) less the entropy of q.
type ListKL struct {
	// Temperature; 0 means 1.
	Temperature float64 `json:"temperature"`
}

// Validate returns nil: there are no settings.
func (MarginMSE) Validate() error { return nil }

// Validate returns an error that names the first invalid field.
func (l ListKL) Validate() error {
	if l.Temperature < 0 || math.IsNaN(l.Temperature) || math.IsInf(l.Temperature, 0) {
		return fmt.Errorf("distill: ListKL.Temperature is %v, want a positive number, or 0 for 1", l.Temperature)
	}
	return nil
}

// Eval implements RankingLoss.
func (MarginMSE) Eval(scores, teacher, grad []float64) (float64, error) {
	if err := checkScores(scores, teacher, grad); err != nil {
		return 0, err
	}
	// With d = s - t the sum over pairs of (d_i - d_j)² is n·Σ(d_i - mean)².
	n, mean := float64(len(scores)), 0.0
	for i := range scores {
		mean += (scores[i] - teacher[i]) / n
	}
	loss, pairs := 0.0, n*(n-1)/2
	for i := range scores {
		if d := scores[i] - teacher[i] - mean; pairs > 0 {
			loss += n * d * d / pairs
			grad[i] = 2 * n * d / pairs
		}
	}
	return loss, nil
}

// Eval implements RankingLoss.
func (l ListKL) Eval(scores, teacher, grad []float64) (float64, error) {
	if err := checkScores(scores, teacher, grad); err != nil || len(scores) < 2 {
		return 0, err
	}
	T := cmp.Or(l.Temperature, 1)
	logQ, logP, loss := logSumExp(teacher, T), logSumExp(scores, T), 0.0
	for i := range scores {
		q, p := teacher[i]/T-logQ, scores[i]/T-logP
		loss += T * T * math.Exp(q) * (q - p)
		grad[i] = T * (math.Exp(p) - math.Exp(q))
	}
	return loss, nil
}

func checkScores(scores, teacher, grad []float64) error {
	if len(teacher) != len(scores) || len(grad) != len(scores) {
		panic(fmt.Sprintf("distill: %d scores, %d of the teacher, %d gradients", len(scores), len(teacher), len(grad)))
	}
	clear(grad)
	for i := range scores {
		if d := scores[i] - teacher[i]; math.IsNaN(d) || math.IsInf(d, 0) {
			return fmt.Errorf("distill: document %d has the score %v, and %v from the teacher", i, scores[i], teacher[i])
		}
	}
	return nil
}

// ByGrade turns a belief into a score of its document: the expected class, counted
// from 0. It is the teacher's score for a RankingLoss.
func ByGrade(belief []float64) float64 {
	sum := 0.0
	for c, p := range belief {
		sum += float64(c) * p
	}
	return sum
}

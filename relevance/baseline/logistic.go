package baseline

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/optimize"
)

// Model is a fitted multinomial logistic regression.
type Model struct {
	classes int
	// weights holds a row per feature and one for the bias, each with a
	// weight per class: [features+1][classes], row-major.
	weights []float64
}

// Fit minimises the mean cross-entropy of ys given xs, plus l2/2 times the
// squared weights (the bias apart), by L-BFGS from zero. The result depends on
// the arguments alone.
//
// An example is the list of its features, each in [0, features); a feature
// that is listed twice counts twice. ys are classes in [0, classes). Fit
// panics if xs and ys differ in length, are empty or out of range, or l2 is
// not positive (without it separable data have no minimum), and returns an
// error if the optimiser fails.
func Fit(xs [][]int, ys []int, features, classes int, l2 float64) (*Model, error) {
	checkFit(xs, ys, features, classes, l2)
	m := &Model{classes: classes, weights: make([]float64, (features+1)*classes)}
	bias := features * classes

	// lossGrad returns the objective at w and, if grad is not nil, fills it.
	lossGrad := func(w, grad []float64) float64 {
		for i := range grad {
			grad[i] = 0
		}
		at := Model{classes, w}
		p := make([]float64, classes)
		var loss float64
		n := float64(len(xs))
		for i, x := range xs {
			at.logProbs(p, x)
			loss -= p[ys[i]] / n
			if grad == nil {
				continue
			}
			for c := range p {
				p[c] = math.Exp(p[c]) / n
			}
			p[ys[i]] -= 1 / n
			for _, f := range x {
				floats.Add(grad[f*classes:(f+1)*classes], p)
			}
			floats.Add(grad[bias:], p)
		}
		if grad != nil {
			floats.AddScaled(grad[:bias], l2, w[:bias])
		}
		return loss + l2/2*floats.Dot(w[:bias], w[:bias])
	}
	problem := optimize.Problem{
		Func: func(w []float64) float64 { return lossGrad(w, nil) },
		Grad: func(grad, w []float64) { lossGrad(w, grad) },
	}
	settings := &optimize.Settings{GradientThreshold: 1e-5, MajorIterations: 500}
	result, err := optimize.Minimize(problem, m.weights, settings, &optimize.LBFGS{})
	if err != nil {
		return nil, fmt.Errorf("baseline: fitting logistic regression: %w", err)
	}
	m.weights = result.X
	return m, nil
}

func checkFit(xs [][]int, ys []int, features, classes int, l2 float64) {
	if len(xs) != len(ys) || len(xs) == 0 {
		panic(fmt.Sprintf("baseline: Fit of %d examples with %d labels", len(xs), len(ys)))
	}
	if classes < 2 || !(l2 > 0) {
		panic(fmt.Sprintf("baseline: Fit with %d classes and l2 %v, want at least 2 and above 0", classes, l2))
	}
	for i, x := range xs {
		if ys[i] < 0 || ys[i] >= classes {
			panic(fmt.Sprintf("baseline: example %d has class %d, want 0 to %d", i, ys[i], classes-1))
		}
		for _, f := range x {
			if f < 0 || f >= features {
				panic(fmt.Sprintf("baseline: example %d has feature %d, want 0 to %d", i, f, features-1))
			}
		}
	}
}

// logProbs fills p with the log-probability of each class.
func (m *Model) logProbs(p []float64, x []int) {
	copy(p, m.weights[len(m.weights)-m.classes:])
	for _, f := range x {
		floats.Add(p, m.weights[f*m.classes:(f+1)*m.classes])
	}
	floats.AddConst(-floats.LogSumExp(p), p)
}

// Probs returns the probability of each class.
func (m *Model) Probs(x []int) []float64 {
	p := make([]float64, m.classes)
	m.logProbs(p, x)
	for c := range p {
		p[c] = math.Exp(p[c])
	}
	return p
}

// Predict returns the most probable class, the lowest of equals.
func (m *Model) Predict(x []int) int {
	p := make([]float64, m.classes)
	m.logProbs(p, x)
	return floats.MaxIdx(p)
}

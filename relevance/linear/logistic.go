package linear

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize"
)

// Model is a fitted multinomial logistic regression on standardised features.
type Model struct {
	// Mean and Scale of each feature: a model sees (x - Mean) / Scale. A feature
	// that is constant in training has the scale 1.
	Mean  []float64 `json:"mean"`
	Scale []float64 `json:"scale"`
	// Weights has a row for each class with a weight for each feature.
	Weights [][]float64 `json:"weights"`
	// Bias has one number for each class.
	Bias []float64 `json:"bias"`
}

// Fit minimises the cross-entropy of the label distributions y given the features
// x, summed over the n rows, plus l2/2 times the squared weights (the bias apart).
// This is scikit-learn's LogisticRegression with C = 1/l2. It starts from zero and
// uses L-BFGS (Nocedal and Wright 2006, algorithm 7.5).
//
// x is [n][features]; NaN stands for an unknown value and counts as the mean. y is
// [n][classes]; each row sums to 1 (or to the row's weight). Fit panics if the
// shapes disagree or l2 is not positive, without which separable data have no
// minimum. It returns an error if x is infinite somewhere or the optimiser fails.
func Fit(x, y [][]float64, l2 float64) (*Model, error) {
	check(len(x), y, l2)
	n, features := len(x), len(x[0])
	for i := range x {
		if len(x[i]) != features || features == 0 {
			panic(fmt.Sprintf("linear: row %d has %d features, row 0 has %d; want as many and at least one", i, len(x[i]), features))
		}
	}
	m := standardise(x)
	data := mat.NewDense(n, features+1, nil) // the last column is the bias's
	for i := range x {
		row := data.RawRowView(i)
		for j, v := range x[i] {
			if math.IsInf(v, 0) {
				return nil, fmt.Errorf("linear: feature %d of row %d is infinite", j, i)
			}
			row[j] = m.standard(j, v)
		}
		row[features] = 1
	}
	return m, m.fit(dense{data}, y, features, l2)
}

// FitCounts is Fit for words and other features of which a row has only a few. A row
// lists its features, each in [0, features); one that is listed twice counts twice.
// Counts are not standardised. Use [Model.ProbsOfCounts] with it. FitCounts panics as
// Fit does, and on a feature out of range.
func FitCounts(x [][]int, features int, y [][]float64, l2 float64) (*Model, error) {
	check(len(x), y, l2)
	for i, row := range x {
		for _, j := range row {
			if j < 0 || j >= features {
				panic(fmt.Sprintf("linear: row %d has feature %d, want 0 to %d", i, j, features-1))
			}
		}
	}
	m := &Model{Mean: make([]float64, features), Scale: make([]float64, features)}
	for j := range m.Scale {
		m.Scale[j] = 1
	}
	return m, m.fit(counts(x), y, features, l2)
}

// design is the matrix of the features X, [n][features+1], with ones in the last
// column. w and grad are [classes][features+1], row-major.
type design interface {
	// logits fills dst, [n][classes], with X·wᵀ.
	logits(dst *mat.Dense, w []float64)
	// gradient fills grad with residualᵀ·X.
	gradient(grad []float64, residual *mat.Dense)
}

type dense struct{ x *mat.Dense }

func (d dense) logits(dst *mat.Dense, w []float64) {
	_, classes := dst.Dims()
	dst.Mul(d.x, mat.NewDense(classes, len(w)/classes, w).T())
}

func (d dense) gradient(grad []float64, residual *mat.Dense) {
	_, classes := residual.Dims()
	mat.NewDense(classes, len(grad)/classes, grad).Mul(residual.T(), d.x)
}

type counts [][]int

func (x counts) logits(dst *mat.Dense, w []float64) {
	_, classes := dst.Dims()
	width := len(w) / classes
	for i, row := range x {
		logits := dst.RawRowView(i)
		for c := range logits {
			of := w[c*width : (c+1)*width]
			logits[c] = of[width-1]
			for _, j := range row {
				logits[c] += of[j]
			}
		}
	}
}

func (x counts) gradient(grad []float64, residual *mat.Dense) {
	_, classes := residual.Dims()
	width := len(grad) / classes
	clear(grad)
	for i, row := range x {
		for c, r := range residual.RawRowView(i) {
			of := grad[c*width : (c+1)*width]
			of[width-1] += r
			for _, j := range row {
				of[j] += r
			}
		}
	}
}

// fit fills the model's weights and biases.
func (m *Model) fit(x design, y [][]float64, features int, l2 float64) error {
	n, classes, width := len(y), len(y[0]), features+1
	weight := make([]float64, n)
	for i := range y {
		weight[i] = floats.Sum(y[i])
	}
	residual := mat.NewDense(n, classes, nil)

	// forward fills residual with p·weight - y and returns the objective / n.
	forward := func(w []float64) float64 {
		x.logits(residual, w)
		var loss float64
		for i := range n {
			logits := residual.RawRowView(i)
			norm := floats.LogSumExp(logits)
			for c, z := range logits {
				loss -= y[i][c] * (z - norm)
				logits[c] = weight[i]*math.Exp(z-norm) - y[i][c]
			}
		}
		for c := range classes {
			v := w[c*width : c*width+features]
			loss += l2 / 2 * floats.Dot(v, v)
		}
		return loss / float64(n)
	}
	problem := optimize.Problem{
		Func: forward,
		Grad: func(grad, w []float64) {
			forward(w)
			x.gradient(grad, residual)
			for c := range classes {
				at := c * width
				floats.AddScaled(grad[at:at+features], l2, w[at:at+features])
			}
			floats.Scale(1/float64(n), grad)
		},
	}
	const accuracy = 1e-8
	settings := &optimize.Settings{GradientThreshold: accuracy, MajorIterations: 2000, Converger: &optimize.FunctionConverge{Absolute: 1e-14, Iterations: 20}}
	result, err := optimize.Minimize(problem, make([]float64, classes*width), settings, &optimize.LBFGS{Store: 20})
	if result == nil {
		return fmt.Errorf("linear: fitting logistic regression: %w", err)
	}
	// The line search fails where rounding hides any progress: the end, if the
	// gradient is small.
	if err != nil {
		grad := make([]float64, len(result.X))
		problem.Grad(grad, result.X)
		if worst := floats.Norm(grad, math.Inf(1)); !(worst < 1e-5) {
			return errors.Join(fmt.Errorf("linear: fitting logistic regression: stopped with a gradient of %.2g", worst), err)
		}
	}
	for c := range classes {
		row := result.X[c*width : (c+1)*width]
		m.Weights = append(m.Weights, row[:features:features])
		m.Bias = append(m.Bias, row[features])
	}
	return nil
}

func check(n int, y [][]float64, l2 float64) {
	if n != len(y) || n == 0 || len(y[0]) < 2 {
		panic(fmt.Sprintf("linear: %d rows with %d labels; want as many, at least one row and two classes", n, len(y)))
	}
	if !(l2 > 0) {
		panic(fmt.Sprintf("linear: l2 is %v, want above 0", l2))
	}
	for i := range y {
		if len(y[i]) != len(y[0]) {
			panic(fmt.Sprintf("linear: row %d has %d classes, row 0 has %d", i, len(y[i]), len(y[0])))
		}
	}
}

// standardise returns a model with mean and standard deviation of the features.
func standardise(x [][]float64) *Model {
	features := len(x[0])
	m := &Model{Mean: make([]float64, features), Scale: make([]float64, features)}
	for j := range features {
		var n, sum, squares float64
		for i := range x {
			if v := x[i][j]; !math.IsNaN(v) {
				n++
				sum += v
			}
		}
		mean := 0.
		if n > 0 {
			mean = sum / n
		}
		for i := range x {
			if v := x[i][j]; !math.IsNaN(v) {
				squares += (v - mean) * (v - mean)
			}
		}
		// Over all rows: one that stands for the mean deviates by nothing.
		scale := math.Sqrt(squares / float64(len(x)))
		if scale < 1e-12*(1+math.Abs(mean)) {
			scale = 1
		}
		m.Mean[j], m.Scale[j] = mean, scale
	}
	return m
}

func (m *Model) standard(j int, v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return (v - m.Mean[j]) / m.Scale[j]
}

// Probs returns the probability of each class. It panics if x has another number
// of features than the model.
func (m *Model) Probs(x []float64) []float64 {
	if len(x) != len(m.Mean) {
		panic(fmt.Sprintf("linear: %d features, want the model's %d", len(x), len(m.Mean)))
	}
	p := make([]float64, len(m.Bias))
	for c, w := range m.Weights {
		p[c] = m.Bias[c]
		for j, v := range x {
			p[c] += w[j] * m.standard(j, v)
		}
	}
	return softmax(p)
}

// ProbsOfCounts returns the probability of each class for a row as FitCounts takes
// it. It panics on a feature out of range.
func (m *Model) ProbsOfCounts(x []int) []float64 {
	p := slices.Clone(m.Bias)
	for c, w := range m.Weights {
		for _, j := range x {
			p[c] += w[j]
		}
	}
	return softmax(p)
}

func softmax(p []float64) []float64 {
	norm := floats.LogSumExp(p)
	for c := range p {
		p[c] = math.Exp(p[c] - norm)
	}
	return p
}

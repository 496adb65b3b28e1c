package linear

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
)

// Data is what a cross-fit needs to know about judged rows.
type Data struct {
	// Features returns the features of the given rows for a model that may know
	// the labels of the training rows, and of no others. What it learns from the
	// labels for a row must come from other queries than the row's. Features that
	// come from no label ignore train.
	Features func(train, rows []int) [][]float64
	// Soft has a distribution over the classes for each row: what raters said.
	Soft [][]float64
	// Labels has the class of each row.
	Labels []int
	// Queries has the query of each row. Rows of a query stay together.
	Queries []string
}

// Settings are the settings of CrossFit.
type Settings struct {
	// L2 lists the penalties to choose from, see Fit.
	L2 []float64
	// Folds is the number of parts that the training queries are split into.
	Folds int
	// Seed draws the parts, and the resamples for the cut points.
	Seed uint64
}

// DefaultSettings returns four folds and penalties from 50 to 1600.
func DefaultSettings() Settings {
	return Settings{L2: []float64{50, 200, 400, 800, 1600}, Folds: 4}
}

// Validate returns an error that names the first invalid setting.
func (s Settings) Validate() error {
	if len(s.L2) == 0 {
		return errors.New("linear: Settings.L2 is empty, want at least one penalty")
	}
	for _, l2 := range s.L2 {
		if !(l2 > 0) || math.IsInf(l2, 0) {
			return fmt.Errorf("linear: Settings.L2 has %v, want penalties above 0", l2)
		}
	}
	if s.Folds < 2 {
		return fmt.Errorf("linear: Settings.Folds is %d, want at least 2", s.Folds)
	}
	return nil
}

// Beliefs is the result of CrossFit: what models believe of rows whose query they
// have not seen.
type Beliefs struct {
	// Train has a distribution over the classes for each training row, of a model
	// fitted without the row's part of the training queries.
	Train [][]float64
	// Test has one for each test row, of Model.
	Test [][]float64
	// Model is fitted on all training rows with the penalty L2.
	Model *Model
	L2    float64
	// Loss is the mean cross-entropy of Train with the soft labels.
	Loss float64
	// Cuts are tuned on Train, see BaggedCuts.
	Cuts []float64
}

// CrossFit fits models on the training rows and returns what they believe of each
// training row, by cross-fitting over the training queries, and of each test row.
// The penalty is the one with the least cross-entropy of the training rows'
// beliefs, and the cut points are tuned on these: nothing of the test rows but
// their features is read. A later model can be given the beliefs as an input; they
// are as honest in training as in test (stacking, Wolpert 1992,
// doi:10.1016/S0893-6080(05)80023-1).
func CrossFit(d Data, train, test []int, s Settings) (*Beliefs, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	parts := split(d.Queries, train, s)
	b := &Beliefs{Loss: math.Inf(1)}
	inner := make([][]float64, len(train))
	folds := make([]fold, s.Folds)
	for p := range folds {
		var rest, held []int
		for i, row := range train {
			if parts[i] == p {
				held = append(held, row)
				folds[p].at = append(folds[p].at, i)
			} else {
				rest = append(rest, row)
			}
		}
		if len(held) == 0 || len(rest) == 0 {
			return nil, fmt.Errorf("linear: too few queries for %d folds", s.Folds)
		}
		folds[p].x, folds[p].y = d.Features(rest, rest), pick(d.Soft, rest)
		folds[p].held = d.Features(rest, held)
	}
	soft := pick(d.Soft, train)
	for _, l2 := range s.L2 {
		for _, f := range folds {
			m, err := Fit(f.x, f.y, l2)
			if err != nil {
				return nil, err
			}
			for k, x := range f.held {
				inner[f.at[k]] = m.Probs(x)
			}
		}
		if loss := CrossEntropy(inner, soft); loss < b.Loss {
			b.Loss, b.L2, b.Train = loss, l2, slices.Clone(inner)
		}
	}
	expected := make([]float64, len(train))
	for i, p := range b.Train {
		expected[i] = Expected(p)
	}
	b.Cuts = BaggedCuts(expected, pick(d.Labels, train), pick(d.Queries, train), len(soft[0]), s.Seed)
	var err error
	if b.Model, err = Fit(d.Features(train, train), soft, b.L2); err != nil {
		return nil, err
	}
	for _, x := range d.Features(train, test) {
		b.Test = append(b.Test, b.Model.Probs(x))
	}
	return b, nil
}

// fold is one part of the training queries: features and labels of the others, and
// the features of its own rows with their places among the training rows.
type fold struct {
	x, y, held [][]float64
	at         []int
}

// split returns the part of each training row: queries are shuffled and dealt.
func split(queries []string, train []int, s Settings) []int {
	var names []string
	seen := make(map[string]int)
	for _, row := range train {
		if _, ok := seen[queries[row]]; !ok {
			seen[queries[row]] = 0
			names = append(names, queries[row])
		}
	}
	// The order of the rows must not matter.
	slices.Sort(names)
	h := fnv.New64a()
	for _, n := range names {
		h.Write([]byte(n))
	}
	rng := rand.New(rand.NewPCG(s.Seed, h.Sum64()))
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for i, n := range names {
		seen[n] = i % s.Folds
	}
	parts := make([]int, len(train))
	for i, row := range train {
		parts[i] = seen[queries[row]]
	}
	return parts
}

// CrossEntropy returns the mean cross-entropy of the beliefs with the labels, in
// nats.
func CrossEntropy(beliefs, labels [][]float64) float64 {
	var sum float64
	for i, p := range beliefs {
		for c, y := range labels[i] {
			if y > 0 {
				sum -= y * math.Log(max(p[c], 1e-12))
			}
		}
	}
	return sum / float64(len(beliefs))
}

func pick[T any](items []T, rows []int) []T {
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = items[r]
	}
	return out
}

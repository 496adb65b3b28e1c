package preset_test

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/preset"
	"github.com/stepwise-rl/stepwise/rollout"
)

// golden is a file of testdata/peers/golden, which says how it was made.
type golden struct {
	Defaults   map[string]any
	Advantages []advantageCase
	Losses     []lossCase
	KL         []klCase
	Entropy    []entropyCase
}

type advantageCase struct {
	Name, Symbol, DType, Batch string
	Advantages                 [][]number
}

type lossCase struct {
	Name, Symbol, DType, Batch, Adv string
	Loss                            float64
	Grad                            [][]float64
	EntropyGrad                     [][]float64 `json:"entropy_grad"`
	// Fresh says that the policy was still the old one.
	Fresh bool
	// Mask, if present, is what the peer left of the batch's mask.
	Mask [][]int
}

type klCase struct {
	Name, Symbol, DType, Batch string
	Value, Grad                [][]float64
}

// entropyCase is an adaptive coefficient over optimiser steps: the entropy of each, the
// coefficient that it applied, and the one after it.
type entropyCase struct {
	Name, Symbol string
	Steps        []struct{ Entropy, Applied, Coef float64 }
}

// number is NaN where the file has null.
type number float64

func (n *number) UnmarshalJSON(b []byte) error {
	*n = number(math.NaN())
	if string(b) == "null" {
		return nil
	}
	return json.Unmarshal(b, (*float64)(n))
}

// rewards is one number or several.
type rewards []number

func (r *rewards) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return json.Unmarshal(b, (*[]number)(r))
	}
	*r = make(rewards, 1)
	return json.Unmarshal(b, &(*r)[0])
}

// inputs is testdata/peers/inputs.json.
type inputs struct {
	Advantages map[string]struct {
		Rewards [][]rewards
		Tokens  [][]int
		Shaping [][][]float64
		Weights []float64
	}
	Losses map[string]step
}

// step is the numbers of one optimiser step.
type step struct {
	LogP, Old, Ref, Rollout, Entropy, Adv [][]float64
	RowAdv                                []float64 `json:"row_adv"`
	Mask                                  [][]int
	Prompt                                []int

	reject     []objective.Rejection
	topEntropy float64
	ranked     bool // by covariance
}

const peers = "../../testdata/peers"

func read[T any](t *testing.T, path string) (v T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(peers, path))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &v))
	return v
}

func readGolden(t *testing.T, name string) golden {
	t.Helper()
	return read[golden](t, "golden/"+name+".json")
}

// groups makes the groups of an advantage batch.
func (in inputs) groups(name string) []rollout.Group {
	b := in.Advantages[name]
	var batch []rollout.Group
	for i := range b.Rewards {
		g := make(rollout.Group, len(b.Rewards[i]))
		for j, r := range b.Rewards[i] {
			for _, x := range r {
				g[j].Rewards = append(g[j].Rewards, float64(x))
			}
			g[j].Tokens = make([]int32, b.Tokens[i][j])
			if b.Shaping != nil {
				g[j].Shaping = b.Shaping[i][j]
			}
		}
		batch = append(batch, g)
	}
	return batch
}

// sequences makes the sequences of a step; the teacher is the reference. Nothing that an excluded position holds
// may ever be read, so it is NaN.
func (s step) sequences(rowAdv bool) []*objective.Sequence {
	var seqs []*objective.Sequence
	for i := range s.LogP {
		n := len(s.LogP[i])
		q := &objective.Sequence{
			LogP: s.row(i, s.LogP), Old: s.row(i, s.Old), Ref: s.row(i, s.Ref),
			Rollout: s.row(i, s.Rollout), Teacher: s.row(i, s.Ref), Entropy: s.row(i, s.Entropy), Adv: s.row(i, s.Adv),
			Grad: make([]float64, n), EntropyGrad: make([]float64, n),
		}
		if rowAdv {
			for t := range q.Adv {
				q.Adv[t] = s.RowAdv[i]
			}
		}
		seqs = append(seqs, q)
	}
	return seqs
}

func (s step) row(i int, of [][]float64) []float64 {
	row := append([]float64(nil), of[i]...)
	for t, m := range s.Mask[i] {
		if m == 0 {
			row[t] = math.NaN()
		}
	}
	return row
}

func (s step) include() [][]bool {
	include := make([][]bool, len(s.Mask))
	for i := range s.Mask {
		for _, m := range s.Mask[i] {
			include[i] = append(include[i], m == 1)
		}
	}
	return include
}

// weigh chooses the tokens and fixes the weights of all sequences, as rl.Trainer does.
func (s step) weigh(t *testing.T, agg objective.Aggregation, seqs []*objective.Sequence) {
	t.Helper()
	rows := func(of func(q *objective.Sequence) []float64) (rows [][]float64) {
		for _, q := range seqs {
			rows = append(rows, of(q))
		}
		return rows
	}
	l := objective.Layout{Include: s.include(), Prompt: s.Prompt}
	var err error
	if len(s.reject) > 0 {
		old, rollout := func(q *objective.Sequence) []float64 { return q.Old }, func(q *objective.Sequence) []float64 { return q.Rollout }
		l.Include, _, err = l.Reject(rows(old), rows(rollout), s.reject...)
		require.NoError(t, err)
	}
	if s.topEntropy > 0 {
		l.Keep, _, err = l.TopEntropy(rows(func(q *objective.Sequence) []float64 { return q.Entropy }), s.topEntropy)
		require.NoError(t, err)
		for i, q := range seqs {
			q.Keep = l.Keep[i]
		}
	}
	if s.ranked {
		ranks, err := l.CovRanks(rows(func(q *objective.Sequence) []float64 { return q.LogP }), rows(func(q *objective.Sequence) []float64 { return q.Adv }))
		require.NoError(t, err)
		for i, q := range seqs {
			q.CovRank = ranks[i]
		}
	}
	loss, kl, err := agg.Weigh(l)
	require.NoError(t, err)
	for i, q := range seqs {
		q.Weight, q.KLWeight = loss[i], kl[i]
	}
}

func largest(row []float64) (x float64) {
	for _, v := range row {
		x = max(x, math.Abs(v))
	}
	return x
}

// tolerance is how far a number may be off, relatively, from one that a peer
// computed in the given type.
func tolerance(dtype string) float64 {
	if dtype == "float32" {
		return 1e-5
	}
	return 1e-6
}

// requireClose compares rows. Beside the relative tolerance of each entry there
// is an absolute one for entries that are sums of larger ones: a thousandth of
// the relative tolerance of the row's largest.
func requireClose(t *testing.T, want, got [][]float64, dtype string) {
	t.Helper()
	requireWithin(t, want, got, dtype, 0)
}

// requireWithin is requireClose with a further absolute slack.
func requireWithin(t *testing.T, want, got [][]float64, dtype string, absolute float64) {
	t.Helper()
	require.Len(t, got, len(want))
	for i := range want {
		require.Len(t, got[i], len(want[i]))
		for j, w := range want[i] {
			slack := tolerance(dtype)*(math.Abs(w)+largest(want[i])/1000) + absolute
			require.InDelta(t, w, got[i][j], slack, "row %d, position %d", i, j)
		}
	}
}

// Preset is the type under test.
type Preset = preset.Preset

// get is Get for a name that exists.
func get(name string) Preset {
	p, err := preset.Get(name)
	if err != nil {
		panic(err)
	}
	return p
}

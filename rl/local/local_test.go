package local_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/model"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/local"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/tensor"
	"github.com/stepwise-rl/stepwise/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/tensor/reference"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var tiny = model.Config{Vocab: 13, Dim: 16, Layers: 2, Heads: 2, KVHeads: 1, FF: 24, MaxSeq: 32, TieEmbeddings: true}

func open(t *testing.T, b tensor.Backend, maxRows int) *local.Policy {
	t.Helper()
	d, err := model.NewDecoder(b, tiny, 5)
	require.NoError(t, err)
	p, err := local.New(local.Config{Decoder: d, MaxRows: maxRows, Dir: t.TempDir()})
	require.NoError(t, err)
	return p
}

func TestPolicyContract(t *testing.T) {
	for name, c := range map[string]struct {
		backend func() tensor.Backend
		maxRows int
	}{
		"one micro-batch":      {func() tensor.Backend { return reference.New() }, 0},
		"many micro-batches":   {func() tensor.Backend { return reference.New() }, 9},
		"asynchronous backend": {func() tensor.Backend { return backendtest.NewAsync(reference.New()) }, 9},
		"a sample at a time":   {func() tensor.Backend { return reference.New() }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			policytest.Run(t, policytest.Options{
				Open:  func(t *testing.T) rl.Policy { return open(t, c.backend(), c.maxRows) },
				Vocab: tiny.Vocab,
			})
		})
	}
}

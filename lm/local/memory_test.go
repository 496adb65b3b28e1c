package local_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/rollout"
)

// counting is package cpu's backend, and counts the elements of its buffers
// and how many matrices are packed.
type counting struct {
	*cpu.Backend
	live, packs int
}

func (c *counting) Alloc(n int) tensor.Buffer {
	c.live += n
	return c.Backend.Alloc(n)
}

func (c *counting) Free(b tensor.Buffer) {
	c.live -= b.Len()
	c.Backend.Free(b)
}

func (c *counting) Pack(f tensor.Format, p tensor.Buffer, opB tensor.Op, n, k int, b tensor.Buffer) {
	c.packs++
	c.Backend.Pack(f, p, opB, n, k, b)
}

// Memory has the bound of the EngineConfig however much is asked for at once, and
// is less if less is asked for.
func TestMemoryIsBounded(t *testing.T) {
	b := &counting{Backend: openCPU(t).(*cpu.Backend)}
	d := sharpDecoder(t, b)
	weights := b.live
	used := func(rows, requests int) int {
		e := newEngine(t, d, local.EngineConfig{CacheRows: rows, Sequences: 4, PassRows: 8})
		defer e.Free()
		var reqs []rollout.Request
		for range requests {
			reqs = append(reqs, rollout.Request{Prompt: []int32{1, 5, 3, 8}, N: 6, Params: rollout.Params{Temperature: 1, MaxTokens: 20}})
		}
		generate(t, e, reqs...)
		return b.live - weights
	}
	caches := func(rows int) int {
		return 2 * tiny.Layers * b.CacheLen(tensor.CacheShape{Rows: rows, KVHeads: tiny.KVHeads, HeadDim: 4})
	}
	rest := used(40, 1) - caches(40)
	require.Equal(t, rest+caches(40), used(40, 100))
	require.Equal(t, rest+caches(64), used(64, 100))
	// Four sequences at a time, each with a prompt and its own rows in blocks of 32.
	require.Equal(t, rest+caches(4*64), used(1000, 100))
	// One prompt and as many completions as can run.
	require.Equal(t, rest+caches(32+4*32), used(1000, 1))
	require.Equal(t, weights, b.live)
}

// Static weights are laid out once until Refresh, others in every call.
func TestStatic(t *testing.T) {
	b := &counting{Backend: openCPU(t).(*cpu.Backend)}
	d := sharpDecoder(t, b)
	weights, each := b.live, 7*tiny.Layers+1
	r := rollout.Request{Prompt: []int32{1, 5}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 4}}
	for _, static := range []bool{false, true} {
		b.packs = 0
		e := newEngine(t, d, local.EngineConfig{Static: static})
		want := generate(t, e, r)
		require.Equal(t, want, generate(t, e, r))
		if static {
			require.Equal(t, each, b.packs)
		} else {
			require.Equal(t, 2*each, b.packs)
		}
		b.Fill(d.Params()[0].Value, 0) // the embedding
		require.NoError(t, e.Refresh(t.Context(), rollout.Weights{Version: 1, Local: d}))
		got := generate(t, e, r)
		for _, c := range got[0] {
			require.NotEqual(t, want[0][c.Index].LogP, c.LogP)
		}
		if static {
			require.Equal(t, 2*each, b.packs)
		}
		e.Free()
		require.Equal(t, weights, b.live)
		d.Free()
		d = sharpDecoder(t, b)
	}
}

// What a policy holds on to of an engine that was freed is little: a training may make one
// for every evaluation.
func TestAFreedEngineHoldsNoLogits(t *testing.T) {
	c := tiny
	c.Vocab, c.TieEmbeddings = 1<<16, true
	d, err := model.NewDecoder(openCPU(t), c, 1)
	require.NoError(t, err)
	p := policyOf(t, d, 0)
	defer p.Free()
	heap := func() int {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc)
	}
	use := func() {
		e, err := p.NewEngine(letters{}, local.EngineConfig{EOS: []int32{}})
		require.NoError(t, err)
		generate(t, e, rollout.Request{Prompt: []int32{1}, N: 32, Params: rollout.Params{Temperature: 1, MaxTokens: 2}})
		e.Free()
	}
	use()
	use()
	before := heap()
	use()
	use()
	require.Less(t, heap()-before, 32*c.Vocab*4)
}

// One Free of a policy, and one of a student, gives back all that was allocated.
func TestFreeReleasesAll(t *testing.T) {
	b := &counting{Backend: openCPU(t).(*cpu.Backend)}
	r := rollout.Request{Prompt: []int32{1, 5}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 4}}
	for _, adapters := range []bool{false, true} {
		d := newDecoder(t, b, 5)
		if adapters {
			_, err := d.AddLoRA(tinyLoRA, 6)
			require.NoError(t, err)
		}
		p := policyOf(t, d, 0)
		train(t, p)
		e, err := p.NewEngine(letters{}, local.EngineConfig{EOS: []int32{}})
		require.NoError(t, err)
		require.EqualValues(t, 2, generate(t, e, r)[0][0].FirstVersion, "the policy's version")
		require.NoError(t, e.Generate(t.Context(), []rollout.Request{r}, func(rollout.Completion) error {
			require.PanicsWithValue(t, "local: Free of an engine that is in use", p.Free)
			return nil
		}))
		p.Free()
		require.Zero(t, b.live)
	}
	s := newStudent(t, b, 1, 0)
	learn(t, s)
	s.Free()
	require.Zero(t, b.live)
}

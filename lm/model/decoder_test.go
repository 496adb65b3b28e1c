package model_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

var tiny = model.Config{Vocab: 11, Dim: 16, Layers: 2, Heads: 4, KVHeads: 2, FF: 24, MaxSeq: 32, QKNorm: true}

func newDecoder(t *testing.T, b tensor.Backend, cfg model.Config) *model.Decoder {
	t.Helper()
	d, err := model.NewDecoder(b, cfg, 42)
	require.NoError(t, err)
	return d
}

var (
	prompt      = []int32{1, 5, 3, 8}
	completions = [][]int32{{2, 9, 4}, {7}, {10, 0, 6, 1, 1}}
)

// target appends the targets of a completion whose prompt ends at row last
// and whose own rows begin at row start.
func target(t *model.Targets, completion []int32, last, start int) {
	for i, id := range completion {
		row := last
		if i > 0 {
			row = start + i - 1
		}
		t.Rows = append(t.Rows, int32(row))
		t.IDs = append(t.IDs, id)
	}
}

func gradients(t *testing.T, d *model.Decoder) [][]float32 {
	var all [][]float32
	for _, p := range d.Params() {
		g := make([]float32, p.Len())
		require.NoError(t, d.Backend().Read(g, p.Grad))
		all = append(all, g)
	}
	return all
}

// weights returns gradients of a loss with respect to n log-probs.
func weights(n int) []float32 {
	w := make([]float32, n)
	for i := range w {
		w[i] = float32(math.Sin(float64(3*i + 1)))
	}
	return w
}

func TestSharedPromptRowsGiveTheSameLogProbsAndGradients(t *testing.T) {
	b := reference.New()

	var shared model.Pack
	var sharedTargets model.Targets
	first := shared.Add(prompt, -1)
	for _, c := range completions {
		start := shared.Rows()
		if len(c) > 1 {
			shared.Add(c[:len(c)-1], first)
		}
		target(&sharedTargets, c, len(prompt)-1, start)
	}

	var apart model.Pack
	var apartTargets model.Targets
	for _, c := range completions {
		start := apart.Rows()
		apart.Add(append(append([]int32{}, prompt...), c[:len(c)-1]...), -1)
		target(&apartTargets, c, start+len(prompt)-1, start+len(prompt))
	}
	require.Equal(t, 4+2+0+4, shared.Rows())
	require.Equal(t, 3*4+2+0+4, apart.Rows())

	run := func(p *model.Pack, tg *model.Targets) ([]float32, [][]float32) {
		d := newDecoder(t, b, tiny)
		logp := make([]float32, len(tg.IDs))
		require.NoError(t, d.Forward(p, tg, logp, nil))
		require.NoError(t, d.Backward(weights(len(tg.IDs)), nil))
		return logp, gradients(t, d)
	}
	wantLogP, wantGrad := run(&apart, &apartTargets)
	gotLogP, gotGrad := run(&shared, &sharedTargets)
	require.InDeltaSlice(t, wantLogP, gotLogP, 1e-6)
	for i, want := range wantGrad {
		scale := 0.0
		for _, v := range want {
			scale = max(scale, math.Abs(float64(v)))
		}
		require.InDeltaSlice(t, want, gotGrad[i], 1e-5*scale)
	}
}

func TestScoreAndLogitsAgreeWithForward(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	var p model.Pack
	p.Add([]int32{1, 2, 3, 4, 5}, -1)
	tg := &model.Targets{Rows: []int32{0, 1, 1, 4}, IDs: []int32{2, 3, 7, 0}, Temperature: 0.7}
	forward, entropy := make([]float32, 4), make([]float32, 4)
	score := make([]float32, 4)
	require.NoError(t, d.Forward(&p, tg, forward, entropy))
	require.NoError(t, d.Score(&p, tg, score, nil))
	require.Equal(t, forward, score)

	logits := make([]float32, 4*tiny.Vocab)
	require.NoError(t, d.Logits(&p, tg.Rows, logits))
	for i := range tg.Rows {
		row := logits[i*tiny.Vocab : (i+1)*tiny.Vocab]
		z := 0.0
		for _, v := range row {
			z += math.Exp(float64(v) / 0.7)
		}
		h := 0.0
		for _, v := range row {
			lp := float64(v)/0.7 - math.Log(z)
			h -= math.Exp(lp) * lp
		}
		require.InDelta(t, float64(row[tg.IDs[i]])/0.7-math.Log(z), forward[i], 1e-5)
		require.InDelta(t, h, entropy[i], 1e-5)
	}
}

func TestCachedDecodingAgreesWithFullForward(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	v := tiny.Vocab

	// Both prompts in one batch, then their completions in lock-step, each
	// with its own rows behind the shared prompt rows.
	prompts := [][]int32{{1, 5, 3}, {2}}
	follow := [][]int32{{4, 6, 7}, {8, 9, 10}, {0, 1, 2}} // of prompts 0, 0, 1
	of := []int{0, 0, 1}
	const room = 4
	c := d.NewCache(4 + len(follow)*room)
	defer c.Free()

	var s model.CacheBatch
	var promptSpan []tensor.Range
	for _, p := range prompts {
		start := len(s.Tokens)
		for i, id := range p {
			s.Tokens, s.Pos, s.Slots = append(s.Tokens, id), append(s.Pos, int32(i)), append(s.Slots, int32(start+i))
			s.Ranges = append(s.Ranges, []tensor.Range{{Start: start, End: start + i + 1}})
		}
		s.LogitRows = append(s.LogitRows, int32(len(s.Tokens)-1))
		promptSpan = append(promptSpan, tensor.Range{Start: start, End: len(s.Tokens)})
	}
	full := func(tokens []int32) []float32 {
		var p model.Pack
		p.Add(tokens, -1)
		logits := make([]float32, v)
		require.NoError(t, d.Logits(&p, []int32{int32(len(tokens) - 1)}, logits))
		return logits
	}
	logits := make([]float32, len(prompts)*v)
	require.NoError(t, d.Append(c, &s, logits))
	for i, p := range prompts {
		require.InDeltaSlice(t, full(p), logits[i*v:(i+1)*v], 1e-5)
	}

	logits = make([]float32, len(follow)*v)
	for n := range 3 {
		s = model.CacheBatch{}
		for i, tokens := range follow {
			own := 4 + i*room
			s.Tokens = append(s.Tokens, tokens[n])
			s.Pos = append(s.Pos, int32(len(prompts[of[i]])+n))
			s.Slots = append(s.Slots, int32(own+n))
			s.Ranges = append(s.Ranges, []tensor.Range{promptSpan[of[i]], {Start: own, End: own + n + 1}})
			s.LogitRows = append(s.LogitRows, int32(i))
		}
		require.NoError(t, d.Append(c, &s, logits))
		for i, tokens := range follow {
			whole := append(append([]int32{}, prompts[of[i]]...), tokens[:n+1]...)
			require.InDeltaSlice(t, full(whole), logits[i*v:(i+1)*v], 1e-5)
		}
	}
}

func TestSeedDecidesWeights(t *testing.T) {
	read := func(seed uint64) []float32 {
		b := reference.New()
		d, err := model.NewDecoder(b, tiny, seed)
		require.NoError(t, err)
		v := make([]float32, d.Params()[1].Len())
		require.NoError(t, b.Read(v, d.Params()[1].Value))
		return v
	}
	require.Equal(t, read(1), read(1))
	require.NotEqual(t, read(1), read(2))
}

func TestFrozenCloneScoresAlikeAndStaysBehind(t *testing.T) {
	b := reference.New()
	d := newDecoder(t, b, tiny)
	ref := d.Clone()
	require.Nil(t, ref.Params()[0].Grad)
	var p model.Pack
	p.Add(prompt, -1)
	tg := &model.Targets{Rows: []int32{0, 1}, IDs: []int32{5, 3}}
	before, after, now := make([]float32, 2), make([]float32, 2), make([]float32, 2)
	require.NoError(t, d.Score(&p, tg, before, nil))
	b.Fill(d.Params()[0].Value, 1)
	require.NoError(t, ref.Score(&p, tg, after, nil))
	require.NoError(t, d.Score(&p, tg, now, nil))
	require.Equal(t, before, after)
	require.NotEqual(t, before, now)
}

// A decoder takes over the bits of another's weights, also from one backend to another
// and where a tensor takes several parts, but none of other shapes.
func TestCopyFrom(t *testing.T) {
	large := tiny
	large.Vocab, large.TieEmbeddings = 1<<14+1, true // an embedding of one row more than is copied at once
	drawn := func(b tensor.Backend, seed uint64) *model.Decoder {
		d, err := model.NewDecoder(b, large, seed)
		require.NoError(t, err)
		return d
	}
	bits := func(d *model.Decoder) (all []uint32) {
		for _, p := range d.Params() {
			v := make([]float32, p.Len())
			require.NoError(t, d.Backend().Read(v, p.Value))
			for _, x := range v {
				all = append(all, math.Float32bits(x))
			}
		}
		return all
	}
	b := reference.New()
	src := drawn(b, 1)
	embedding := src.Params()[0].Value
	odd := []float32{float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, math.MaxFloat32, 0x1.fffffep-1}
	b.Write(b.Slice(embedding, embedding.Len()-len(odd), embedding.Len()), odd)
	want := bits(src)
	for name, to := range map[string]tensor.Backend{
		"the same": b, "another": reference.New(), "asynchronous": backendtest.NewAsync(reference.New()), "cpu": openCPU(),
	} {
		d := drawn(to, 2)
		require.False(t, slices.Equal(want, bits(d)), name)
		require.NoError(t, d.CopyFrom(src), name)
		require.True(t, slices.Equal(want, bits(d)), name)
		to.Fill(d.Params()[0].Value, 0)
		require.True(t, slices.Equal(want, bits(src)), "%s: they share no memory", name)
	}

	wider := tiny
	wider.FF++
	other, plain := newDecoder(t, openCPU(), wider), newDecoder(t, b, tiny)
	before := bits(other)
	require.EqualError(t, other.CopyFrom(plain), fmt.Sprintf("model: CopyFrom a decoder of the configuration %+v, want %+v", plain.Config(), other.Config()))
	require.Equal(t, before, bits(other))

	// An error of either backend is returned, and the next copy is whole.
	boom := errors.New("out of order")
	failing := backendtest.NewAsync(reference.New())
	d := newDecoder(t, failing, tiny)
	failing.FailAfter(1, boom)
	require.ErrorIs(t, d.CopyFrom(plain), boom)
	require.NoError(t, d.CopyFrom(plain))
	require.Equal(t, bits(plain), bits(d))
	failing.FailAfter(1, boom)
	require.ErrorIs(t, plain.CopyFrom(d), boom)
}

func TestBadInputIsAnErrorThatNamesIt(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	good := func() *model.Pack {
		var p model.Pack
		p.Add(prompt, -1)
		return &p
	}
	for name, c := range map[string]struct {
		pack    func(p *model.Pack)
		targets model.Targets
		want    string
	}{
		"token":       {pack: func(p *model.Pack) { p.Tokens[2] = 11 }, want: "row 2 has token id 11, want 0 to 10"},
		"position":    {pack: func(p *model.Pack) { p.Pos[1] = 32 }, want: "row 1 has position 32, want 0 to 31"},
		"gap":         {pack: func(p *model.Pack) { p.Segments[0].End = 3 }, want: "end at row 3 of 4"},
		"prefix":      {pack: func(p *model.Pack) { p.Segments[0].Prefix = 0 }, want: "segment 0 of the pack has prefix 0"},
		"empty":       {pack: func(p *model.Pack) { p.Reset() }, want: "empty"},
		"no target":   {want: "no row"},
		"target id":   {targets: model.Targets{Rows: []int32{0}, IDs: []int32{-1}}, want: "target 0 is token id -1"},
		"target row":  {targets: model.Targets{Rows: []int32{4}, IDs: []int32{1}}, want: "target 0 is of row 4, want 0 to 3"},
		"temperature": {targets: model.Targets{Rows: []int32{0}, IDs: []int32{1}, Temperature: -1}, want: "temperature -1"},
	} {
		t.Run(name, func(t *testing.T) {
			p := good()
			if c.pack != nil {
				c.pack(p)
			}
			err := d.Score(p, &c.targets, make([]float32, len(c.targets.IDs)), nil)
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestConfigErrorsNameTheField(t *testing.T) {
	for field, change := range map[string]func(c *model.Config){
		"Vocab":     func(c *model.Config) { c.Vocab = 0 },
		"Layers":    func(c *model.Config) { c.Layers = -1 },
		"KVHeads":   func(c *model.Config) { c.KVHeads = 3 },
		"HeadDim":   func(c *model.Config) { c.HeadDim = 5 },
		"RopeTheta": func(c *model.Config) { c.RopeTheta = math.NaN() },
		"NormEps":   func(c *model.Config) { c.NormEps = -1 },
	} {
		c := tiny
		change(&c)
		_, err := model.NewDecoder(reference.New(), c, 0)
		require.ErrorContains(t, err, "Config."+field)
	}
}

func TestStepErrorsNameTheEntry(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	c := d.NewCache(4)
	defer c.Free()
	for want, change := range map[string]func(s *model.CacheBatch){
		"row 1 has slot 4":                 func(s *model.CacheBatch) { s.Slots[1] = 4 },
		"an earlier row has":               func(s *model.CacheBatch) { s.Slots[1] = 0 },
		"row 1 has range [0, 5)":           func(s *model.CacheBatch) { s.Ranges[1][0].End = 5 },
		"no range that holds its own slot": func(s *model.CacheBatch) { s.Ranges[1][0].End = 1 },
		"logits 0 are of row 2":            func(s *model.CacheBatch) { s.LogitRows[0] = 2 },
		"row 0 has token id -1":            func(s *model.CacheBatch) { s.Tokens[0] = -1 },
		"1 positions":                      func(s *model.CacheBatch) { s.Pos = s.Pos[:1] },
	} {
		s := &model.CacheBatch{
			Tokens: []int32{1, 2}, Pos: []int32{0, 1}, Slots: []int32{0, 1},
			Ranges:    [][]tensor.Range{{{Start: 0, End: 1}}, {{Start: 0, End: 2}}},
			LogitRows: []int32{1},
		}
		change(s)
		require.ErrorContains(t, d.Append(c, s, make([]float32, tiny.Vocab)), want)
	}
}

func TestMisusePanics(t *testing.T) {
	d := newDecoder(t, reference.New(), tiny)
	var p model.Pack
	p.Add(prompt, -1)
	tg := &model.Targets{Rows: []int32{0}, IDs: []int32{1}}
	logp := make([]float32, 1)
	require.PanicsWithValue(t, "model: Decoder.Backward without a Forward before it", func() { _ = d.Backward(logp, nil) })
	require.NoError(t, d.Score(&p, tg, logp, nil))
	require.Panics(t, func() { _ = d.Backward(logp, nil) }, "Score keeps nothing")
	require.NoError(t, d.Forward(&p, tg, logp, nil))
	require.Panics(t, func() { _ = d.Backward(make([]float32, 2), nil) })
	require.NoError(t, d.Backward(logp, nil))
	require.Panics(t, func() { _ = d.Backward(logp, nil) }, "a Forward serves one Backward")
	require.Panics(t, func() { _ = d.Score(&p, tg, nil, nil) })
	require.Panics(t, func() { p.Add(nil, -1) })
	p.Add([]int32{1}, 0)
	require.Panics(t, func() { p.Add([]int32{1}, 1) }, "a segment with a prefix is none")
}

package model

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// randomCandidates are different tokens for every target, with random gradients.
func randomCandidates(r *rand.Rand, n, k, vocab int) *Candidates {
	c := NewCandidates(n, k)
	for i := range n {
		for j, id := range r.Perm(vocab)[:k] {
			c.IDs[i*k+j] = int32(id)
		}
	}
	for i := range c.Grad {
		c.Grad[i] = r.NormFloat64()
		if i%(k+1) == k && k == vocab {
			c.Grad[i] = 0 // there is no rest
		}
	}
	return c
}

// outcomes64 returns the log-probs of all tokens, the candidates and the rest.
func outcomes64(logits []float64, invTemp float64, ids []int32) (all, candidates []float64, entropy float64) {
	z := 0.0
	for _, x := range logits {
		z += math.Exp(invTemp * x)
	}
	rest := 0.0
	for id, x := range logits {
		lp := invTemp*x - math.Log(z)
		all = append(all, lp)
		entropy -= math.Exp(lp) * lp
		if !slices.Contains(ids, int32(id)) {
			rest += math.Exp(lp)
		}
	}
	for _, id := range ids {
		candidates = append(candidates, all[id])
	}
	return all, append(candidates, math.Log(rest)), entropy
}

// logits64 are those after the targets' rows.
func logits64(t *testing.T, d *Decoder, p *Pack, rows []int32) (out []float64) {
	d.begin(p, false)
	x := d.trunk.Forward(&d.pass, p.Tokens)
	d.head.gather(&d.pass, x, rows)
	d.head.chunks(len(rows), func(from, to int) {
		out = append(out, values64(t, d.b, d.head.project(&d.pass, from, to))...)
	})
	return out
}

func TestCandidateGradientMatchesCentralDifferences(t *testing.T) {
	for _, k := range []int{1, 3, 7} {
		for _, slots := range []int{1, 9} {
			t.Run(fmt.Sprintf("%d candidates, %d slots", k, slots), func(t *testing.T) {
				b := reference.New64()
				d, err := NewDecoder(b, shapes["qwen3"], 7)
				require.NoError(t, err)
				randomise(b, d.Params())
				d.head.chunk, d.head.slots = 4, slots // several chunks, the last not full
				p, tg := groups()
				tg.Temperature = 0.5
				n, r := len(tg.IDs), rand.New(rand.NewPCG(3, 4))
				dlogp, dent := make([]float32, n), make([]float32, n)
				for i := range n {
					dlogp[i], dent[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
				}
				c := randomCandidates(r, n, k, 7)
				tg.Candidates = c
				require.NoError(t, d.Forward(p, tg, make([]float32, n), make([]float32, n)))
				require.NoError(t, d.Backward(dlogp, dent))
				loss := func() (sum float64) {
					logits := logits64(t, d, p, tg.Rows)
					for i := range n {
						all, some, h := outcomes64(logits[7*i:7*i+7], 2, c.IDs[i*k:][:k])
						sum += float64(dlogp[i])*all[tg.IDs[i]] + float64(dent[i])*h
						for j, g := range c.Grad[i*(k+1):][:k+1] {
							if g != 0 {
								sum += g * some[j]
							}
							require.InDelta(t, some[j], c.LogP[i*(k+1)+j], 1e-3*(1+math.Abs(some[j])))
						}
					}
					return sum
				}
				for _, param := range d.Params() {
					checkParam(t, b, param, loss)
				}
			})
		}
	}
}

// The candidates' log-probs and the most likely tokens are those of the logits,
// however many chunks there are.
func TestTopK(t *testing.T) {
	for _, b := range []tensor.Backend{reference.New(), newCPU(t)} {
		cfg := shapes["llama"]
		cfg.Vocab = 300
		d, err := NewDecoder(b, cfg, 7)
		require.NoError(t, err)
		p, tg := groups()
		n := len(tg.Rows)
		logits := make([]float32, n*300)
		require.NoError(t, d.Logits(p, tg.Rows, logits))
		for _, chunk := range []int{3, 64} {
			d.head.chunk = chunk
			for _, k := range []int{1, 5, 64, 300} {
				c := NewCandidates(n, k)
				require.NoError(t, d.TopK(p, tg.Rows, 2, c))
				again := NewCandidates(n, k)
				copy(again.IDs, c.IDs)
				tg.Temperature, tg.Candidates = 2, again
				require.NoError(t, d.Score(p, tg, make([]float32, n), nil))
				require.Equal(t, c.LogP, again.LogP)
				for i := range n {
					row := make([]float64, 300)
					for j := range row {
						row[j] = float64(logits[300*i+j])
					}
					order := make([]int32, 300)
					for j := range order {
						order[j] = int32(j)
					}
					slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(row[b], row[a]) })
					require.Equal(t, order[:k], c.IDs[i*k:][:k])
					_, want, _ := outcomes64(row, .5, order[:k])
					if k == 300 {
						require.Equal(t, math.Inf(-1), c.LogP[i*(k+1)+k])
						want = want[:k]
					}
					require.InDeltaSlice(t, want, c.LogP[i*(k+1):][:len(want)], 1e-5)
				}
			}
		}
	}
}

// Heads are padded. Ids from Among on are no candidates, however likely they are; what
// probability they have is in the rest.
func TestPaddingIsNeverACandidate(t *testing.T) {
	const ids, tokens, k = 30, 24, 5
	for _, b := range []tensor.Backend{reference.New(), newCPU(t)} {
		cfg := shapes["llama"]
		cfg.Vocab = ids
		d, err := NewDecoder(b, cfg, 7)
		require.NoError(t, err)
		head := d.head.Out.W
		w := make([]float32, head.Len())
		require.NoError(t, b.Read(w, head.Value))
		for i := tokens * cfg.Dim; i < len(w); i++ {
			sign := float32(1 - i/cfg.Dim%2*2) // one of two rows has a large logit
			w[i] = 50 * sign * w[i%cfg.Dim]
		}
		b.Write(head.Value, w)
		p, tg := groups()
		n := len(tg.Rows)
		logits := make([]float32, n*ids)
		require.NoError(t, d.Logits(p, tg.Rows, logits))
		for _, chunk := range []int{3, 64} {
			d.head.chunk = chunk
			c := NewCandidates(n, 1)
			require.NoError(t, d.TopK(p, tg.Rows, 1, c))
			require.GreaterOrEqual(t, slices.Min(c.IDs), int32(tokens), "the largest logits are the padding's")
			c = NewCandidates(n, k)
			c.Among = tokens
			require.NoError(t, d.TopK(p, tg.Rows, 1, c))
			for i := range n {
				row, order := make([]float64, ids), make([]int32, tokens)
				for j := range row {
					row[j] = float64(logits[ids*i+j])
				}
				for j := range order {
					order[j] = int32(j)
				}
				slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(row[b], row[a]) })
				require.Equal(t, order[:k], c.IDs[i*k:][:k])
				_, want, _ := outcomes64(row, 1, order[:k])
				require.InDeltaSlice(t, want, c.LogP[i*(k+1):][:k+1], 1e-4)
				require.Greater(t, math.Exp(c.LogP[i*(k+1)+k]), .5, "the rest")
			}
		}
	}
}

// A logit that is not finite is an error, also where there are K others.
func TestTopKOfLogitsThatAreNotFinite(t *testing.T) {
	for _, b := range []tensor.Backend{reference.New(), newCPU(t)} {
		for name, w := range map[string]float64{"NaN": math.NaN(), "+Inf or -Inf": math.Inf(1)} {
			d, err := NewDecoder(b, shapes["llama"], 7)
			require.NoError(t, err)
			b.Fill(b.Slice(d.head.Out.W.Value, 0, 1), float32(w)) // of token 0
			p, tg := groups()
			err = d.TopK(p, tg.Rows, 1, NewCandidates(len(tg.Rows), 2))
			require.ErrorContains(t, err, "the logits are not finite", "%s on %s", name, b.Name())
		}
	}
}

// At a temperature near 0 the most likely token has all of the probability, and what the
// others would have is no NaN.
func TestTemperatureNearZero(t *testing.T) {
	for _, b := range []tensor.Backend{reference.New(), newCPU(t)} {
		d, err := NewDecoder(b, shapes["llama"], 7)
		require.NoError(t, err)
		p, tg := groups()
		n := len(tg.Rows)
		best := NewCandidates(n, 1)
		require.NoError(t, d.TopK(p, tg.Rows, 1, best))
		tg.IDs = best.IDs
		for _, temperature := range []float64{1e-30, 1e-38, 1e-60, math.SmallestNonzeroFloat64} {
			tg.Temperature = temperature
			logp, entropy := make([]float32, n), make([]float32, n)
			require.NoError(t, d.Forward(p, tg, logp, entropy))
			require.Equal(t, make([]float32, n), logp, "%v", temperature)
			require.Equal(t, make([]float32, n), entropy, "%v", temperature)
			ones := make([]float32, n)
			for i := range ones {
				ones[i] = 1
			}
			require.NoError(t, d.Backward(ones, ones))
			for _, p := range d.Params() {
				g := make([]float32, p.Len())
				require.NoError(t, b.Read(g, p.Grad))
				require.Equal(t, make([]float32, len(g)), g, "%v: %s", temperature, p.Name)
			}
		}
	}
}

// 1,024 rows of 32,768 logits would take 128 MiB. Candidates are found in 16 MiB of
// them, and trained with the 64 MiB that the head keeps for Backward.
func TestCandidatesAreFoundInChunks(t *testing.T) {
	d, err := NewDecoder(newCPU(t), Config{Vocab: 1 << 15, Dim: 4, Layers: 1, Heads: 1, KVHeads: 1, FF: 4, MaxSeq: 1025}, 7)
	require.NoError(t, err)
	defer d.Free()
	var p Pack
	p.Add(make([]int32, 1024), -1)
	rows := make([]int32, 1024)
	for i := range rows {
		rows[i] = int32(i)
	}
	c := NewCandidates(1024, 16)
	require.NoError(t, d.TopK(&p, rows, 1, c))
	require.Less(t, d.ActivationBytes(), 20<<20)
	c.Grad[0] = 1
	require.NoError(t, d.Forward(&p, &Targets{Rows: rows, IDs: make([]int32, 1024), Candidates: c}, make([]float32, 1024), nil))
	require.NoError(t, d.Backward(make([]float32, 1024), nil))
	require.Less(t, d.ActivationBytes(), 70<<20)
}

// A rest of e^-25 has a log-prob, and a gradient that pulls its own tokens up, which
// 1 minus the candidates' probabilities would not have in a float32. The operations
// are those of the head, on given logits.
func TestSmallRest(t *testing.T) {
	b := newCPU(t)
	d, err := NewDecoder(b, shapes["llama"], 7)
	require.NoError(t, err)
	d.begin(&Pack{}, true)
	l, p := d.head, &d.pass
	x := []float32{20, 20, -5, -6, -7, -8, -9}
	logits := p.upload(x)
	l.ids, l.invTemp, l.logits, l.stats = []int32{3}, 1, logits, p.Arena.Take(3)
	c := NewCandidates(1, 2)
	c.IDs[0] = 1 // and token 0
	l.setCandidates(p, 1, c)
	b.LogProb(l.aside.spare, nil, l.stats, logits, l.ids, 7, 1)
	l.forwardCandidates(p, logits, l.ids, 0, 1)
	require.NoError(t, l.readCandidates(p, 1))
	rest := 0.0
	for _, z := range x[2:] {
		rest += math.Exp(float64(z))
	}
	require.InDelta(t, math.Log(.5), c.LogP[0], 1e-6)
	require.InDelta(t, math.Log(rest)-20-math.Log(2), c.LogP[2], 1e-5)

	copy(c.Grad, []float64{-.5, -.49, -.01}) // of the forward KL from a teacher with .5, .49 and .01
	of, add, elements := l.backwardCandidates([]float32{0}, nil)
	b.LogProbGrad(logits, p.upload(of), nil, l.stats, c.IDs[:1], 7, 1)
	b.ScatterAdd(logits, p.upload(add), elements, 1)
	grad := make([]float32, 7)
	require.NoError(t, b.Read(grad, logits))
	require.InDelta(t, .01, grad[0], 1e-7)
	require.InDelta(t, 0, grad[1], 1e-7)
	for j, z := range x[2:] {
		require.InDelta(t, -.01*math.Exp(float64(z))/rest, grad[2+j], 1e-8, "token %d", 2+j)
	}
}

func TestCandidateErrors(t *testing.T) {
	d, err := NewDecoder(newCPU(t), shapes["llama"], 7)
	require.NoError(t, err)
	p, tg := groups()
	n := len(tg.IDs)
	for want, c := range map[string]*Candidates{
		"0 candidates, want 1 to the 7 tokens":        NewCandidates(n, 0),
		"8 candidates":                                NewCandidates(n, 8),
		"token id 0 is a candidate of target 0 twice": NewCandidates(n, 2),
	} {
		tg.Candidates = c
		require.ErrorContains(t, d.Forward(p, tg, make([]float32, n), nil), want)
	}
	c := NewCandidates(n, 1)
	c.IDs[3] = 7
	tg.Candidates = c
	require.ErrorContains(t, d.Score(p, tg, make([]float32, n), nil), "candidate 0 of target 3 is token id 7, want 0 to 6")
	require.ErrorContains(t, d.TopK(p, tg.Rows, math.NaN(), c), "temperature NaN")
	require.ErrorContains(t, d.TopK(p, []int32{99}, 1, NewCandidates(1, 1)), "target 0 is of row 99")
	require.Panics(t, func() { _ = d.TopK(p, tg.Rows, 1, NewCandidates(1, 1)) })
	few := NewCandidates(len(tg.Rows), 2)
	for among, want := range map[int]string{1: "2 candidates, want 1 to the 1", -1: "among -1 ids", 1 << 20: "among 1048576 ids"} {
		few.Among = among
		require.ErrorContains(t, d.TopK(p, tg.Rows, 1, few), want)
	}
}

func newCPU(t *testing.T) tensor.Backend {
	b, err := cpu.New(cpu.Options{})
	require.NoError(t, err)
	return b
}

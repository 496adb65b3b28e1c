package policytest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// TablePolicy is a bigram policy: it has a row of logits for every previous token.
// It is its own engine, and learns by plain gradient descent.
type TablePolicy struct {
	vocab   int
	text    func(id int32) string
	end     int32
	w, g    []float64 // [vocab×vocab], row = previous token
	version int64
	saved   map[string]tableState
}

// tableState is all that training changes.
type tableState struct {
	Version int64     `json:"version"`
	Logits  []float64 `json:"logits"` // [vocab×vocab]
}

// NewTablePolicy returns a policy whose rows are uniform. text returns the text of
// each token; nil stands for the letters from a on. A completion ends with the
// token end, or, if that is -1, only at its length limit.
func NewTablePolicy(vocab int, text func(id int32) string, end int32) *TablePolicy {
	if text == nil {
		text = func(id int32) string { return string(rune('a' + id)) }
	}
	return &TablePolicy{
		vocab: vocab, text: text, end: end,
		w: make([]float64, vocab*vocab), g: make([]float64, vocab*vocab),
		saved: map[string]tableState{},
	}
}

// Randomize sets the logits to normal noise with that standard deviation.
func (p *TablePolicy) Randomize(seed uint64, scale float64) {
	r := rand.New(rand.NewPCG(seed, 0))
	for i := range p.w {
		p.w[i] = scale * r.NormFloat64()
	}
}

// Logits returns the row of logits after the token prev. Changing it changes the
// policy.
func (p *TablePolicy) Logits(prev int32) []float64 {
	return p.w[int(prev)*p.vocab : (int(prev)+1)*p.vocab]
}

// logProbs writes the log-probs of all tokens after prev into dst and returns
// their entropy.
func (p *TablePolicy) logProbs(dst []float64, prev int32, temperature float64) float64 {
	row, top := p.Logits(prev), math.Inf(-1)
	for v := range dst {
		dst[v] = row[v] / temperature
		top = max(top, dst[v])
	}
	z := 0.0
	for _, x := range dst {
		z += math.Exp(x - top)
	}
	logZ, h := top+math.Log(z), 0.0
	for v := range dst {
		dst[v] -= logZ
		h -= math.Exp(dst[v]) * dst[v]
	}
	return h
}

// each calls f for every completion token with the token before it.
func each(b *rl.Batch, f func(s *rl.Sample, t int, prev, token int32)) {
	for i := range b.Samples {
		s := &b.Samples[i]
		prompt := b.Prompts[s.Prompt]
		prev := prompt[len(prompt)-1]
		for t, token := range s.Tokens {
			f(s, t, prev, token)
			prev = token
		}
	}
}

func temperature(b *rl.Batch) float64 { return cmp.Or(b.Temperature, 1) }

// LogProbs implements rl.LogProber.
func (p *TablePolicy) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	row := make([]float64, p.vocab)
	for i := range b.Samples {
		one := rl.Batch{Prompts: b.Prompts, Samples: b.Samples[i : i+1]}
		each(&one, func(_ *rl.Sample, t int, prev, token int32) {
			p.logProbs(row, prev, temperature(b))
			dst[i][t] = row[token]
		})
	}
	return nil
}

// CheckTopLogProbs implements rl.TopLogProbChecker.
func (p *TablePolicy) CheckTopLogProbs(k int) error {
	if k < 1 || k > p.vocab {
		return fmt.Errorf("policytest: %d candidates, want 1 to %d", k, p.vocab)
	}
	return nil
}

// TopLogProbs implements rl.TopLogProber.
func (p *TablePolicy) TopLogProbs(ctx context.Context, b *rl.Batch, k int, dst []rl.Top) error {
	return p.tops(ctx, b, k, dst, func(ids []int32, row []float64) {
		order := make([]int32, p.vocab)
		for v := range order {
			order[v] = int32(v)
		}
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(row[b], row[a]) })
		copy(ids, order)
	})
}

// CandidateLogProbs implements rl.CandidateProber.
func (p *TablePolicy) CandidateLogProbs(ctx context.Context, b *rl.Batch, k int, dst []rl.Top) error {
	return p.tops(ctx, b, k, dst, func([]int32, []float64) {})
}

// tops writes the log-probs of the candidates that choose has left in dst.
func (p *TablePolicy) tops(ctx context.Context, b *rl.Batch, k int, dst []rl.Top, choose func(ids []int32, row []float64)) error {
	if err := cmp.Or(p.CheckTopLogProbs(k), ctx.Err()); err != nil {
		return err
	}
	row := make([]float64, p.vocab)
	for i := range b.Samples {
		one := rl.Batch{Prompts: b.Prompts, Samples: b.Samples[i : i+1]}
		each(&one, func(_ *rl.Sample, t int, prev, _ int32) {
			p.logProbs(row, prev, temperature(b))
			ids := dst[i].IDs[t*k:][:k]
			choose(ids, row)
			candidateLogProbs(dst[i].LogP[t*(k+1):][:k+1], ids, row)
		})
	}
	return nil
}

// candidateLogProbs writes the log-probs of ids and of the rest into dst.
func candidateLogProbs(dst []float64, ids []int32, row []float64) {
	rest := 0.0
	for v, lp := range row {
		if k := slices.Index(ids, int32(v)); k >= 0 {
			dst[k] = lp
		} else {
			rest += math.Exp(lp)
		}
	}
	dst[len(ids)] = math.Log(rest)
}

// ForwardBackward implements rl.Policy.
func (p *TablePolicy) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (loss float64, m objective.Metrics, err error) {
	defer func() {
		if err != nil {
			clear(p.g)
		}
	}()
	if err := ctx.Err(); err != nil {
		return 0, nil, err
	}
	b.Prepare(o.Needs())
	T, row := temperature(b), make([]float64, p.vocab)
	candidates := o.Needs()&objective.InputCandidates != 0
	for i := range b.Samples {
		if s := &b.Samples[i]; candidates && len(s.Tokens) > 0 {
			if err := checkCandidates(s, p.vocab); err != nil {
				return 0, nil, fmt.Errorf("policytest: sample %d: %w", i, err)
			}
		}
	}
	each(b, func(s *rl.Sample, t int, prev, token int32) {
		h := p.logProbs(row, prev, T)
		s.LogP[t] = row[token]
		if s.Entropy != nil {
			s.Entropy[t] = h
		}
		if c := s.Cand; candidates {
			candidateLogProbs(c.LogP[t*(c.K+1):][:c.K+1], c.IDs[t*c.K:][:c.K], row)
		}
	})
	m = objective.Metrics{}
	if loss, err = rl.EvalObjective(b, 0, len(b.Samples), o, m); err != nil {
		return 0, nil, err
	}
	each(b, func(s *rl.Sample, t int, prev, token int32) {
		h := p.logProbs(row, prev, T)
		g := p.g[int(prev)*p.vocab : (int(prev)+1)*p.vocab]
		sum, rest, ids, grads := s.Grad[t], 0.0, []int32(nil), []float64(nil)
		if c := s.Cand; candidates {
			ids, grads = c.IDs[t*c.K:][:c.K], c.Grad[t*(c.K+1):][:c.K+1]
			for _, g := range grads {
				sum += g
			}
			if g := grads[c.K]; g != 0 {
				rest = g / math.Exp(c.LogP[t*(c.K+1)+c.K])
			}
		}
		for v, lp := range row {
			q := math.Exp(lp)
			d := -q * sum
			if k := slices.Index(ids, int32(v)); k >= 0 {
				d += grads[k]
			} else {
				d += q * rest
			}
			if int32(v) == token {
				d += s.Grad[t]
			}
			if s.EntropyGrad != nil {
				d -= s.EntropyGrad[t] * q * (lp + h)
			}
			g[v] += d / T
		}
	})
	return loss, m, nil
}

// checkCandidates returns an error unless the sample has candidates of the
// vocabulary.
func checkCandidates(s *rl.Sample, vocab int) error {
	c := s.Cand
	if c == nil || c.K < 1 || len(c.IDs) != len(s.Tokens)*c.K {
		return errors.New("want Cand with K candidates for every token")
	}
	for i, id := range c.IDs {
		if id < 0 || int(id) >= vocab {
			return fmt.Errorf("candidate %d at position %d is token id %d, want 0 to %d", i%c.K, i/c.K, id, vocab-1)
		}
	}
	return nil
}

// OptimStep implements rl.Policy by gradient descent.
func (p *TablePolicy) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	if err := ctx.Err(); err != nil {
		return rl.OptimInfo{}, err
	}
	n := 0.0
	for _, g := range p.g {
		n += g * g
	}
	info := rl.OptimInfo{GradNorm: math.Sqrt(n)}
	if math.IsNaN(n) || math.IsInf(n, 0) {
		info.Skipped, info.Version = true, p.version
		clear(p.g)
		return info, nil
	}
	scale := o.LR
	if o.MaxNorm > 0 && info.GradNorm > o.MaxNorm {
		scale *= o.MaxNorm / info.GradNorm
	}
	for i, g := range p.g {
		p.w[i] -= scale * g
	}
	clear(p.g)
	p.version++
	info.Version = p.version
	return info, nil
}

// Save implements rl.Policy; the state stays in memory.
func (p *TablePolicy) Save(_ context.Context, name string) (string, error) {
	p.saved[name] = tableState{p.version, slices.Clone(p.w)}
	return name, nil
}

// Load implements rl.Policy.
func (p *TablePolicy) Load(_ context.Context, ref string) error {
	s, ok := p.saved[ref]
	if !ok {
		return fmt.Errorf("policytest: no state was saved as %q", ref)
	}
	return p.restore(s)
}

// restore sets the state and clears the accumulated gradient.
func (p *TablePolicy) restore(s tableState) error {
	if len(s.Logits) != len(p.w) {
		return fmt.Errorf("policytest: a state of %d logits, want %d: those of %d tokens after each of them", len(s.Logits), len(p.w), p.vocab)
	}
	copy(p.w, s.Logits)
	p.version = s.Version
	clear(p.g)
	return nil
}

// MarshalJSON returns all that training changes, for a policy around this one that saves
// to disk.
func (p *TablePolicy) MarshalJSON() ([]byte, error) { return json.Marshal(tableState{p.version, p.w}) }

// UnmarshalJSON restores, bit for bit, what MarshalJSON returned of a policy with as many
// tokens, and clears the accumulated gradient.
func (p *TablePolicy) UnmarshalJSON(text []byte) error {
	var s tableState
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	return p.restore(s)
}

// Generate implements rollout.Engine. It supports the sampling parameters
// Temperature, which must be above 0, and MaxTokens; others are an error.
func (p *TablePolicy) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	err := rollout.Validate(reqs, func(q *rollout.Request) error {
		if s := q.Params; s.Temperature == 0 || s.TopK != 0 || s.TopP != 0 || len(s.Stop) > 0 {
			return fmt.Errorf("a TablePolicy samples at a temperature above 0 and knows no TopK, TopP or Stop, not %+v", s)
		}
		for i, id := range q.Prompt {
			if int(id) >= p.vocab {
				return fmt.Errorf("Prompt[%d] is %d, want an id below %d", i, id, p.vocab)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, q := range reqs {
		for n := range q.N {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := emit(p.sample(i, n, q)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *TablePolicy) sample(request, index int, q rollout.Request) rollout.Completion {
	c := rollout.Completion{Request: request, Index: index, Finish: rollout.FinishLength, FirstVersion: p.version, LastVersion: p.version}
	r := rand.New(rand.NewPCG(q.Stream[0]^q.Stream[1]<<20, q.Stream[2]<<20+uint64(index)))
	row, unit := make([]float64, p.vocab), make([]float64, p.vocab)
	prev := q.Prompt[len(q.Prompt)-1]
	for range q.Params.MaxTokens {
		p.logProbs(row, prev, q.Params.Temperature)
		p.logProbs(unit, prev, 1)
		token := draw(row, r.Float64())
		c.Tokens = append(c.Tokens, token)
		c.LogP = append(c.LogP, row[token])
		c.LogPUnit = append(c.LogPUnit, unit[token])
		if token != p.end {
			c.Text += p.text(token)
		}
		c.Ends = append(c.Ends, len(c.Text))
		if token == p.end {
			c.Finish = rollout.FinishStop
			break
		}
		prev = token
	}
	return c
}

func draw(logp []float64, u float64) int32 {
	for v, lp := range logp {
		if u -= math.Exp(lp); u < 0 {
			return int32(v)
		}
	}
	return int32(len(logp) - 1)
}

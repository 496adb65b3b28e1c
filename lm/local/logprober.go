package local

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/rl"
)

// LogProber computes log-probs with a decoder: a frozen reference or a teacher.
// It implements rl.LogProber, rl.TopLogProber, rl.TopLogProbChecker, rl.TokenBounder and
// rl.CandidateProber. One goroutine uses a log-prober, and its decoder, at a time.
type LogProber struct {
	decoder *model.Decoder
	maxRows int
	tokens  int // 0: as many as the decoder has ids
	// failed is called after an error of the backend: it clears it, which would fail the
	// next call too, and of a policy the gradient, which may lack a part.
	failed func()

	// The current micro-batch, whose memory the next one uses again.
	pack     model.Pack
	targets  model.Targets
	segments map[int]int // index of a prompt to its segment of the pack
	logp     []float32
	cand     model.Candidates
}

// NewLogProber returns a log-prober that computes with d, which stays the
// caller's to free. maxRows bounds the rows (tokens) of a micro-batch; 0 means
// 4096. A completion that is longer is computed alone. It panics if maxRows is
// negative.
func NewLogProber(d *model.Decoder, maxRows int) *LogProber {
	if maxRows < 0 {
		panic(fmt.Sprintf("local: NewLogProber with %d rows", maxRows))
	}
	return &LogProber{
		decoder: d, maxRows: rowBound(maxRows), segments: map[int]int{},
		failed: func() { _ = d.Backend().Sync() },
	}
}

// Decoder returns the decoder that log-probs are computed with.
func (l *LogProber) Decoder() *model.Decoder { return l.decoder }

// LogProbs writes the log-prob of every completion token into dst[i][t]. A
// missing or empty prompt, a token id out of range, and a sequence longer than
// the model's MaxSeq are errors that name the sample. The context is checked
// between micro-batches. It panics if dst does not fit.
func (l *LogProber) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	if len(dst) != len(b.Samples) {
		panic(fmt.Sprintf("local: %d samples, but room for the log-probs of %d", len(b.Samples), len(dst)))
	}
	for i, d := range dst {
		if len(d) != len(b.Samples[i].Tokens) {
			panic(fmt.Sprintf("local: sample %d has %d tokens, but room for %d log-probs", i, len(b.Samples[i].Tokens), len(d)))
		}
	}
	return l.each(ctx, b, func(from, to int) error {
		if len(l.logp) == 0 {
			return nil
		}
		if err := l.decoder.Score(&l.pack, &l.targets, l.logp, nil); err != nil {
			return &rl.SampleError{From: from, To: to, Err: err}
		}
		n := 0
		for _, d := range dst[from:to] {
			for t := range d {
				d[t] = float64(l.logp[n])
				n++
			}
		}
		return nil
	})
}

// BoundTokens implements rl.TokenBounder.
func (l *LogProber) BoundTokens(n int) { l.tokens = min(n, l.decoder.Config().Vocab) }

// CheckTopLogProbs implements rl.TopLogProbChecker: k is 1 to the size of the
// vocabulary.
func (l *LogProber) CheckTopLogProbs(k int) error {
	if n := cmp.Or(l.tokens, l.decoder.Config().Vocab); k < 1 || k > n {
		return fmt.Errorf("local: %d candidates, want 1 to the %d tokens of the vocabulary", k, n)
	}
	return nil
}

// TopLogProbs implements rl.TopLogProber. Its errors are those of LogProbs and
// CheckTopLogProbs.
func (l *LogProber) TopLogProbs(ctx context.Context, b *rl.Batch, k int, dst []rl.Top) error {
	return l.tops(ctx, b, k, dst, func(from, to int) error {
		if err := l.decoder.TopK(&l.pack, l.targets.Rows, l.targets.Temperature, &l.cand); err != nil {
			return &rl.SampleError{From: from, To: to, Err: err}
		}
		eachTop(&l.cand, dst[from:to], func(t *rl.Top, ids []int32, logp []float64) { copy(t.IDs, ids) })
		return nil
	})
}

// CandidateLogProbs implements rl.CandidateProber. Its errors are those of TopLogProbs,
// and candidates that are outside of the vocabulary or the same.
func (l *LogProber) CandidateLogProbs(ctx context.Context, b *rl.Batch, k int, dst []rl.Top) error {
	return l.tops(ctx, b, k, dst, func(from, to int) error {
		eachTop(&l.cand, dst[from:to], func(t *rl.Top, ids []int32, logp []float64) { copy(ids, t.IDs) })
		l.targets.Candidates = &l.cand
		if err := l.decoder.Score(&l.pack, &l.targets, l.logp, nil); err != nil {
			return &rl.SampleError{From: from, To: to, Err: err}
		}
		return nil
	})
}

// tops calls compute for every micro-batch, samples [from, to), with room in l.cand,
// and copies the log-probs from there.
func (l *LogProber) tops(ctx context.Context, b *rl.Batch, k int, dst []rl.Top, compute func(from, to int) error) error {
	if err := l.CheckTopLogProbs(k); err != nil {
		return err
	}
	if len(dst) != len(b.Samples) {
		panic(fmt.Sprintf("local: %d samples, but room for the candidates of %d", len(b.Samples), len(dst)))
	}
	for i, d := range dst {
		if n := len(b.Samples[i].Tokens); len(d.IDs) != n*k || len(d.LogP) != n*(k+1) {
			panic(fmt.Sprintf("local: sample %d has %d tokens, but room for %d candidates and %d log-probs", i, n, len(d.IDs), len(d.LogP)))
		}
	}
	return l.each(ctx, b, func(from, to int) error {
		if len(l.logp) == 0 {
			return nil
		}
		l.makeCandidates(k)
		if err := compute(from, to); err != nil {
			return err
		}
		eachTop(&l.cand, dst[from:to], func(t *rl.Top, _ []int32, logp []float64) { copy(t.LogP, logp) })
		return nil
	})
}

// makeCandidates makes room for k candidates of every target of the micro-batch.
func (l *LogProber) makeCandidates(k int) {
	n := len(l.targets.IDs)
	l.cand.K, l.cand.Among = k, l.tokens
	l.cand.IDs = slices.Grow(l.cand.IDs[:0], n*k)[:n*k]
	l.cand.LogP = slices.Grow(l.cand.LogP[:0], n*(k+1))[:n*(k+1)]
}

// eachTop calls f with the ids and log-probs of each sample of a micro-batch.
func eachTop(c *model.Candidates, tops []rl.Top, f func(t *rl.Top, ids []int32, logp []float64)) {
	ids, logp := c.IDs, c.LogP
	for i := range tops {
		t := &tops[i]
		f(t, ids[:len(t.IDs)], logp[:len(t.LogP)])
		ids, logp = ids[len(t.IDs):], logp[len(t.LogP):]
	}
}

// each calls compute for every micro-batch of b, samples [from, to), with pack,
// targets and room for the log-probs made ready. There are no targets if all
// its samples are empty.
func (l *LogProber) each(ctx context.Context, b *rl.Batch, compute func(from, to int) error) error {
	if err := l.check(b); err != nil {
		return err
	}
	err := microBatches(ctx, len(b.Samples), func(from int) int { return l.fill(b, from) }, compute)
	if err != nil && tensor.Err(l.decoder.Backend()) != nil {
		l.failed()
	}
	return err
}

// fill packs samples from index from on until the next would exceed maxRows,
// at least one, and returns where it stopped.
func (l *LogProber) fill(b *rl.Batch, from int) (to int) {
	l.pack.Reset()
	l.targets = model.Targets{Rows: l.targets.Rows[:0], IDs: l.targets.IDs[:0], Temperature: b.Temperature}
	clear(l.segments)
	for to = from; to < len(b.Samples); to++ {
		s := &b.Samples[to]
		if len(s.Tokens) == 0 {
			continue
		}
		rows := len(s.Tokens) - 1
		if _, ok := l.segments[s.Prompt]; !ok {
			rows += len(b.Prompts[s.Prompt])
		}
		if to > from && l.pack.Rows()+rows > l.maxRows {
			break
		}
		l.add(b, s)
	}
	l.logp = sized(l.logp, len(l.targets.IDs))
	return to
}

// add appends a sample to the pack, and its prompt unless that is there.
func (l *LogProber) add(b *rl.Batch, s *rl.Sample) {
	prompt, ok := l.segments[s.Prompt]
	if !ok {
		prompt = l.pack.Add(b.Prompts[s.Prompt], -1)
		l.segments[s.Prompt] = prompt
	}
	row := l.pack.Segments[prompt].End - 1 // predicts the first token
	next := l.pack.Rows()                  // predicts the second
	if n := len(s.Tokens) - 1; n > 0 {
		l.pack.Add(s.Tokens[:n], prompt)
	}
	for _, id := range s.Tokens {
		l.targets.Rows = append(l.targets.Rows, int32(row))
		l.targets.IDs = append(l.targets.IDs, id)
		row, next = next, next+1
	}
}

// check returns an error that names the first sample that cannot be computed.
func (l *LogProber) check(b *rl.Batch) error {
	c := l.decoder.Config()
	for i, p := range b.Prompts {
		if err := checkTokens("prompt", i, p, c.Vocab); err != nil {
			return err
		}
	}
	for i := range b.Samples {
		s := &b.Samples[i]
		if s.Prompt < 0 || s.Prompt >= len(b.Prompts) {
			return fmt.Errorf("local: sample %d is of prompt %d, but there are %d", i, s.Prompt, len(b.Prompts))
		}
		n := len(b.Prompts[s.Prompt])
		switch {
		case n == 0:
			return fmt.Errorf("local: sample %d: its prompt %d is empty, want at least one token", i, s.Prompt)
		case n+len(s.Tokens)-1 > c.MaxSeq:
			return fmt.Errorf("local: sample %d: a prompt of %d tokens and %d more are too long for MaxSeq %d", i, n, len(s.Tokens), c.MaxSeq)
		}
		if err := checkTokens("sample", i, s.Tokens, c.Vocab); err != nil {
			return err
		}
	}
	return nil
}

package local

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/rl"
)

// LogProber computes log-probs with a decoder: a frozen reference or a teacher.
// It implements rl.LogProber. One goroutine uses a log-prober, and its decoder,
// at a time.
type LogProber struct {
	decoder *model.Decoder
	maxRows int

	// The current micro-batch, whose memory the next one uses again.
	pack     model.Pack
	targets  model.Targets
	segments map[int]int // index of a prompt to its segment of the pack
	logp     []float32
}

// NewLogProber returns a log-prober that computes with d, which stays the
// caller's to free. maxRows bounds the rows (tokens) of a micro-batch; 0 means
// 4096. A completion that is longer is computed alone. It panics if maxRows is
// negative.
func NewLogProber(d *model.Decoder, maxRows int) *LogProber {
	if maxRows < 0 {
		panic(fmt.Sprintf("local: NewLogProber with %d rows", maxRows))
	}
	return &LogProber{decoder: d, maxRows: rowBound(maxRows), segments: map[int]int{}}
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
			return err
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

// each calls compute for every micro-batch of b, samples [from, to), with pack,
// targets and room for the log-probs made ready. There are no targets if all
// its samples are empty.
func (l *LogProber) each(ctx context.Context, b *rl.Batch, compute func(from, to int) error) error {
	if err := l.check(b); err != nil {
		return err
	}
	return microBatches(ctx, len(b.Samples), func(from int) int { return l.fill(b, from) }, compute)
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

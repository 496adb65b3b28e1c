package local

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/rl"
)

// defaultRows is the number of rows of a micro-batch unless set.
const defaultRows = 4096

// LogProber computes log-probs with a decoder: a frozen reference or a teacher.
// One goroutine uses a scorer, and its decoder, at a time.
type LogProber struct {
	decoder *model.Decoder
	maxRows int

	// Of the micro-batch at hand, reused for the next.
	pack     model.Pack
	targets  model.Targets
	segments map[int]int // of a prompt in the pack
	logp     []float32
}

// NewLogProber returns a scorer. maxRows bounds the rows (tokens) computed at
// once, and with them memory; 0 means 4096. A longer completion is computed
// alone.
func NewLogProber(d *model.Decoder, maxRows int) *LogProber {
	if maxRows < 0 {
		panic(fmt.Sprintf("local: NewLogProber with %d rows", maxRows))
	}
	if maxRows == 0 {
		maxRows = defaultRows
	}
	return &LogProber{decoder: d, maxRows: maxRows, segments: map[int]int{}}
}

// Decoder returns the decoder that the scorer computes with.
func (s *LogProber) Decoder() *model.Decoder { return s.decoder }

// LogProbs writes the log-prob of every completion token into dst[i][t]. A
// prompt that is empty or absent, a token id out of range, and a sequence
// longer than the model's are errors that name the sample.
func (s *LogProber) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	if len(dst) != len(b.Samples) {
		panic(fmt.Sprintf("local: %d samples, but room for the log-probs of %d", len(b.Samples), len(dst)))
	}
	for i, d := range dst {
		if len(d) != len(b.Samples[i].Tokens) {
			panic(fmt.Sprintf("local: sample %d has %d tokens, but room for %d log-probs", i, len(b.Samples[i].Tokens), len(d)))
		}
	}
	return s.each(ctx, b, func(from, to int) error {
		if len(s.logp) == 0 {
			return nil
		}
		if err := s.decoder.Score(&s.pack, &s.targets, s.logp, nil); err != nil {
			return err
		}
		n := 0
		for _, d := range dst[from:to] {
			for t := range d {
				d[t] = float64(s.logp[n])
				n++
			}
		}
		return nil
	})
}

// each divides the samples of b into micro-batches and calls compute for every
// one, samples [from, to), with pack, targets and room for the log-probs made
// ready. There are no targets if all its samples are empty.
func (s *LogProber) each(ctx context.Context, b *rl.Batch, compute func(from, to int) error) error {
	if err := s.check(b); err != nil {
		return err
	}
	for from := 0; from < len(b.Samples); {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := s.fill(b, from)
		if err := compute(from, to); err != nil {
			return err
		}
		from = to
	}
	return ctx.Err()
}

// fill packs samples from index from on until the next would exceed maxRows,
// at least one, and returns where it stopped.
func (s *LogProber) fill(b *rl.Batch, from int) (to int) {
	s.pack.Reset()
	s.targets = model.Targets{Rows: s.targets.Rows[:0], IDs: s.targets.IDs[:0], Temperature: b.Temperature}
	clear(s.segments)
	for to = from; to < len(b.Samples); to++ {
		m := &b.Samples[to]
		if len(m.Tokens) == 0 {
			continue
		}
		rows := len(m.Tokens) - 1
		if _, ok := s.segments[m.Prompt]; !ok {
			rows += len(b.Prompts[m.Prompt])
		}
		if to > from && s.pack.Rows()+rows > s.maxRows {
			break
		}
		s.add(b, m)
	}
	s.logp = sized(s.logp, len(s.targets.IDs))
	return to
}

// add appends a sample to the pack, and its prompt unless that is there.
func (s *LogProber) add(b *rl.Batch, m *rl.Sample) {
	prompt, ok := s.segments[m.Prompt]
	if !ok {
		prompt = s.pack.Add(b.Prompts[m.Prompt], -1)
		s.segments[m.Prompt] = prompt
	}
	row := s.pack.Segments[prompt].End - 1 // predicts the first token
	next := s.pack.Rows()                  // predicts the second
	if n := len(m.Tokens) - 1; n > 0 {
		s.pack.Add(m.Tokens[:n], prompt)
	}
	for _, id := range m.Tokens {
		s.targets.Rows = append(s.targets.Rows, int32(row))
		s.targets.IDs = append(s.targets.IDs, id)
		row, next = next, next+1
	}
}

// check returns an error that names the first sample that cannot be computed.
func (s *LogProber) check(b *rl.Batch) error {
	c := s.decoder.Config()
	tokens := func(what string, i int, ids []int32) error {
		for t, id := range ids {
			if id < 0 || int(id) >= c.Vocab {
				return fmt.Errorf("local: %s %d: token %d has id %d, want 0 to %d", what, i, t, id, c.Vocab-1)
			}
		}
		return nil
	}
	for i, p := range b.Prompts {
		if err := tokens("prompt", i, p); err != nil {
			return err
		}
	}
	for i := range b.Samples {
		m := &b.Samples[i]
		if m.Prompt < 0 || m.Prompt >= len(b.Prompts) {
			return fmt.Errorf("local: sample %d is of prompt %d, but there are %d", i, m.Prompt, len(b.Prompts))
		}
		n := len(b.Prompts[m.Prompt])
		switch {
		case n == 0:
			return fmt.Errorf("local: sample %d: its prompt %d is empty, want at least one token", i, m.Prompt)
		case n+len(m.Tokens)-1 > c.MaxSeq:
			return fmt.Errorf("local: sample %d: a prompt of %d tokens and %d more are too long for MaxSeq %d", i, n, len(m.Tokens), c.MaxSeq)
		}
		if err := tokens("sample", i, m.Tokens); err != nil {
			return err
		}
	}
	return nil
}

// sized returns v with n elements, of any content.
func sized(v []float32, n int) []float32 {
	if cap(v) < n {
		return make([]float32, n)
	}
	return v[:n]
}

package local

import (
	"context"
	"fmt"
)

// Logits implements distill.Student. An input that is empty, longer than the
// model's MaxSeq, or that has a token id out of range is an error that names
// it. The context is looked at between micro-batches. After a training call
// the inputs must stay as they are until Backward; calls without train may
// come in between. It panics if dst does not fit.
func (s *Student) Logits(ctx context.Context, inputs [][]int32, dst [][]float64, train bool) (err error) {
	s.fits("logits", inputs, dst)
	defer func() {
		if err != nil {
			s.clear()
		}
	}()
	s.kept = false
	if train {
		s.trained = false
	}
	if err := s.check(inputs); err != nil {
		return err
	}
	err = s.each(ctx, inputs, func(from, to int) error {
		compute := s.encoder.Predict
		if train && to-from == len(inputs) {
			compute, s.kept = s.encoder.Forward, true
		}
		if err := compute(&s.pack, s.values); err != nil {
			return err
		}
		for i, row := range dst[from:to] {
			for c := range row {
				row[c] = float64(s.values[i*len(row)+c])
			}
		}
		return nil
	})
	if err == nil && train {
		s.inputs, s.trained = inputs, true
	}
	return err
}

// Backward implements distill.Student: dlogits[i][c] is the gradient of a loss
// with respect to the last training call's dst[i][c]. The context is looked
// at between micro-batches. It panics if dlogits does not fit, and if no
// training Logits came before it since the last Backward, OptimStep, Load or error.
func (s *Student) Backward(ctx context.Context, dlogits [][]float64) (err error) {
	if !s.trained {
		panic("local: Backward without a training Logits before it")
	}
	s.fits("gradients", s.inputs, dlogits)
	defer func() {
		if err != nil {
			s.clear()
		}
	}()
	s.trained = false
	return s.each(ctx, s.inputs, func(from, to int) error {
		if !s.kept {
			if err := s.encoder.Forward(&s.pack, s.values); err != nil {
				return err
			}
		}
		s.kept = false
		for i, row := range dlogits[from:to] {
			for c, d := range row {
				s.values[i*len(row)+c] = float32(d)
			}
		}
		return s.encoder.Backward(s.values)
	})
}

// each divides the inputs into micro-batches and calls compute for every one,
// inputs [from, to), with the pack and room for its logits made ready. The
// same inputs make the same packs, so a pack whose activations the encoder
// kept is still what it was.
func (s *Student) each(ctx context.Context, inputs [][]int32, compute func(from, to int) error) error {
	for from := 0; from < len(inputs); {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.pack.Reset()
		to := from
		for ; to < len(inputs) && (to == from || s.pack.Rows()+len(inputs[to]) <= s.maxRows); to++ {
			s.pack.Add(inputs[to], -1)
		}
		n := (to - from) * s.encoder.Config().Classes
		if cap(s.values) < n {
			s.values = make([]float32, n)
		}
		s.values = s.values[:n]
		if err := compute(from, to); err != nil {
			return err
		}
		from = to
	}
	return ctx.Err()
}

// check returns an error that names the first input that cannot be computed.
func (s *Student) check(inputs [][]int32) error {
	c := s.encoder.Config()
	for i, ids := range inputs {
		switch {
		case len(ids) == 0:
			return fmt.Errorf("local: input %d is empty, want at least one token", i)
		case len(ids) > c.MaxSeq:
			return fmt.Errorf("local: input %d has %d tokens, want at most %d (MaxSeq)", i, len(ids), c.MaxSeq)
		}
		for t, id := range ids {
			if id < 0 || int(id) >= c.Vocab {
				return fmt.Errorf("local: input %d: token %d has id %d, want 0 to %d", i, t, id, c.Vocab-1)
			}
		}
	}
	return nil
}

// fits panics unless there is a row of Classes values for every input.
func (s *Student) fits(what string, inputs [][]int32, rows [][]float64) {
	if len(rows) != len(inputs) {
		panic(fmt.Sprintf("local: %d inputs, but %s of %d", len(inputs), what, len(rows)))
	}
	for i, row := range rows {
		if classes := s.encoder.Config().Classes; len(row) != classes {
			panic(fmt.Sprintf("local: %d classes, but %d %s of input %d", classes, len(row), what, i))
		}
	}
}

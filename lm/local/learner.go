package local

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/rl"
)

// network computes a row of outputs for each sequence of a pack.
type network interface {
	// limits are the number of outputs, the longest sequence, and the number of tokens.
	limits() (outputs, maxSeq, vocab int)
	// Forward writes [sequences×outputs] and keeps what Backward needs. Predict does
	// not keep it.
	Forward(p *model.Pack, values []float32) error
	Predict(p *model.Pack, values []float32) error
	Backward(dvalues []float32) error
}

// learner is the common part of students: a network that is trained on inputs, in
// micro-batches.
type learner struct {
	training
	net     network
	maxRows int

	// What the next Backward is about: the inputs of the last training
	// Logits, and whether the network still holds their activations.
	inputs  [][]int32
	trained bool
	kept    bool

	// The current micro-batch, whose memory the next one uses again.
	pack   model.Pack
	values []float32
}

// Logits implements distill.Student. An input that is empty, longer than the
// model's MaxSeq, or has a token id out of range is an error that names it. The
// context is checked between micro-batches. After a call with train, leave the
// inputs as they are until Backward; calls without train may come between. It
// panics if dst does not fit.
func (t *learner) Logits(ctx context.Context, inputs [][]int32, dst [][]float64, train bool) (err error) {
	t.fits("logits", inputs, dst)
	defer func() {
		if err != nil {
			t.drop()
		}
	}()
	t.kept = false
	if train {
		t.trained = false
	}
	if err := t.check(inputs); err != nil {
		return err
	}
	err = t.each(ctx, inputs, func(from, to int) error {
		compute := t.net.Predict
		if train && to-from == len(inputs) {
			compute, t.kept = t.net.Forward, true
		}
		if err := compute(&t.pack, t.values); err != nil {
			return err
		}
		for i, row := range dst[from:to] {
			for c := range row {
				row[c] = float64(t.values[i*len(row)+c])
			}
		}
		return nil
	})
	if err == nil && train {
		t.inputs, t.trained = inputs, true
	}
	return err
}

// Backward implements distill.Student: dlogits[i][c] is the gradient of a loss
// with respect to the last training call's dst[i][c]. The context is checked
// between micro-batches. It panics if dlogits does not fit, and if no training
// Logits came before it since the last Backward, OptimStep, Load or error.
func (t *learner) Backward(ctx context.Context, dlogits [][]float64) (err error) {
	if !t.trained {
		panic("local: Backward without a training Logits before it")
	}
	t.fits("gradients", t.inputs, dlogits)
	defer func() {
		if err != nil {
			t.drop()
		}
	}()
	t.trained = false
	return t.each(ctx, t.inputs, func(from, to int) error {
		if !t.kept {
			if err := t.net.Forward(&t.pack, t.values); err != nil {
				return err
			}
		}
		t.kept = false
		for i, row := range dlogits[from:to] {
			for c, d := range row {
				t.values[i*len(row)+c] = float32(d)
			}
		}
		return t.net.Backward(t.values)
	})
}

// OptimStep implements distill.Student. Call Logits with train again before the
// next Backward.
func (t *learner) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	t.trained, t.kept = false, false
	return t.training.OptimStep(ctx, o)
}

// Load restores the checkpoint at the path that Save returned, of a model of
// the same configuration, and clears the accumulated gradient. A missing or
// damaged file, and a field or tensor that does not fit, are errors that name
// it, and then nothing has changed. After an error of the backend the model
// may be half loaded.
func (t *learner) Load(ctx context.Context, ref string) error {
	if err := t.training.Load(ctx, ref); err != nil {
		return err
	}
	t.trained, t.kept = false, false
	return nil
}

// drop forgets the accumulated gradient and the last training Logits.
func (t *learner) drop() {
	t.trained, t.kept = false, false
	t.dropGradient()
}

// each calls compute for every micro-batch, inputs [from, to), with the pack
// and room for its logits made ready. The same inputs make the same packs, so a
// pack whose activations the network kept is still what it was.
func (t *learner) each(ctx context.Context, inputs [][]int32, compute func(from, to int) error) error {
	return microBatches(ctx, len(inputs), func(from int) (to int) {
		t.pack.Reset()
		for to = from; to < len(inputs) && (to == from || t.pack.Rows()+len(inputs[to]) <= t.maxRows); to++ {
			t.pack.Add(inputs[to], -1)
		}
		outputs, _, _ := t.net.limits()
		t.values = sized(t.values, (to-from)*outputs)
		return to
	}, compute)
}

// check returns an error that names the first input that cannot be computed.
func (t *learner) check(inputs [][]int32) error {
	_, maxSeq, vocab := t.net.limits()
	for i, ids := range inputs {
		switch {
		case len(ids) == 0:
			return fmt.Errorf("local: input %d is empty, want at least one token", i)
		case len(ids) > maxSeq:
			return fmt.Errorf("local: input %d has %d tokens, want at most %d (MaxSeq)", i, len(ids), maxSeq)
		}
		if err := checkTokens("input", i, ids, vocab); err != nil {
			return err
		}
	}
	return nil
}

// fits panics unless there is a row of Classes values for every input.
func (t *learner) fits(what string, inputs [][]int32, rows [][]float64) {
	if len(rows) != len(inputs) {
		panic(fmt.Sprintf("local: %d inputs, but %s of %d", len(inputs), what, len(rows)))
	}
	outputs, _, _ := t.net.limits()
	for i, row := range rows {
		if len(row) != outputs {
			panic(fmt.Sprintf("local: %d outputs, but %d %s of input %d", outputs, len(row), what, i))
		}
	}
}

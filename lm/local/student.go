package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/rl"
)

// StudentConfig holds the settings of a student.
type StudentConfig struct {
	// Encoder is the classifier. The student trains its weights, and frees it
	// in the end.
	Encoder *model.Encoder
	// Optimizer holds AdamW's settings; the zero value means
	// optim.DefaultConfig.
	Optimizer optim.Config
	// MaxRows bounds the rows (tokens) of a micro-batch; 0 means 4096. An
	// input that is longer is computed alone.
	MaxRows int
	// Dir is the directory of checkpoints, which Save makes if need be.
	// Without it Save returns an error.
	Dir string
}

// Validate returns an error that names the first invalid setting.
func (c StudentConfig) Validate() error {
	if c.Encoder == nil {
		return errors.New("local: StudentConfig.Encoder is nil")
	}
	return checkTraining("StudentConfig", c.Optimizer, c.MaxRows)
}

// Student is an encoder in this process with its optimiser. It implements
// distill.Student. One goroutine uses a student, and its encoder, at a time.
//
// After an error of Logits, Backward or OptimStep the accumulated gradient is
// cleared, and Backward must not be called before another training Logits.
type Student struct {
	training
	encoder *model.Encoder
	maxRows int

	// What the next Backward is about: the inputs of the last training
	// Logits, and whether the encoder still holds their activations.
	inputs  [][]int32
	trained bool
	kept    bool

	// The current micro-batch, whose memory the next one uses again.
	pack   model.Pack
	values []float32
}

var _ distill.Student = (*Student)(nil)

// NewStudent returns a student at version 0. The error is c.Validate's.
func NewStudent(c StudentConfig) (*Student, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	e := c.Encoder
	s := &Student{encoder: e, maxRows: rowBound(c.MaxRows), training: training{
		model: e, checkConfig: configIs(e.Config(), model.ReadEncoderConfig),
		configFile: model.ConfigFile, weightsFile: model.WeightsFile, dir: c.Dir,
	}}
	if err := s.start(e.Params(), c.Optimizer); err != nil {
		return nil, err
	}
	return s, nil
}

// Encoder returns the encoder that the student trains.
func (t *Student) Encoder() *model.Encoder { return t.encoder }

// Free releases the memory of the student's optimiser and encoder, neither of
// which may be used afterwards.
func (t *Student) Free() {
	t.opt.Free()
	t.encoder.Free()
}

// Logits implements distill.Student. An input that is empty, longer than the
// model's MaxSeq, or has a token id out of range is an error that names it. The
// context is checked between micro-batches. After a call with train, leave the
// inputs as they are until Backward; calls without train may come between. It
// panics if dst does not fit.
func (t *Student) Logits(ctx context.Context, inputs [][]int32, dst [][]float64, train bool) (err error) {
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
		compute := t.encoder.Predict
		if train && to-from == len(inputs) {
			compute, t.kept = t.encoder.Forward, true
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

// Probs returns the probability of every class for each text, as encode makes tokens
// of it; for a tokenizer that is t.Encode, or a function that clips the text or adds
// special tokens first. Errors are those of Logits.
func (s *Student) Probs(ctx context.Context, encode func(text string) []int32, texts ...string) ([][]float64, error) {
	inputs, probs := make([][]int32, len(texts)), make([][]float64, len(texts))
	for i, text := range texts {
		inputs[i], probs[i] = encode(text), make([]float64, s.encoder.Config().Classes)
	}
	if err := s.Logits(ctx, inputs, probs, false); err != nil {
		return nil, err
	}
	for _, p := range probs {
		top, sum := slices.Max(p), 0.0
		for c, z := range p {
			p[c] = math.Exp(z - top)
			sum += p[c]
		}
		for c := range p {
			p[c] /= sum
		}
	}
	return probs, nil
}

// Backward implements distill.Student: dlogits[i][c] is the gradient of a loss
// with respect to the last training call's dst[i][c]. The context is checked
// between micro-batches. It panics if dlogits does not fit, and if no training
// Logits came before it since the last Backward, OptimStep, Load or error.
func (t *Student) Backward(ctx context.Context, dlogits [][]float64) (err error) {
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
			if err := t.encoder.Forward(&t.pack, t.values); err != nil {
				return err
			}
		}
		t.kept = false
		for i, row := range dlogits[from:to] {
			for c, d := range row {
				t.values[i*len(row)+c] = float32(d)
			}
		}
		return t.encoder.Backward(t.values)
	})
}

// OptimStep implements distill.Student. Call Logits with train again before the
// next Backward.
func (t *Student) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	t.trained, t.kept = false, false
	return t.training.OptimStep(ctx, o)
}

// Load restores the checkpoint at the path that Save returned, of an encoder of
// the same configuration, and clears the accumulated gradient. A missing or
// damaged file, and a field or tensor that does not fit, are errors that name
// it, and then nothing has changed. After an error of the backend the encoder
// may be half loaded.
func (t *Student) Load(ctx context.Context, ref string) error {
	if err := t.training.Load(ctx, ref); err != nil {
		return err
	}
	t.trained, t.kept = false, false
	return nil
}

// drop forgets the accumulated gradient and the last training Logits.
func (t *Student) drop() {
	t.trained, t.kept = false, false
	t.dropGradient()
}

// each calls compute for every micro-batch, inputs [from, to), with the pack
// and room for its logits made ready. The same inputs make the same packs, so a
// pack whose activations the encoder kept is still what it was.
func (t *Student) each(ctx context.Context, inputs [][]int32, compute func(from, to int) error) error {
	return microBatches(ctx, len(inputs), func(from int) (to int) {
		t.pack.Reset()
		for to = from; to < len(inputs) && (to == from || t.pack.Rows()+len(inputs[to]) <= t.maxRows); to++ {
			t.pack.Add(inputs[to], -1)
		}
		t.values = sized(t.values, (to-from)*t.encoder.Config().Classes)
		return to
	}, compute)
}

// check returns an error that names the first input that cannot be computed.
func (t *Student) check(inputs [][]int32) error {
	c := t.encoder.Config()
	for i, ids := range inputs {
		switch {
		case len(ids) == 0:
			return fmt.Errorf("local: input %d is empty, want at least one token", i)
		case len(ids) > c.MaxSeq:
			return fmt.Errorf("local: input %d has %d tokens, want at most %d (MaxSeq)", i, len(ids), c.MaxSeq)
		}
		if err := checkTokens("input", i, ids, c.Vocab); err != nil {
			return err
		}
	}
	return nil
}

// fits panics unless there is a row of Classes values for every input.
func (t *Student) fits(what string, inputs [][]int32, rows [][]float64) {
	if len(rows) != len(inputs) {
		panic(fmt.Sprintf("local: %d inputs, but %s of %d", len(inputs), what, len(rows)))
	}
	for i, row := range rows {
		if classes := t.encoder.Config().Classes; len(row) != classes {
			panic(fmt.Sprintf("local: %d classes, but %d %s of input %d", classes, len(row), what, i))
		}
	}
}

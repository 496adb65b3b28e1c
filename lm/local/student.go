package local

import (
	"context"
	"errors"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
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
	learner
	encoder *model.Encoder
}

var _ distill.Student = (*Student)(nil)

// NewStudent returns a student at version 0. The error is c.Validate's.
func NewStudent(c StudentConfig) (*Student, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Student{encoder: c.Encoder, learner: encoderLearner(c)}
	s.net = logitsOf{c.Encoder}
	if err := s.start(c.Encoder.Params(), c.Optimizer); err != nil {
		return nil, err
	}
	return s, nil
}

// encoderLearner lacks its network and its optimiser.
func encoderLearner(c StudentConfig) learner {
	k := kept{c.Encoder, model.ConfigFile, model.WeightsFile, configIs(c.Encoder.Config(), model.ReadEncoderConfig)}
	return learner{maxRows: rowBound(c.MaxRows), training: training{kept: k, dir: c.Dir}}
}

// logitsOf is an encoder as a network whose outputs are its logits.
type logitsOf struct{ *model.Encoder }

func (n logitsOf) limits() (outputs, maxSeq, vocab int) {
	c := n.Config()
	return c.Classes, c.MaxSeq, c.Vocab
}

// Outputs is the number of logits of an input.
func (t *Student) Outputs() int { return t.encoder.Config().Classes }

// Encoder returns the encoder that the student trains.
func (t *Student) Encoder() *model.Encoder { return t.encoder }

// Free releases the memory of the student's optimiser and encoder, neither of
// which may be used afterwards.
func (t *Student) Free() {
	t.opt.Free()
	t.encoder.Free()
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
	for i, logits := range probs {
		probs[i] = distill.HeadSoftmax.Probs(logits, len(logits))
	}
	return probs, nil
}

package local

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
)

// LabelDecoderConfig holds the settings of a decoder that answers in its first token.
type LabelDecoderConfig struct {
	// Decoder is the model, such as the teacher's own. The student trains its weights,
	// and frees it in the end.
	Decoder *model.Decoder
	// Labels holds a token for each class: what the decoder says right after its input.
	Labels []int32
	// Steps holds, for each step of the teacher's reasoning that the student is shown
	// (distill.Fit.Answers), the tokens of its answers. Step k of n is answered n-k
	// tokens before the end of the input, so that an input ends with a mark for every
	// step and one for the label; all are computed in one pass, and nothing is sampled.
	Steps [][]int32
	// Optimizer, MaxRows and Dir are as in StudentConfig.
	Optimizer optim.Config
	MaxRows   int
	Dir       string
}

// Validate returns an error that names the first invalid setting.
func (c LabelDecoderConfig) Validate() error {
	if c.Decoder == nil {
		return errors.New("local: LabelDecoderConfig.Decoder is nil")
	}
	for k, tokens := range append([][]int32{c.Labels}, c.Steps...) {
		name := "Labels"
		if k > 0 {
			name = fmt.Sprintf("Steps[%d]", k-1)
		}
		if len(tokens) < 2 {
			return fmt.Errorf("local: LabelDecoderConfig.%s has %d tokens, want at least 2", name, len(tokens))
		}
		for i, id := range tokens {
			if id < 0 || int(id) >= c.Decoder.Config().Vocab {
				return fmt.Errorf("local: LabelDecoderConfig.%s[%d] is %d, want 0 to %d", name, i, id, c.Decoder.Config().Vocab-1)
			}
			if slices.Index(tokens, id) < i {
				return fmt.Errorf("local: LabelDecoderConfig.%s has the token %d twice: two answers must not begin alike", name, id)
			}
		}
	}
	return checkTraining("LabelDecoderConfig", c.Optimizer, c.MaxRows)
}

// LabelDecoder is a decoder that states the label in its first token, and so costs a
// pass over its input. It implements distill.Student; its outputs are the log-probs, of
// the whole vocabulary, of the labels' tokens and then of the steps' answers.
//
// Training drives up the probability of the answers together, too: Backward adds the
// gradient of the mean over the inputs of -log Σ p of each question. With softmax,
// temperature 1 and no hard part that makes the loss the cross-entropy over the whole
// vocabulary, so that an engine which samples one token gets a label.
type LabelDecoder struct {
	learner
	decoder   *model.Decoder
	questions [][]int32   // the labels, then the answers of each step
	logp      [][]float64 // of the last training Logits
}

var _ distill.Student = (*LabelDecoder)(nil)

// NewLabelDecoder returns a student at version 0. The error is c.Validate's.
func NewLabelDecoder(c LabelDecoderConfig) (*LabelDecoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d, questions := c.Decoder, append([][]int32{c.Labels}, c.Steps...)
	s := &LabelDecoder{decoder: d, questions: questions, learner: learner{
		maxRows: rowBound(c.MaxRows), net: &firstTokens{Decoder: d, questions: questions},
		training: training{
			model: d, checkConfig: configIs(d.Config(), model.ReadConfig),
			configFile: model.ConfigFile, weightsFile: model.WeightsFile, dir: c.Dir,
		},
	}}
	if err := s.start(d.Params(), c.Optimizer); err != nil {
		return nil, err
	}
	return s, nil
}

// Decoder returns the decoder that the student trains.
func (s *LabelDecoder) Decoder() *model.Decoder { return s.decoder }

// Outputs is the number of logits of an input.
func (s *LabelDecoder) Outputs() int {
	n, _, _ := s.net.limits()
	return n
}

// Logits implements distill.Student, as Student.Logits does.
func (s *LabelDecoder) Logits(ctx context.Context, inputs [][]int32, dst [][]float64, train bool) error {
	if err := s.learner.Logits(ctx, inputs, dst, train); err != nil || !train {
		return err
	}
	s.logp = make([][]float64, len(dst))
	for i := range dst {
		s.logp[i] = slices.Clone(dst[i])
	}
	return nil
}

// Backward implements distill.Student, as Student.Backward does.
func (s *LabelDecoder) Backward(ctx context.Context, dlogits [][]float64) error {
	grads := make([][]float64, len(dlogits))
	for i := range dlogits {
		grads[i] = slices.Clone(dlogits[i])
		at := 0
		for _, tokens := range s.questions {
			p := distill.HeadSoftmax.Probs(s.logp[i][at:at+len(tokens)], len(tokens))
			for c := range p {
				grads[i][at+c] -= p[c] / float64(len(dlogits))
			}
			at += len(tokens)
		}
	}
	return s.learner.Backward(ctx, grads)
}

// Free releases the memory of the student's optimiser and decoder.
func (s *LabelDecoder) Free() {
	s.opt.Free()
	s.decoder.Free()
}

// firstTokens is a decoder as a network whose outputs are log-probs of some tokens.
type firstTokens struct {
	*model.Decoder
	questions [][]int32
	targets   model.Targets
}

func (n *firstTokens) limits() (outputs, maxSeq, vocab int) {
	for _, q := range n.questions {
		outputs += len(q)
	}
	c := n.Config()
	return outputs, c.MaxSeq, c.Vocab
}

// prepare makes the targets of a pack.
func (n *firstTokens) prepare(p *model.Pack) error {
	n.targets = model.Targets{Rows: n.targets.Rows[:0], IDs: n.targets.IDs[:0]}
	for i, s := range p.Segments {
		if s.End-s.Start < len(n.questions) {
			return fmt.Errorf("local: an input has %d tokens, want at least the marks of the label and of %d steps (input %d of the micro-batch)", s.End-s.Start, len(n.questions)-1, i)
		}
		for k, tokens := range n.questions {
			row := s.End - 1 // of the label
			if k > 0 {
				row = s.End - 1 - len(n.questions) + k
			}
			for _, id := range tokens {
				n.targets.Rows, n.targets.IDs = append(n.targets.Rows, int32(row)), append(n.targets.IDs, id)
			}
		}
	}
	return nil
}

func (n *firstTokens) Predict(p *model.Pack, values []float32) error {
	if err := n.prepare(p); err != nil {
		return err
	}
	return n.Score(p, &n.targets, values, nil)
}

func (n *firstTokens) Forward(p *model.Pack, values []float32) error {
	if err := n.prepare(p); err != nil {
		return err
	}
	return n.Decoder.Forward(p, &n.targets, values, nil)
}

func (n *firstTokens) Backward(dvalues []float32) error { return n.Decoder.Backward(dvalues, nil) }

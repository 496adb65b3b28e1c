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
	// or only its adapters if it has any, and frees it in the end.
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
		maxRows: rowBound(c.MaxRows), net: newFirstTokens(d, questions),
		training: decoderTraining(d, c.Dir),
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

// firstTokens is a decoder as a network whose outputs are log-probs of some tokens: those
// of a question are candidates of one target, so that the head is computed once for it.
type firstTokens struct {
	*model.Decoder
	questions [][]int32
	// candidates are the questions' tokens, all questions with as many: the others are
	// filled up with tokens that nobody reads.
	candidates [][]int32
	targets    model.Targets
	unread     []float32 // the targets' own log-probs, and their gradient: 0
}

func newFirstTokens(d *model.Decoder, questions [][]int32) *firstTokens {
	n, most := &firstTokens{Decoder: d, questions: questions}, 0
	for _, q := range questions {
		most = max(most, len(q))
	}
	for _, q := range questions {
		filled := slices.Clone(q)
		for id := int32(0); len(filled) < most; id++ {
			if !slices.Contains(q, id) {
				filled = append(filled, id)
			}
		}
		n.candidates = append(n.candidates, filled)
	}
	n.targets.Candidates = &model.Candidates{K: most}
	return n
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
	t := &n.targets
	t.Rows, t.IDs, t.Candidates.IDs = t.Rows[:0], t.IDs[:0], t.Candidates.IDs[:0]
	for i, s := range p.Segments {
		if s.End-s.Start < len(n.questions) {
			return fmt.Errorf("local: an input has %d tokens, want at least the marks of the label and of %d steps (input %d of the micro-batch)", s.End-s.Start, len(n.questions)-1, i)
		}
		for k, tokens := range n.candidates {
			row := s.End - 1 // of the label
			if k > 0 {
				row = s.End - 1 - len(n.questions) + k
			}
			t.Rows, t.IDs = append(t.Rows, int32(row)), append(t.IDs, tokens[0])
			t.Candidates.IDs = append(t.Candidates.IDs, tokens...)
		}
	}
	outcomes := len(t.Candidates.IDs) + len(t.IDs) // a question's candidates, and the rest
	t.Candidates.LogP, t.Candidates.Grad = sized(t.Candidates.LogP, outcomes), sized(t.Candidates.Grad, outcomes)
	n.unread = sized(n.unread, len(t.IDs))
	return nil
}

// each calls f for every output with its place in the candidates' LogP and Grad.
func (n *firstTokens) each(f func(output, at int)) {
	output, most := 0, n.targets.Candidates.K
	for target := range n.targets.IDs {
		for k := range n.questions[target%len(n.questions)] {
			f(output, target*(most+1)+k)
			output++
		}
	}
}

func (n *firstTokens) compute(p *model.Pack, values []float32, pass func(*model.Pack, *model.Targets, []float32, []float32) error) error {
	if err := n.prepare(p); err != nil {
		return err
	}
	if err := pass(p, &n.targets, n.unread, nil); err != nil {
		return err
	}
	n.each(func(output, at int) { values[output] = float32(n.targets.Candidates.LogP[at]) })
	return nil
}

func (n *firstTokens) Predict(p *model.Pack, values []float32) error {
	return n.compute(p, values, n.Score)
}

func (n *firstTokens) Forward(p *model.Pack, values []float32) error {
	return n.compute(p, values, n.Decoder.Forward)
}

func (n *firstTokens) Backward(dvalues []float32) error {
	grad := n.targets.Candidates.Grad
	clear(grad)
	n.each(func(output, at int) { grad[at] = float64(dvalues[output]) })
	clear(n.unread)
	return n.Decoder.Backward(n.unread, nil)
}

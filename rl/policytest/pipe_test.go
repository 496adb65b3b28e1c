package policytest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

// call and reply are the messages of a server that knows four verbs and one
// loss, the weighted sum of log-probs: about what a remote trainer offers.
type call struct {
	Verb        string
	Prompts     [][]int32
	Tokens      [][]int32
	Prompt      []int
	Weights     [][]float64
	Temperature float64
	Name        string
	Optim       rl.OptimOptions
}

type reply struct {
	LogP  [][]float64
	Info  rl.OptimInfo
	Ref   string
	Error string
}

type weighted struct{}

func (weighted) Needs() objective.Inputs { return 0 }
func (weighted) Validate() error         { return nil }
func (weighted) Eval(s *objective.Sequence, _ objective.Metrics) (loss float64, _ error) {
	for t, w := range s.Weight {
		loss += w * s.LogP[t]
		s.Grad[t] += w
	}
	return loss, nil
}

func serve(p *policytest.TablePolicy, in io.Reader, out io.Writer) {
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var c call
		if dec.Decode(&c) != nil {
			return
		}
		r, err := handle(p, &c)
		if err != nil {
			r.Error = err.Error()
		}
		if enc.Encode(r) != nil {
			return
		}
	}
}

func handle(p *policytest.TablePolicy, c *call) (r reply, err error) {
	ctx := context.Background()
	b := &rl.Batch{Prompts: c.Prompts, Temperature: c.Temperature}
	for i, tok := range c.Tokens {
		s := rl.Sample{Prompt: c.Prompt[i], Tokens: tok}
		if c.Weights != nil {
			s.Weight = c.Weights[i]
		}
		b.Samples = append(b.Samples, s)
		r.LogP = append(r.LogP, make([]float64, len(tok)))
	}
	switch c.Verb {
	case "log-probs":
		err = p.LogProbs(ctx, b, r.LogP)
	case "backward":
		_, _, err = p.ForwardBackward(ctx, b, weighted{})
	case "step":
		r.Info, err = p.OptimStep(ctx, c.Optim)
	case "save":
		r.Ref, err = p.Save(ctx, c.Name)
	case "load":
		err = p.Load(ctx, c.Name)
	default:
		err = fmt.Errorf("unknown verb %q", c.Verb)
	}
	return r, err
}

// pipe is the client: an rl.Policy on that server.
type pipe struct {
	enc *json.Encoder
	dec *json.Decoder
}

func openPipe(t *testing.T) rl.Policy {
	table := policytest.NewTablePolicy(12, nil, -1)
	table.Randomize(7, 1)
	reqR, reqW := io.Pipe()
	repR, repW := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(table, reqR, repW)
	}()
	t.Cleanup(func() {
		reqW.Close()
		repR.Close()
		<-done
	})
	return &pipe{json.NewEncoder(reqW), json.NewDecoder(repR)}
}

func (p *pipe) do(ctx context.Context, c call) (reply, error) {
	if err := ctx.Err(); err != nil {
		return reply{}, err
	}
	if err := p.enc.Encode(c); err != nil {
		return reply{}, err
	}
	var r reply
	if err := p.dec.Decode(&r); err != nil {
		return reply{}, err
	}
	if r.Error != "" {
		return reply{}, errors.New(r.Error)
	}
	return r, nil
}

func wire(verb string, b *rl.Batch, weights bool) call {
	c := call{Verb: verb, Prompts: b.Prompts, Temperature: b.Temperature}
	for i := range b.Samples {
		c.Tokens = append(c.Tokens, b.Samples[i].Tokens)
		c.Prompt = append(c.Prompt, b.Samples[i].Prompt)
		if weights {
			c.Weights = append(c.Weights, b.Samples[i].Grad)
		}
	}
	return c
}

func (p *pipe) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	r, err := p.do(ctx, wire("log-probs", b, false))
	if err != nil {
		return err
	}
	for i := range dst {
		copy(dst[i], r.LogP[i])
	}
	return nil
}

func (p *pipe) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (float64, objective.Metrics, error) {
	loss, m, err := rl.TwoPass(ctx, p, b, o, func(ctx context.Context, b *rl.Batch) error {
		for i := range b.Samples {
			for _, g := range b.Samples[i].Grad {
				if math.IsInf(g, 0) || math.IsNaN(g) {
					return p.Supports().Check(rl.CapSkip)
				}
			}
		}
		_, err := p.do(ctx, wire("backward", b, true))
		return err
	})
	if err != nil {
		// An optimiser step with learning rate 0 clears what earlier calls have
		// accumulated there.
		if _, cerr := p.do(context.WithoutCancel(ctx), call{Verb: "step"}); cerr != nil {
			return 0, nil, errors.Join(err, cerr)
		}
	}
	return loss, m, err
}

func (p *pipe) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	r, err := p.do(ctx, call{Verb: "step", Optim: o})
	return r.Info, err
}

func (p *pipe) Save(ctx context.Context, name string) (string, error) {
	r, err := p.do(ctx, call{Verb: "save", Name: name})
	return r.Ref, err
}

func (p *pipe) Load(ctx context.Context, ref string) error {
	_, err := p.do(ctx, call{Verb: "load", Name: ref})
	return err
}

// JSON has no infinities, so the server never sees a gradient that it could skip.
const pipeLacks = rl.CapSkip | rl.CapEntropy | rl.CapCandidates

func (p *pipe) Supports() rl.Capabilities { return rl.CapAll &^ pipeLacks }

func TestPolicyBehindAPipe(t *testing.T) {
	defer goleak.VerifyNone(t)
	policytest.Run(t, policytest.Options{Open: openPipe, Vocab: 12, LR: 0.5, Tolerance: 1e-9, Lacks: pipeLacks})
}

// bare refuses all that a policy may refuse.
type bare struct{ *policytest.TablePolicy }

func (bare) Supports() rl.Capabilities { return 0 }

func (p bare) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	if b.Temperature != 0 && b.Temperature != 1 {
		return p.Supports().Check(rl.CapTemperature)
	}
	return p.TablePolicy.LogProbs(ctx, b, dst)
}

func (p bare) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (float64, objective.Metrics, error) {
	loss, m, err := rl.TwoPass(ctx, p, b, o, func(ctx context.Context, b *rl.Batch) error {
		sent := &rl.Batch{Prompts: b.Prompts}
		for _, s := range b.Samples {
			for _, g := range s.Grad {
				if math.IsInf(g, 0) {
					return p.Supports().Check(rl.CapSkip)
				}
			}
			sent.Samples = append(sent.Samples, rl.Sample{Prompt: s.Prompt, Tokens: s.Tokens, Sequence: objective.Sequence{Weight: s.Grad}})
		}
		_, _, err := p.TablePolicy.ForwardBackward(ctx, sent, weighted{})
		return err
	})
	if err != nil {
		_, cerr := p.TablePolicy.OptimStep(context.WithoutCancel(ctx), rl.OptimOptions{})
		err = errors.Join(err, cerr)
	}
	return loss, m, err
}

func (p bare) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	if o.MaxNorm > 0 {
		return rl.OptimInfo{}, p.Supports().Check(rl.CapMaxNorm)
	}
	return p.TablePolicy.OptimStep(ctx, o)
}

func TestRefusals(t *testing.T) {
	policytest.Run(t, policytest.Options{
		Open: func(*testing.T) rl.Policy {
			p := policytest.NewTablePolicy(12, nil, -1)
			p.Randomize(7, 1)
			return bare{p}
		},
		Vocab: 12, LR: 0.5, Tolerance: 1e-9, Lacks: rl.CapAll,
	})
}

func TestTablePolicy(t *testing.T) {
	policytest.Run(t, policytest.Options{
		Open: func(*testing.T) rl.Policy {
			p := policytest.NewTablePolicy(12, nil, -1)
			p.Randomize(7, 1)
			return p
		},
		Vocab: 12, LR: 0.5, Tolerance: 1e-9,
	})
}

func TestInvalidOptions(t *testing.T) {
	open := openPipe
	for want, o := range map[string]policytest.Options{
		"Options.Open":  {Vocab: 2},
		"Options.Vocab": {Open: open, Vocab: 1},
		"Options.LR":    {Open: open, Vocab: 2, LR: -1},
		"Options.Lacks": {Open: open, Vocab: 2, Lacks: 1 << 7},
	} {
		require.ErrorContains(t, o.Validate(), want)
	}
}

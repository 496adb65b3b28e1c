package tinker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// LoRA says which adapters are trained: servers of the protocol train no others.
type LoRA struct {
	// Rank is that of every adapter; a server has its own upper bound.
	Rank int `json:"rank"`
	// Seed is that of the adapters' first weights.
	Seed uint32 `json:"seed"`
	// Unembed also adapts the unembedding. A server that does not do so is an
	// error.
	Unembed bool `json:"unembed"`
}

// Adam holds the optimiser's settings. Zero Beta1, Beta2 and Eps mean 0.9, 0.95 and
// 1e-12, the protocol's defaults.
type Adam struct {
	Beta1       float64 `json:"beta1"`
	Beta2       float64 `json:"beta2"`
	Eps         float64 `json:"eps"`
	WeightDecay float64 `json:"weight_decay"`
}

func (a Adam) withDefaults() Adam {
	a.Beta1, a.Beta2, a.Eps = cmp.Or(a.Beta1, 0.9), cmp.Or(a.Beta2, 0.95), cmp.Or(a.Eps, 1e-12)
	return a
}

// PolicyConfig holds the settings of a policy.
type PolicyConfig struct {
	// Model is the base model, by the name that the server has for it.
	Model string `json:"model"`
	LoRA  LoRA   `json:"lora"`
	Adam  Adam   `json:"adam"`
	// Scaling is the server's; the zero value detects it.
	Scaling Scaling `json:"scaling"`
	// Adapters, if not empty, is a directory on a disk that inference servers
	// share: Publish then downloads the adapters into a folder of it, in PEFT's
	// format (rollout.FormAdapter). The last few are kept. If it is empty, the
	// published weights stay on the server, for an Engine of this package.
	Adapters string `json:"adapters"`
}

// Validate returns an error that names an invalid setting.
func (c PolicyConfig) Validate() error {
	if c.Model == "" {
		return errors.New("tinker: PolicyConfig.Model is missing, want the name of the server's base model")
	}
	if c.LoRA.Rank < 1 {
		return fmt.Errorf("tinker: PolicyConfig.LoRA.Rank is %d, want at least 1", c.LoRA.Rank)
	}
	a := c.Adam.withDefaults()
	for _, f := range []struct {
		name string
		v    float64
		ok   bool
	}{
		{"Beta1", a.Beta1, a.Beta1 >= 0 && a.Beta1 < 1}, {"Beta2", a.Beta2, a.Beta2 >= 0 && a.Beta2 < 1},
		{"Eps", a.Eps, a.Eps > 0 && !math.IsInf(a.Eps, 1)},
		{"WeightDecay", a.WeightDecay, a.WeightDecay >= 0 && !math.IsInf(a.WeightDecay, 1)},
	} {
		if !f.ok {
			return fmt.Errorf("tinker: PolicyConfig.Adam.%s is %v, which is out of range", f.name, f.v)
		}
	}
	if _, err := c.Scaling.MarshalText(); err != nil {
		return fmt.Errorf("tinker: PolicyConfig.Scaling: %w", err)
	}
	return nil
}

// Policy is a model with adapters that the server trains. It implements rl.Policy,
// rl.Publisher and rl.Supporter. One goroutine uses a policy at a time.
type Policy struct {
	c       *Client
	config  PolicyConfig
	model   *model
	version int64

	// gradient is what has been accumulated: it stays here until OptimStep.
	gradient []sequence
	// pending is an optimiser step that did not come to its end.
	pending *step
	// broken is why the server's weights are not those of any version.
	broken error

	published rollout.Weights
	kept      []publication // that are still on the server, the oldest first
}

type publication struct{ model, name, ref, folder string }

var (
	_ rl.Policy    = (*Policy)(nil)
	_ rl.Publisher = (*Policy)(nil)
	_ rl.Supporter = (*Policy)(nil)
)

// NewPolicy makes a model on the server and returns it as a policy at version 0, with
// the weights of the base model. Free it in the end.
func NewPolicy(ctx context.Context, c *Client, p PolicyConfig) (*Policy, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	p.Adam = p.Adam.withDefaults()
	if p.Scaling == ScalingDetect {
		s, err := c.detectScaling(ctx, p.Model, p.LoRA)
		if err != nil {
			return nil, err
		}
		p.Scaling = s
		c.config.Log.Info("tinker: detected scaling", "scaling", s.String())
	}
	m, err := c.newModel(ctx, p.Model, p.LoRA)
	if err != nil {
		return nil, err
	}
	return &Policy{c: c, config: p, model: m}, nil
}

// Free unloads the model. What was saved stays on the server.
func (p *Policy) Free(ctx context.Context) error { return p.model.unload(ctx) }

// Scaling returns the server's scaling, as configured or detected.
func (p *Policy) Scaling() Scaling { return p.config.Scaling }

// Supports implements rl.Supporter: nothing that servers of the protocol cannot do.
// They give log-probs at temperature 1 alone, and neither entropies nor candidates;
// some ignore a bound on the gradient norm without a word; and none skips a gradient
// that is not finite.
func (p *Policy) Supports() rl.Capabilities { return 0 }

// LogProbs implements rl.LogProber.
func (p *Policy) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	_, err := p.logProbs(ctx, b, dst)
	return err
}

// logProbs also returns the samples as sequences without a gradient, with index -1
// for those without tokens.
func (p *Policy) logProbs(ctx context.Context, b *rl.Batch, dst [][]float64) ([]sequence, error) {
	if err := p.settle(ctx); err != nil {
		return nil, err
	}
	if b.Temperature != 0 && b.Temperature != 1 {
		return nil, fmt.Errorf("tinker: temperature %v: %w", b.Temperature, p.Supports().Check(rl.CapTemperature))
	}
	sequences := make([]sequence, len(b.Samples))
	var data []wire.Datum
	var of []int // the sample of each datum
	for i := range b.Samples {
		s := &b.Samples[i]
		if s.Prompt < 0 || s.Prompt >= len(b.Prompts) || len(b.Prompts[s.Prompt]) == 0 {
			return nil, fmt.Errorf("tinker: sample %d has no prompt", i)
		}
		prompt := b.Prompts[s.Prompt]
		sequences[i] = sequence{tokens: slices.Concat(prompt, s.Tokens), at: len(prompt) - 1}
		if k := slices.IndexFunc(sequences[i].tokens, func(id int32) bool { return id < 0 }); k >= 0 {
			return nil, fmt.Errorf("tinker: sample %d has token id %d", i, sequences[i].tokens[k])
		}
		if len(s.Tokens) > 0 {
			data, of = append(data, sequences[i].forward()), append(of, i)
		}
	}
	logp, err := p.model.forward(ctx, data)
	if err != nil {
		return nil, err
	}
	for k, i := range of {
		q := &sequences[i]
		q.logp = logp[k]
		for t := range b.Samples[i].Tokens {
			dst[i][t] = float64(q.logp[q.at+t])
		}
	}
	return sequences, nil
}

// prober is the policy's log-prober that keeps what the server returned.
type prober struct {
	*Policy
	sequences []sequence
}

func (p *prober) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) (err error) {
	p.sequences, err = p.logProbs(ctx, b, dst)
	return err
}

// ForwardBackward implements rl.Policy. It asks the server for log-probs, evaluates o
// here, and keeps the gradient until OptimStep: how a server scales it can depend on
// all sequences of the optimiser step. A gradient that is not finite is an error.
func (p *Policy) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (loss float64, m objective.Metrics, err error) {
	defer func() {
		if err != nil {
			p.gradient = nil
		}
	}()
	if err := p.Supports().Check(rl.Required(o.Needs())); err != nil {
		return 0, nil, fmt.Errorf("tinker: %w", err)
	}
	pr := &prober{Policy: p}
	return rl.TwoPass(ctx, pr, b, o, func(_ context.Context, b *rl.Batch) error {
		for i := range b.Samples {
			some := false
			for t, g := range b.Samples[i].Grad {
				if math.IsNaN(g) || math.IsInf(g, 0) {
					return fmt.Errorf("tinker: the gradient of sample %d at token %d is %v: %w", i, t, g, p.Supports().Check(rl.CapSkip))
				}
				some = some || g != 0
			}
			if some { // a sequence without gradient would only cost time
				q := pr.sequences[i]
				q.grad = slices.Clone(b.Samples[i].Grad)
				p.gradient = append(p.gradient, q)
			}
		}
		return nil
	})
}

// OptimStep implements rl.Policy. GradNorm is 0 if the server reports none. A MaxNorm
// above 0 is an error, see Supports.
//
// If the context ends or the connection is lost meanwhile, the server may have taken
// the step or not. The next call then finishes it first, under the same numbers, so
// that it is taken once; if that is OptimStep again, without a gradient since, it is all
// that it does. If the server itself fails, its weights may be those of half
// a step; every call but Load then returns an error.
func (p *Policy) OptimStep(ctx context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	gradient := p.gradient
	p.gradient = nil
	if p.pending != nil && gradient == nil && ctx.Err() == nil {
		norm, err := p.finish(ctx)
		if err != nil {
			return rl.OptimInfo{}, err
		}
		return rl.OptimInfo{Version: p.version, GradNorm: norm}, nil
	}
	if err := p.settle(ctx); err != nil {
		return rl.OptimInfo{}, err
	}
	if err := o.Validate(); err != nil {
		return rl.OptimInfo{}, err
	}
	if o.MaxNorm > 0 {
		return rl.OptimInfo{}, fmt.Errorf("tinker: MaxNorm %v: %w", o.MaxNorm, p.Supports().Check(rl.CapMaxNorm))
	}
	for i := range gradient {
		q := &gradient[i]
		factor := p.config.Scaling.factor(len(q.tokens)-1, len(gradient))
		for _, g := range q.grad {
			if math.Abs(g*factor) > math.MaxFloat32 {
				return rl.OptimInfo{}, fmt.Errorf("tinker: the gradient %v does not fit into a float32 advantage: %w", g, p.Supports().Check(rl.CapSkip))
			}
		}
	}
	p.pending = p.model.step(gradient, p.config.Scaling, o.LR, p.config.Adam)
	norm, err := p.finish(ctx)
	if err != nil {
		return rl.OptimInfo{}, err
	}
	return rl.OptimInfo{Version: p.version, GradNorm: norm}, nil
}

// finish brings the pending step to its end.
func (p *Policy) finish(ctx context.Context) (float64, error) {
	norm, _, err := p.pending.run(ctx)
	if err == nil && (math.IsNaN(norm) || math.IsInf(norm, 0)) {
		err = &failure{"optim_step", fmt.Sprintf("the gradient norm is %v", norm)}
	}
	if err == nil {
		p.pending = nil
		p.version++
		return norm, nil
	}
	_, differs := errors.AsType[*changed](err)
	if isFailure(err) != nil || differs {
		p.pending = nil
		p.broken = fmt.Errorf("tinker: the weights after optimiser step %d are not usable; load a checkpoint: %w", p.version+1, err)
		return 0, p.broken
	}
	return 0, err
}

// settle finishes an optimiser step that was interrupted.
func (p *Policy) settle(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.pending != nil {
		if _, err := p.finish(ctx); err != nil {
			return err
		}
	}
	return p.broken
}

// nameOK is what servers accept in the name of a checkpoint.
var nameOK = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,200}$`)

// Save implements rl.Policy: the server keeps the checkpoint under the name and a
// random ending, because it takes no name twice. The reference is the server's, with
// the version as its fragment: "tinker://model/weights/name-ending#7". [Client.Remove]
// deletes it.
func (p *Policy) Save(ctx context.Context, name string) (string, error) {
	if !nameOK.MatchString(name) {
		return "", fmt.Errorf("tinker: the checkpoint name %q is none for the server, want 1 to 200 letters, digits, _ and -", name)
	}
	if err := p.settle(ctx); err != nil {
		return "", err
	}
	ref, err := p.model.save(ctx, forTraining, unique(name))
	if err != nil {
		return "", err
	}
	return ref + "#" + strconv.FormatInt(p.version, 10), nil
}

// parseRef splits a reference that Save returned.
func parseRef(ref string) (path string, version int64, err error) {
	at := max(strings.LastIndexByte(ref, '#'), 0)
	path = ref[:at]
	version, err = strconv.ParseInt(strings.TrimPrefix(ref[at:], "#"), 10, 64)
	if err != nil || version < 0 || !strings.HasPrefix(path, "tinker://") {
		return "", 0, fmt.Errorf("tinker: %q is no reference that Save returned, want tinker://model/weights/name#version", ref)
	}
	return path, version, nil
}

// Load implements rl.Policy: a new model takes the place of the old one, which is
// unloaded, so the server needs room for both.
func (p *Policy) Load(ctx context.Context, ref string) error {
	path, v, err := parseRef(ref)
	if err != nil {
		return err
	}
	m, err := p.c.loadModel(ctx, p.config.Model, p.config.LoRA, path)
	if err != nil {
		return err
	}
	old := p.model
	p.model, p.version = m, v
	p.gradient, p.pending, p.broken, p.published = nil, nil, nil, rollout.Weights{}
	old.discard(ctx)
	return nil
}

// keep is how many publications are kept on the server and in Adapters, besides those
// that an Engine of the same client still samples from. Engines elsewhere that sample
// from an older one have fallen far behind.
const keep = 4

// Publish implements rl.Publisher: it saves the weights for sampling and, with
// Adapters, downloads them. Weights that have not changed are not published again.
func (p *Policy) Publish(ctx context.Context) (rollout.Weights, error) {
	if err := p.settle(ctx); err != nil {
		return rollout.Weights{}, err
	}
	if p.published.Ref != "" && p.published.Version == p.version {
		return p.published, nil
	}
	name := unique("v" + strconv.FormatInt(p.version, 10))
	ref, err := p.model.save(ctx, forSampling, name)
	if err != nil {
		return rollout.Weights{}, err
	}
	w, pub := rollout.Weights{Version: p.version, Ref: ref}, publication{model: p.model.id, name: name, ref: ref}
	if p.config.Adapters != "" {
		pub.folder = filepath.Join(p.config.Adapters, name)
		w.Form, w.Ref = rollout.FormAdapter, pub.folder
	}
	p.kept = append(p.kept, pub)
	if pub.folder != "" {
		if err := p.c.downloadAdapter(ctx, pub.model, name, pub.folder); err != nil {
			return rollout.Weights{}, err
		}
	}
	p.published = w
	old := len(p.kept) - keep
	p.kept = slices.DeleteFunc(p.kept, func(pub publication) bool {
		old--
		if old < 0 || p.c.isHeld(pub.ref) {
			return false
		}
		p.drop(ctx, pub)
		return true
	})
	return w, nil
}

// drop deletes an old publication. It is no error if that fails.
func (p *Policy) drop(ctx context.Context, old publication) {
	err := p.c.deleteSaved(ctx, old.model, forSampling, old.name, true)
	if old.folder != "" {
		err = errors.Join(err, os.RemoveAll(old.folder))
	}
	if err != nil {
		p.c.config.Log.Warn("tinker: an old publication was not deleted", "name", transport.Clean(old.name, 64), "error", err.Error())
	}
}

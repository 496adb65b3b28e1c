package rl

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rl/objective"
)

// Imitation is supervised training: the policy learns to write given completions.
// It comes before reinforcement learning, which needs a policy that already writes
// the task's format (a warm-up, or SFT). The loss is the cross-entropy per
// completion token; prompts are not trained on.
//
// With completions that a teacher wrote (Rollouts.Best) it is sequence-level
// distillation, and with a Teacher and an objective over candidates in place of the
// cross-entropy it is distillation on given completions.
//
// Training step i depends on the fields and i alone, so a loop that saved the policy
// after step i continues with step i+1: checkpoint.Loop does that. Run is the loop without
// saving.
type Imitation struct {
	Policy Policy
	// Demonstrations returns demonstration i ≥ 0, the same one every time. Step i
	// takes Batch of them from i·Batch on. For a list, see Shuffled.
	Demonstrations func(i int) (Demonstration, error)
	// End is written after every demonstration, and learnt with it: the model's
	// end-of-text token, one of those at which the engine ends a completion
	// (local.EngineConfig.EOS). A policy that never learns it writes on until
	// MaxTokens. Leave it empty only if the demonstrations hold the token, or if
	// completions end otherwise (rollout.Params.Stop).
	End []int32
	// Batch is the number of demonstrations per training step.
	Batch int
	// Accumulate is the number of forward-backward calls per step; 0 means 1. It
	// changes how much memory a step takes but not its result.
	Accumulate int
	// Steps is the number of training steps.
	Steps int
	// Objective is the loss; nil means objective.CrossEntropy{}. It is one that does not
	// take the completions for the policy's own, such as objective.ForwardKL.
	Objective objective.Objective
	// Teacher is required if the objective needs objective.InputCandidates. Nothing
	// is logged here: its Vocab, PolicyVocab and Candidates are yours to set right.
	Teacher *Teacher
	// LR is the learning rate of each step, counted from 0.
	LR Schedule
	// MaxNorm clips the global gradient norm; 0 = no clipping.
	MaxNorm float64
	// Recorder receives what Step returns, with the steps counted from 1; nil =
	// nobody does.
	Recorder Recorder
}

// Shuffled returns a list of demonstrations as Imitation takes them: without end,
// each pass in another order that depends on the seed alone. It panics if the list
// is empty. The function keeps the order in use; one goroutine uses it.
func Shuffled(demos []Demonstration, seed uint64) func(i int) (Demonstration, error) {
	if len(demos) == 0 {
		panic("rl: Shuffled of no demonstrations")
	}
	pass, order := -1, []int(nil)
	return func(i int) (Demonstration, error) {
		if p := i / len(demos); p != pass {
			pass, order = p, rand.New(rand.NewPCG(seed, uint64(p))).Perm(len(demos))
		}
		return demos[order[i%len(demos)]], nil
	}
}

// Validate returns an error that names the first invalid field.
func (m *Imitation) Validate() error {
	switch {
	case m.Policy == nil:
		return errors.New("rl: Imitation.Policy is missing")
	case m.Demonstrations == nil:
		return errors.New("rl: Imitation.Demonstrations is missing")
	case m.LR == nil:
		return errors.New("rl: Imitation.LR is missing")
	case m.Batch < 1 || m.Steps < 1:
		return fmt.Errorf("rl: Imitation has batches of %d and %d steps, need at least 1 of each", m.Batch, m.Steps)
	case m.Accumulate < 0 || m.Accumulate > m.Batch:
		return fmt.Errorf("rl: Imitation.Accumulate is %d, want 0 (for 1) to the %d demonstrations of a batch", m.Accumulate, m.Batch)
	}
	if err := checkMaxNorm(m.MaxNorm); err != nil {
		return fmt.Errorf("rl: Imitation.%w", err)
	}
	if err := m.objective().Validate(); err != nil {
		return fmt.Errorf("rl: Imitation.Objective: %w", err)
	}
	needs := m.objective().Needs()
	if other := needs &^ (objective.InputCandidates | objective.InputEntropy); other != 0 {
		return fmt.Errorf("rl: Imitation.Objective needs %v, which demonstrations do not have: the policy did not sample them", other)
	}
	if err := supports(m.Policy, Required(needs)); err != nil {
		return fmt.Errorf("rl: Imitation.Objective: %w", err)
	}
	if err := m.Teacher.validate(needs, m.Policy); err != nil {
		return fmt.Errorf("rl: Imitation.%w", err)
	}
	if m.Teacher != nil && m.Teacher.Prompt != nil {
		return errors.New("rl: Imitation.Teacher.Prompt is set, but demonstrations have no problems")
	}
	if m.MaxNorm > 0 {
		if err := supports(m.Policy, CapMaxNorm); err != nil {
			return fmt.Errorf("rl: Imitation.MaxNorm is %v: %w", m.MaxNorm, err)
		}
	}
	if err := m.LR.Validate(); err != nil {
		return fmt.Errorf("rl: Imitation.LR: %w", err)
	}
	return nil
}

func (m *Imitation) objective() objective.Objective {
	if m.Objective == nil {
		return objective.CrossEntropy{}
	}
	return m.Objective
}

// Run takes all training steps, until ctx is done.
func (m *Imitation) Run(ctx context.Context) error {
	for i := range m.Steps {
		if _, err := m.Step(ctx, i); err != nil {
			return err
		}
	}
	return m.Validate() // of no steps at all
}

// Step takes training step i, from 0 to Steps-1, and returns and records its
// metrics:
//
//	loss           mean loss per completion token before the step: cross-entropy, in
//	               nats, unless Objective is set
//	tokens         completion tokens, End included
//	prompt_tokens  tokens of the prompts
//	grad_norm      global gradient norm before clipping
//	skipped        1 if the gradient was not finite and no step was taken, else 0
//	lr             the learning rate
//
// It panics if i is outside its range.
func (m *Imitation) Step(ctx context.Context, i int) (map[string]float64, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	if i < 0 || i >= m.Steps {
		panic(fmt.Sprintf("rl: training step %d of %d", i, m.Steps))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, err := m.batch(i)
	if err != nil {
		return nil, err
	}
	opt := OptimOptions{LR: m.LR.At(int64(i)), MaxNorm: m.MaxNorm}
	if m.Teacher != nil {
		if err := m.Teacher.fill(ctx, b, nil, m.Policy, m.objective().Needs()); err != nil {
			return nil, fmt.Errorf("rl: log-probs of the teacher for demonstrations %d to %d: %w", i*m.Batch, (i+1)*m.Batch-1, err)
		}
	}
	info, err := Update(ctx, m.Policy, b, m.objective(), max(m.Accumulate, 1), opt)
	if err != nil {
		return nil, fmt.Errorf("rl: imitating demonstrations %d to %d: %w", i*m.Batch, (i+1)*m.Batch-1, err)
	}
	metrics := map[string]float64{
		"loss": info.Loss, "grad_norm": info.GradNorm, "skipped": float64(info.Skipped), "lr": opt.LR,
		"tokens": float64(b.Tokens()), "prompt_tokens": 0,
	}
	for _, p := range b.Prompts {
		metrics["prompt_tokens"] += float64(len(p))
	}
	if m.Recorder != nil {
		if err := m.Recorder.Record(int64(i)+1, metrics); err != nil {
			return nil, fmt.Errorf("rl: recording training step %d: %w", i+1, err)
		}
	}
	return metrics, nil
}

// batch returns the batch of training step i.
func (m *Imitation) batch(i int) (*Batch, error) {
	demos := make([]Demonstration, m.Batch)
	for k := range demos {
		d, err := m.Demonstrations(i*m.Batch + k)
		if err == nil && (len(d.Prompt) == 0 || len(d.Tokens) == 0) {
			err = fmt.Errorf("%d prompt tokens and %d completion tokens, need some of both", len(d.Prompt), len(d.Tokens))
		}
		if err != nil {
			return nil, fmt.Errorf("rl: demonstration %d: %w", i*m.Batch+k, err)
		}
		d.Tokens = append(d.Tokens[:len(d.Tokens):len(d.Tokens)], m.End...)
		demos[k] = d
	}
	return DemonstrationBatch(demos, objective.TokenMean{})
}

package task

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Bound is an example joined with its task; it is an rl.Problem.
type Bound[E any] struct {
	task    *Task[E]
	example E
}

// Bind joins an example with the task.
func (t *Task[E]) Bind(example E) *Bound[E] { return &Bound[E]{task: t, example: example} }

// Example returns the example.
func (b *Bound[E]) Example() E { return b.example }

// RewardNames returns the outcomes' names; metrics appear under them.
func (b *Bound[E]) RewardNames() []string {
	names := make([]string, len(b.task.def.Outcomes))
	for i, o := range b.task.def.Outcomes {
		names[i] = o.Name
	}
	return names
}

// Request returns the prompt and how to sample it.
func (b *Bound[E]) Request() rollout.Request {
	d := &b.task.def
	r := rollout.Request{Prompt: d.Encode(b.task.template, b.example), N: d.Group, Params: d.Params}
	if d.ID != nil {
		r.ID = d.ID(b.example)
	}
	return r
}

// Judge parses a completion and asks every rule. An error is a rule's own
// failure.
func (b *Bound[E]) Judge(ctx context.Context, c *rollout.Completion) (advantage.Completion, error) {
	tr := b.task.parser.Parse(c.Text, c.Ends)
	return b.JudgeTrace(ctx, &tr, len(c.Tokens))
}

// JudgeTrace asks every rule about a parsed completion of that many tokens.
func (b *Bound[E]) JudgeTrace(ctx context.Context, tr *prompt.Trace, tokens int) (advantage.Completion, error) {
	out := advantage.Completion{Tokens: tokens, Malformed: tr.Malformed(), Final: -1}
	if err := b.judgeSteps(ctx, tr, &out); err != nil {
		return advantage.Completion{}, err
	}
	_, finalOK := tr.FinalAnswer()
	for _, o := range b.task.def.Outcomes {
		s, err := b.score(ctx, "outcome "+o.Name, o.Rule, tr, reward.WholeCompletion)
		if err != nil {
			return advantage.Completion{}, err
		}
		if math.IsNaN(s) && !finalOK {
			s = o.BrokenReward
		}
		out.Rewards = append(out.Rewards, s)
	}
	return out, nil
}

// judgeSteps writes the steps in the order of the text, broken ones included.
// A duplicate or surplus step begins where the one before it ends.
func (b *Bound[E]) judgeSteps(ctx context.Context, tr *prompt.Trace, out *advantage.Completion) error {
	type placed struct {
		step  advantage.Step
		start int
		final bool
		extra bool
	}
	all := make([]placed, 0, len(tr.Steps)+len(tr.Extra))
	for k := range tr.Steps {
		span := &tr.Steps[k]
		st := advantage.Step{Name: span.Name, Start: span.Tokens.Start, End: span.Tokens.End}
		if span.Status != prompt.StatusOK {
			st.Verdict, st.Broken = advantage.Incorrect, true
		} else if err := b.judgeStep(ctx, tr, k, &st); err != nil {
			return err
		}
		all = append(all, placed{step: st, start: span.Bytes.Start, final: k == tr.Final})
	}
	for i := range tr.Extra {
		span := &tr.Extra[i]
		all = append(all, placed{step: advantage.Step{
			Name: span.Name, Start: span.Tokens.Start, End: span.Tokens.End,
			Verdict: advantage.Incorrect, Broken: true,
		}, start: span.Bytes.Start, extra: true})
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.start, b.start) })
	end := 0 // of the steps so far, in tokens
	for i, p := range all {
		if p.extra {
			p.step.Start = min(end, p.step.End)
		}
		end = max(end, p.step.End)
		out.Steps = append(out.Steps, p.step)
		if p.final {
			out.Final = i
		}
	}
	return nil
}

func (b *Bound[E]) judgeStep(ctx context.Context, tr *prompt.Trace, k int, st *advantage.Step) error {
	def := &b.task.def.Steps[k]
	st.Reward = math.NaN()
	if def.Rule == nil {
		return nil
	}
	v, err := b.score(ctx, def.Name, def.Rule, tr, k)
	if err != nil || math.IsNaN(v) {
		return err
	}
	st.Reward, st.Verdict = v, advantage.Incorrect
	pass := def.PassAt
	if pass == 0 {
		pass = 1
	}
	if v >= pass {
		st.Verdict = advantage.Correct
	}
	return nil
}

// score asks a rule and turns unscorable into NaN, counted by reason.
func (b *Bound[E]) score(ctx context.Context, name string, rule reward.Rule[E], tr *prompt.Trace, step int) (float64, error) {
	s, err := rule.Score(ctx, b.example, tr, step)
	if b.task.def.Counter != nil {
		b.task.def.Counter.Add(name, s, err)
	}
	if err != nil {
		return 0, fmt.Errorf("task: rule %q: %w", name, err)
	}
	if !s.Scorable() {
		return math.NaN(), nil
	}
	if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
		return 0, fmt.Errorf("task: rule %q gave the score %v; a rule that cannot judge returns reward.Unscorable", name, s.Value)
	}
	return s.Value, nil
}

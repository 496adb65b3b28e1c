package task

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
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

// RewardNames implements rl.Named: it returns the names of the outcomes.
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
	r := rollout.Request{Prompt: d.Encode(b.task.template, b.example), N: d.GroupSize, Params: d.Params}
	if d.ID != nil {
		r.ID = d.ID(b.example)
	}
	return r
}

// Judge parses a completion and asks every rule. It writes Trace, Malformed, Steps
// and Rewards. An error names the example and means that a rule failed, not that it
// cannot judge, or that the completion's Ends do not fit its Text.
func (b *Bound[E]) Judge(ctx context.Context, c *rollout.Completion) error {
	if err := prompt.CheckEnds(c.Text, c.Ends); err != nil {
		return fmt.Errorf("task: %s%w", b.about(), err)
	}
	tr := b.task.parser.Parse(c.Text, c.Ends)
	c.Trace, c.Malformed = &tr, tr.Malformed()
	if err := b.judgeSteps(ctx, c); err != nil {
		return err
	}
	_, finalOK := tr.FinalAnswer()
	c.Rewards = make([]float64, 0, len(b.task.def.Outcomes))
	for _, o := range b.task.def.Outcomes {
		s, err := b.score(ctx, "outcome "+o.Name, o.Rule, &tr, reward.WholeCompletion)
		if err != nil {
			return err
		}
		if math.IsNaN(s) && !finalOK {
			s = o.BrokenReward
		}
		c.Rewards = append(c.Rewards, s)
	}
	return nil
}

// about names the example in errors.
func (b *Bound[E]) about() string {
	if b.task.def.ID == nil {
		return ""
	}
	return fmt.Sprintf("%q: ", b.task.def.ID(b.example))
}

// judgeSteps writes the steps of c, broken ones too, in the order of the text. A
// duplicate or surplus step begins where the one before it ends, so that the text
// that leads to it is blamed with it.
func (b *Bound[E]) judgeSteps(ctx context.Context, c *rollout.Completion) error {
	tr := c.Trace
	spans := make([]*prompt.Span, 0, len(tr.Steps)+len(tr.Extra))
	for k := range tr.Steps {
		spans = append(spans, &tr.Steps[k])
	}
	for i := range tr.Extra {
		spans = append(spans, &tr.Extra[i])
	}
	slices.SortStableFunc(spans, func(a, b *prompt.Span) int { return cmp.Compare(a.Bytes.Start, b.Bytes.Start) })
	c.Steps = make([]rollout.Step, 0, len(spans))
	end := 0 // of the steps so far, in tokens
	for _, span := range spans {
		st := rollout.Step{Name: span.Name, Start: span.Tokens.Start, End: span.Tokens.End, Status: span.Status}
		switch span.Status {
		case prompt.StatusDuplicate, prompt.StatusSurplus:
			st.Start = min(end, st.End)
			fallthrough
		default:
			st.Verdict = rollout.VerdictBroken
		case prompt.StatusOK:
			if err := b.judgeStep(ctx, tr, span.Index, &st); err != nil {
				return err
			}
		}
		st.Final = span == &tr.Steps[tr.Final]
		end = max(end, st.End)
		c.Steps = append(c.Steps, st)
	}
	return nil
}

// judgeStep asks the rule of step k of the template, which is well-formed.
func (b *Bound[E]) judgeStep(ctx context.Context, tr *prompt.Trace, k int, st *rollout.Step) error {
	def := &b.task.def.Steps[k]
	st.Reward = math.NaN()
	if def.Rule == nil {
		return nil
	}
	v, err := b.score(ctx, def.Name, def.Rule, tr, k)
	if err != nil || math.IsNaN(v) {
		return err
	}
	st.Reward, st.Verdict = v, rollout.VerdictIncorrect
	if v >= cmp.Or(def.PassAt, 1) {
		st.Verdict = rollout.VerdictCorrect
	}
	return nil
}

// score asks a rule, counts its answer, and turns unscorable into NaN.
func (b *Bound[E]) score(ctx context.Context, name string, rule reward.Rule[E], tr *prompt.Trace, step int) (float64, error) {
	s, err := rule.Score(ctx, b.example, tr, step)
	if b.task.def.Counter != nil {
		b.task.def.Counter.Add(name, s, err)
	}
	if err != nil {
		return 0, fmt.Errorf("task: %srule %q: %w", b.about(), name, err)
	}
	if !s.Scorable() {
		return math.NaN(), nil
	}
	if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
		return 0, fmt.Errorf("task: %srule %q gave the score %v; a rule that cannot judge returns reward.Unscorable", b.about(), name, s.Value)
	}
	return s.Value, nil
}

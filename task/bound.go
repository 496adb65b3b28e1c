package task

import (
	"cmp"
	"context"
	"errors"
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

// Request returns the prompt and how to sample it. An error is that of
// Definition.Encode; the request then has an ID, but no prompt.
func (b *Bound[E]) Request() (rollout.Request, error) {
	d := &b.task.def
	r := rollout.Request{N: d.GroupSize, Params: d.Params}
	if d.ID != nil {
		r.ID = d.ID(b.example)
	}
	var err error
	if r.Prompt, err = d.Encode(b.task.template, b.example); err != nil {
		return r, fmt.Errorf("task: encoding the prompt: %w", err)
	}
	return r, nil
}

// Judge parses a completion and asks every rule but those that need the whole
// group (reward.GroupRule), whose steps are unknown and whose rewards are NaN
// until JudgeGroup. It writes Trace, Malformed, Steps, and Rewards. An error
// names the example; it means that a rule failed (not that it cannot judge), or
// that the completion's Ends do not fit its Text.
func (b *Bound[E]) Judge(ctx context.Context, c *rollout.Completion) error {
	if err := prompt.CheckEnds(c.Text, c.Ends); err != nil {
		return fmt.Errorf("task: %s%w", b.about(), err)
	}
	tr := b.task.parser.Parse(c.Text, c.Ends)
	c.Trace, c.Malformed = &tr, tr.Malformed()
	if err := b.judgeSteps(ctx, c); err != nil {
		return err
	}
	c.Rewards = make([]float64, len(b.task.def.Outcomes))
	c.Causes = make([]error, len(b.task.def.Outcomes))
	for k, o := range b.task.def.Outcomes {
		if _, ok := o.Rule.(reward.GroupRule[E]); ok {
			c.Rewards[k] = math.NaN()
			continue
		}
		s, err := b.score(ctx, "outcome "+o.Name, o.Rule, &tr, reward.WholeCompletion)
		if err != nil {
			return err
		}
		o.grade(c, k, s)
	}
	return nil
}

// grade writes reward k, this outcome's, of a completion with that score.
func (o *Outcome[E]) grade(c *rollout.Completion, k int, score reward.Score) {
	c.Rewards[k], c.Causes[k] = score.Value, score.Cause()
	if _, ok := c.Trace.FinalAnswer(); !score.Scorable() && !ok {
		c.Rewards[k], c.Causes[k] = o.BrokenReward, nil
	}
}

// JudgeGroup asks the rules that need the whole group (reward.GroupRule) and
// completes what Judge has written into each completion of g; it makes Bound an
// rl.GroupJudge. A step's rule is asked about the completions in which the step is
// well-formed, an outcome's about all. Errors are as Judge's.
func (b *Bound[E]) JudgeGroup(ctx context.Context, g rollout.Group) error {
	for k := range b.task.def.Steps {
		def := &b.task.def.Steps[k]
		rule, ok := def.Rule.(reward.GroupRule[E])
		if !ok {
			continue
		}
		var traces []*prompt.Trace
		var steps []*rollout.Step
		for i := range g {
			for s := range g[i].Steps {
				if st := &g[i].Steps[s]; st.Name == def.Name && st.Status == prompt.StatusOK {
					traces, steps = append(traces, g[i].Trace), append(steps, st)
				}
			}
		}
		scores, err := b.scoreGroup(ctx, def.Name, rule, traces, k)
		if err != nil {
			return err
		}
		for i, st := range steps {
			def.grade(st, scores[i])
		}
	}
	traces := make([]*prompt.Trace, len(g))
	for i := range g {
		traces[i] = g[i].Trace
	}
	for k := range b.task.def.Outcomes {
		o := &b.task.def.Outcomes[k]
		rule, ok := o.Rule.(reward.GroupRule[E])
		if !ok {
			continue
		}
		scores, err := b.scoreGroup(ctx, "outcome "+o.Name, rule, traces, reward.WholeCompletion)
		if err != nil {
			return err
		}
		for i := range g {
			o.grade(&g[i], k, scores[i])
		}
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
		st.Cause = errNoRule
		return nil
	}
	if _, ok := def.Rule.(reward.GroupRule[E]); ok {
		return nil
	}
	v, err := b.score(ctx, def.Name, def.Rule, tr, k)
	if err != nil {
		return err
	}
	def.grade(st, v)
	return nil
}

var errNoRule = errors.New("the step has no rule")

// grade writes the score of a well-formed step, and its verdict.
func (s *Step[E]) grade(st *rollout.Step, score reward.Score) {
	st.Reward, st.Cause = score.Value, score.Cause()
	switch {
	case !score.Scorable():
		st.Verdict = rollout.VerdictUnknown
	case score.Value >= cmp.Or(s.PassAt, 1):
		st.Verdict = rollout.VerdictCorrect
	default:
		st.Verdict = rollout.VerdictIncorrect
	}
}

// score asks a rule and counts its answer, whose value is NaN if it has none.
func (b *Bound[E]) score(ctx context.Context, name string, rule reward.Rule[E], tr *prompt.Trace, step int) (reward.Score, error) {
	s, err := rule.Score(ctx, b.example, tr, step)
	return b.count(name, s, err)
}

// scoreGroup is score for a rule that sees all the traces; it is not asked about
// none.
func (b *Bound[E]) scoreGroup(ctx context.Context, name string, rule reward.GroupRule[E], traces []*prompt.Trace, step int) ([]reward.Score, error) {
	if len(traces) == 0 {
		return nil, nil
	}
	scores, err := reward.ScoreGroup(ctx, rule, b.example, traces, step)
	if err != nil {
		_, err = b.count(name, reward.Score{}, err)
		return nil, err
	}
	counted := make([]reward.Score, len(scores)) // scores may be the rule's own
	for i, s := range scores {
		if counted[i], err = b.count(name, s, nil); err != nil {
			return nil, err
		}
	}
	return counted, nil
}

// count counts the answer of a rule, and makes the value of an unscorable one NaN.
func (b *Bound[E]) count(name string, s reward.Score, err error) (reward.Score, error) {
	if b.task.def.Counter != nil {
		b.task.def.Counter.Add(name, s, err)
	}
	if err != nil {
		return s, fmt.Errorf("task: %srule %q: %w", b.about(), name, err)
	}
	if !s.Scorable() {
		s.Value = math.NaN()
		return s, nil
	}
	if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
		return s, fmt.Errorf("task: %srule %q gave the score %v; a rule that cannot judge returns reward.Unscorable", b.about(), name, s.Value)
	}
	return s, nil
}

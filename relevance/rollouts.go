package relevance

import (
	"math"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

func (p *pipeline) writeRollouts(stage *run.Stage, step int64, r *rl.Rollouts) error {
	for g := range r.Groups {
		e := r.Problems[g].(*task.Bound[rows.Example]).Example()
		for i := range r.Groups[g] {
			if err := stage.Append(run.Rollouts, step, p.rolloutLine(e, &r.Groups[g][i])); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pipeline) rolloutLine(e rows.Example, c *rollout.Completion) report.Answered {
	l := report.Answered{
		ID: e.ID, Sample: c.Index, Prompt: p.task.Template().Render(e),
		Truth:     map[string]string{},
		Advantage: c.Advantage, Malformed: c.Malformed,
	}
	if r := c.Rewards[0]; !math.IsNaN(r) { // which JSON cannot hold
		l.Reward = &r
	}
	for k, s := range p.src.Steps {
		l.Truth[s.Name] = e.Truth[k]
	}
	for _, s := range c.Steps {
		l.Steps = append(l.Steps, report.AnsweredStep{Name: s.Name, Start: s.Start, End: s.End, Verdict: s.Verdict.String()})
	}
	for t, text := range tokenTexts(c.Text, c.Ends) {
		l.Tokens = append(l.Tokens, report.AnsweredToken{Text: text, Before: c.Advantage, After: c.Adv[t], Keep: c.Keep[t]})
	}
	return l
}

// tokenTexts cuts a text where its tokens end. JSON cannot hold a part of a character, so
// one that several tokens write is the last one's.
func tokenTexts(text string, ends []int) []string {
	texts := make([]string, len(ends))
	from := 0
	for t, end := range ends {
		for end > from && end < len(text) && !utf8.RuneStart(text[end]) {
			end--
		}
		texts[t] = text[from:end]
		from = end
	}
	return texts
}

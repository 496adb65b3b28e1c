package main

import (
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// rolloutLine is what a line of the log of rollouts holds: one sampled answer.
type rolloutLine struct {
	logLine `json:"-"`
	ID      string `json:"id"`
	Sample  int    `json:"sample"`
	Prompt  string `json:"prompt"`
	// Truth holds the true answer per step name.
	Truth     map[string]string `json:"truth"`
	Reward    float64           `json:"reward"`
	Advantage float64           `json:"advantage"`
	Malformed bool              `json:"malformed"`
	Steps     []stepLine        `json:"steps"`
	Tokens    []tokenLine       `json:"tokens"`
}

// stepLine is a judged step with its token range.
type stepLine struct {
	Name    string `json:"name"`
	Start   int    `json:"start"`
	End     int    `json:"end"`
	Verdict string `json:"verdict"`
}

// tokenLine is a token with its advantage before and after step credit.
type tokenLine struct {
	Text   string  `json:"text"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	Keep   bool    `json:"keep"`
}

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

func (p *pipeline) rolloutLine(e rows.Example, c *rollout.Completion) rolloutLine {
	l := rolloutLine{
		ID: e.ID, Sample: c.Index, Prompt: p.task.Template().Render(e),
		Truth:  map[string]string{},
		Reward: c.Rewards[0], Advantage: c.Advantage, Malformed: c.Malformed,
	}
	for k, s := range p.src.Steps {
		l.Truth[s.Name] = e.Truth[k]
	}
	for _, s := range c.Steps {
		l.Steps = append(l.Steps, stepLine{s.Name, s.Start, s.End, s.Verdict.String()})
	}
	from := 0
	for t, end := range c.Ends {
		l.Tokens = append(l.Tokens, tokenLine{c.Text[from:end], c.Advantage, c.Adv[t], c.Keep[t]})
		from = end
	}
	return l
}

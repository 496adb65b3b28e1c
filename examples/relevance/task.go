package main

import (
	"strings"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// endOfText ends every completion.
const endOfText = "<|end|>"

// definition binds a source's steps to rules: each step is right if its answer
// is the true one, and the outcome reward is 1 for the right label. It lacks what
// needs a tokenizer and settings; see newTask.
func definition(src *rows.Source) task.Definition[rows.Example] {
	d := task.Definition[rows.Example]{
		System:  compactCriteria(src),
		Input:   src.Input,
		Compact: true,
		Outcomes: []task.Outcome[rows.Example]{
			{Name: "label", Rule: reward.ExactLabel(func(e rows.Example) string { return e.Label() })},
		},
		ID: func(e rows.Example) string { return e.ID },
	}
	for k, step := range src.Steps {
		d.Steps = append(d.Steps, task.Step[rows.Example]{
			Name: step.Name, Instruction: step.Instruction, Criteria: step.Criteria, Answers: step.Answers,
			Rule: reward.ExactLabel(truth(k)),
		})
	}
	return d
}

func newTask(src *rows.Source, tok *tokenizer.Tokenizer, s settings, counter *reward.Counter) (*task.Task[rows.Example], error) {
	d := definition(src)
	d.Encode = task.Plain[rows.Example](tok.EncodeOrdinary) // other people's text
	d.GroupSize, d.Params = s.Group, rollout.Params{Temperature: 1, MaxTokens: s.MaxTokens}
	d.Counter = counter
	return task.New(d)
}

// compactCriteria is what the prompt says of the criteria: how the label
// follows from the steps. Those of the steps themselves a small model learns by
// heart, because a prompt that spells them all out is most of its cost.
func compactCriteria(src *rows.Source) string {
	var texts []string
	for _, c := range src.Steps[len(src.Steps)-1].Criteria {
		texts = append(texts, c.Text)
	}
	return strings.Join(texts, " ")
}

// truth returns the true answer of step k, "" where no rule can tell it.
func truth(k int) func(rows.Example) string {
	return func(e rows.Example) string { return e.Truth[k] }
}

package main

import (
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// endOfText ends every completion.
const endOfText = "<|end|>"

// definition is the task of a source: its steps with their rules, and the outcome
// reward, which is 1 for the right label. It lacks what needs a tokenizer and
// settings; see newTask.
func definition(src *rows.Source) task.Definition[rows.Example] {
	return task.Definition[rows.Example]{
		System:  src.System,
		Steps:   src.Steps,
		Input:   src.Input,
		Compact: src.Compact,
		Outcomes: []task.Outcome[rows.Example]{
			{Name: "label", Rule: reward.ExactLabel(func(e rows.Example) string { return e.Label() })},
		},
		ID: func(e rows.Example) string { return e.ID },
	}
}

func newTask(src *rows.Source, tok *tokenizer.Tokenizer, s settings, counter *reward.Counter) (*task.Task[rows.Example], error) {
	d := definition(src)
	d.Encode = task.Plain[rows.Example](tok.EncodeOrdinary) // other people's text
	d.GroupSize, d.Params = s.Group, rollout.Params{Temperature: 1, MaxTokens: s.MaxTokens}
	d.Counter = counter
	return task.New(d)
}

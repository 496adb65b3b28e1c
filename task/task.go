package task

import (
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Step is a reasoning step: the fields of prompt.Step, and the rule that judges
// the step.
type Step[E any] struct {
	// Name identifies the step; it is unique in the task.
	Name string
	// Instruction tells the model what to do in this step.
	Instruction string
	// Criteria are the relevance criteria that the step must apply.
	Criteria []prompt.Criterion[E]
	// Answers lists the allowed answers; empty allows any non-empty answer.
	Answers []string
	// Rule scores the step; without one its verdict is unknown.
	Rule reward.Rule[E]
	// PassAt is the lowest score at which the step is correct; 0 means 1.
	PassAt float64
}

// Outcome is a named reward for the completion as a whole.
type Outcome[E any] struct {
	Name string
	Rule reward.Rule[E]
	// BrokenReward is the reward of a completion with a broken final answer
	// that the rule cannot score. The default, 0, fits rewards in [0, 1]. It
	// must be the worst reward there is, or breaking the answer is a loophole.
	BrokenReward float64
}

// Definition defines a task: prompt, parser, rules, rewards and metric names all
// follow from it.
type Definition[E any] struct {
	// System opens the prompt with the model's role and its job.
	System string
	// Steps are the reasoning steps in order; the last one states the final
	// answer.
	Steps []Step[E]
	// Input writes the example into the prompt.
	Input func(E) string
	// Syntax is the format of the steps; nil means prompt.Tagged{}.
	Syntax prompt.Syntax
	// Compact leaves instructions and criteria out of the prompt.
	Compact bool

	// Outcomes are the rewards of the whole completion: at least one, with
	// different names. The first is the task's own, which metrics such as
	// right_answer_wrong_step use. The estimator weighs them:
	// advantage.PerGroup(normalizer, weights...).
	Outcomes []Outcome[E]

	// Encode turns an example into prompt tokens, usually by rendering the
	// template and encoding the text: Plain does so, and for a chat model
	// chat.Encode of package lm/chat. Its error says what is wrong with the
	// example; the request's ID names it.
	Encode func(t *prompt.Template[E], example E) ([]int32, error)
	// ID names an example in errors and logs; nil leaves requests unnamed.
	ID func(E) string
	// GroupSize is the number of completions per example.
	GroupSize int
	// Params are the sampling parameters.
	Params rollout.Params
	// Counter, if not nil, counts the scores of every rule: a step's rule under
	// the name of the step, an outcome's under "outcome " and its name. A
	// completion with a broken final answer is counted as unscorable, although it
	// gets BrokenReward.
	Counter *reward.Counter
}

// Template returns the prompt template of the definition.
func (d *Definition[E]) Template() *prompt.Template[E] {
	t := &prompt.Template[E]{System: d.System, Input: d.Input, Syntax: d.Syntax, Compact: d.Compact}
	for _, s := range d.Steps {
		t.Steps = append(t.Steps, prompt.Step[E]{Name: s.Name, Instruction: s.Instruction, Criteria: s.Criteria, Answers: s.Answers})
	}
	return t
}

// Plain makes an Encode from a text encoder: it renders the prompt as plain text.
//
// If examples hold other people's text, encode must not turn text that looks like
// a special token or a step's tag into one: pass it an encoder of ordinary text
// (tokenizer.Tokenizer.EncodeOrdinary), or use chat.Encode of package lm/chat, whose
// special tokens come from the chat template alone.
func Plain[E any](encode func(text string) []int32) func(*prompt.Template[E], E) ([]int32, error) {
	return func(t *prompt.Template[E], e E) ([]int32, error) { return encode(t.Render(e)), nil }
}

// Task is a valid definition. It is safe for concurrent use if the functions and
// rules of the definition are.
type Task[E any] struct {
	def      Definition[E]
	template *prompt.Template[E]
	parser   prompt.Parser
}

// maxReward is advantage.MaxReward, beyond which a reward ends the run that meets it.
const maxReward = 1e100

// Validate returns an error that names every invalid field.
func (d *Definition[E]) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf("task: "+format, args...)) }
	if len(d.Outcomes) == 0 {
		add("Definition.Outcomes is empty: a task needs an outcome reward")
	}
	seen := map[string]bool{}
	for i, o := range d.Outcomes {
		if o.Name == "" {
			add("Definition.Outcomes[%d].Name is empty", i)
		}
		if o.Rule == nil {
			add("Definition.Outcomes[%d].Rule is nil", i)
		}
		if o.Name != "" && seen[o.Name] {
			add("two of Definition.Outcomes are named %q", o.Name)
		}
		if !(math.Abs(o.BrokenReward) <= maxReward) {
			add("Definition.Outcomes[%d].BrokenReward is %v, want a number from %v to %v", i, o.BrokenReward, -maxReward, maxReward)
		}
		seen[o.Name] = true
	}
	if err := d.Params.Validate(); err != nil {
		add("Definition.Params: %w", err)
	}
	if d.Encode == nil {
		add("Definition.Encode is missing")
	}
	if d.GroupSize < 1 {
		add("Definition.GroupSize is %d, need at least 1", d.GroupSize)
	}
	for i, s := range d.Steps {
		if !(s.PassAt >= 0) {
			add("Definition.Steps[%d].PassAt is %v, must not be negative", i, s.PassAt)
		}
	}
	return errors.Join(append(errs, d.Template().Validate())...)
}

// New returns the task of a definition, or the error of Definition.Validate.
func New[E any](d Definition[E]) (*Task[E], error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	t := &Task[E]{def: d, template: d.Template()}
	t.parser = t.template.Parser()
	return t, nil
}

// Template returns the task's prompt template. The caller must not change it.
func (t *Task[E]) Template() *prompt.Template[E] { return t.template }

// Parser returns the parser of the task's completions.
func (t *Task[E]) Parser() prompt.Parser { return t.parser }

// WithSampling returns the task with another group size and other sampling
// parameters, for evaluation for example. The error is that of Definition.Validate.
func (t *Task[E]) WithSampling(groupSize int, p rollout.Params) (*Task[E], error) {
	d := t.def
	d.GroupSize, d.Params = groupSize, p
	return New(d)
}

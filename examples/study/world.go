package main

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"github.com/stepwise-rl/stepwise/examples/internal/arithmetic"
	"github.com/stepwise-rl/stepwise/examples/internal/notes"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// The data are the same for all seeds: seed s trains on examples from s·perSeed on, and
// all are tested on the same queries.
const (
	dataSeed = 7
	perSeed  = 10_000_000
	endToken = "<|end|>"
)

// world is a task with its data, and a teacher that errs.
type world[E any] struct {
	definition task.Definition[E]
	example    func(i int) E
	teach      func(e E, rng *rand.Rand) []prompt.Written
	tests      map[string][]E
	// kind is what a rule that is wrong about some kinds of examples tells them by.
	kind func(E) string
}

// lab is a world with a tokenizer, and without its type.
type lab struct {
	tok           *tokenizer.Tokenizer
	end           int32
	outcome       string                 // name of the outcome reward
	train         func(i int) rl.Problem // judged as the setting says
	demonstration func(i int) (rl.Demonstration, error)
	validation    []rl.Problem // greedily
	sampled       []rl.Problem // the same, as in training
	tests         map[string][]rl.Problem
}

// openLab makes the lab of a setting for a seed.
func openLab(s setting, seed int) (*lab, error) {
	if s.Task == "arithmetic" {
		teacher := arithmetic.Teacher{Slip: .15, Glance: s.Glance}
		example := func(i int) arithmetic.Sum { return arithmetic.Example(dataSeed, i, s.Steps) }
		held := func(from int) (all []arithmetic.Sum) {
			for i := range s.Test {
				all = append(all, example(from+i))
			}
			return all
		}
		return open(world[arithmetic.Sum]{
			arithmetic.Definition(s.Steps), example, teacher.Trace,
			map[string][]arithmetic.Sum{"RANDOM": held(-2 * perSeed), "LONGTAIL": longSums(s)},
			func(e arithmetic.Sum) string { return e.Text()[:1] },
		}, s, seed)
	}
	teacher := notes.DefaultTeacher()
	teacher.Glance = s.Glance
	src := notes.New(notes.Config{Seed: dataSeed, TestSize: s.Test, Teacher: teacher})
	w := world[rows.Example]{
		definition: task.Definition[rows.Example]{
			System: src.System, Steps: src.Steps, Input: src.Input, Compact: src.Compact,
			Outcomes: []task.Outcome[rows.Example]{{Name: "label", Rule: reward.ExactLabel(func(e rows.Example) string { return e.Label() })}},
			ID:       func(e rows.Example) string { return e.ID },
		},
		example: src.Train,
		teach: func(e rows.Example, rng *rand.Rand) (steps []prompt.Written) {
			for _, t := range e.Teach(rng) {
				steps = append(steps, prompt.Written(t))
			}
			return steps
		},
		tests: map[string][]rows.Example{},
		kind:  func(e rows.Example) string { return e.Query[:min(len(e.Query), 2)] },
	}
	for _, t := range src.Tests {
		w.tests[t.Name] = t.Examples
	}
	return open(w, s, seed)
}

// longSums are sums with larger numbers than those of training, the arithmetic task's
// LONGTAIL: the rarest two in a hundred of its stream.
func longSums(s setting) (all []arithmetic.Sum) {
	for i := 0; len(all) < s.Test; i++ {
		e := arithmetic.Example(dataSeed+1, i, s.Steps)
		large := 0
		for _, n := range e.Numbers {
			if n >= 30 {
				large++
			}
		}
		if 2*large > len(e.Numbers) {
			all = append(all, e)
		}
	}
	return all
}

func open[E any](w world[E], s setting, seed int) (*lab, error) {
	template := w.definition.Template()
	write := func(i int) (E, string, error) {
		e := w.example(i)
		text, err := template.Write(w.teach(e, rand.New(rand.NewPCG(dataSeed, uint64(i)))))
		return e, text, err
	}
	var corpus []string
	for i := range 3000 {
		e, text, err := write(i)
		if err != nil {
			return nil, err
		}
		corpus = append(corpus, template.Render(e), text)
	}
	tok, err := tokenizer.Train(slices.Values(corpus), tokenizer.TrainOptions{VocabSize: s.Vocab, Special: []string{endToken}, Added: template.Marks()})
	if err != nil {
		return nil, err
	}
	d := w.definition
	d.Encode = task.Plain[E](tok.EncodeOrdinary)
	d.GroupSize, d.Params = s.Group, rollout.Params{Temperature: 1, MaxTokens: s.MaxTokens}
	clean, err := task.New(d)
	if err != nil {
		return nil, err
	}
	greedy, err := clean.WithSampling(1, rollout.Params{MaxTokens: s.MaxTokens})
	if err != nil {
		return nil, err
	}
	noisy, err := task.New(spoil(d, w.kind, s, seed))
	if err != nil {
		return nil, err
	}
	l := &lab{tok: tok, outcome: d.Outcomes[0].Name, tests: map[string][]rl.Problem{}}
	l.end, _ = tok.ID(endToken)
	first := seed * perSeed
	l.demonstration = func(i int) (rl.Demonstration, error) {
		e, text, err := write(first + i)
		if err != nil {
			return rl.Demonstration{}, err
		}
		q, err := clean.Bind(e).Request()
		return rl.Demonstration{Prompt: q.Prompt, Tokens: tok.EncodeExcept(text, tok.Markup(text, true))}, err
	}
	firstRL := first + s.Warmup*s.WarmupBatch
	l.train = func(i int) rl.Problem {
		if s.Pool > 0 {
			i %= s.Pool
		}
		return noisy.Bind(w.example(firstRL + i))
	}
	for i := range s.Validation {
		e := w.example(first + perSeed - 1 - i)
		l.validation, l.sampled = append(l.validation, greedy.Bind(e)), append(l.sampled, clean.Bind(e))
	}
	for name, es := range w.tests {
		for _, e := range es {
			l.tests[name] = append(l.tests[name], greedy.Bind(e))
		}
	}
	return l, nil
}

// spoil makes the rules of training as bad as the setting says. The final step's rule
// stays as it is: the outcome judges that step.
func spoil[E any](d task.Definition[E], kind func(E) string, s setting, seed int) task.Definition[E] {
	d.Steps, d.Outcomes = slices.Clone(d.Steps), slices.Clone(d.Outcomes)
	for k := range d.Steps[:len(d.Steps)-1] {
		d.Steps[k].Rule = turned(d.Steps[k].Rule, func(e E, text string, step int) bool {
			systematic := s.WrongRule > 0 && chance(kind(e), dataSeed, step) < s.WrongRule
			return systematic != (s.FlipVerdicts > 0 && chance(text, seed, step) < s.FlipVerdicts)
		})
	}
	d.Outcomes[0].Rule = turned(d.Outcomes[0].Rule, func(_ E, text string, step int) bool {
		return s.FlipOutcomes > 0 && chance(text, seed, len(d.Steps)) < s.FlipOutcomes
	})
	return d
}

// turned says the opposite of a rule where turn is true.
func turned[E any](rule reward.Rule[E], turn func(e E, text string, step int) bool) reward.Rule[E] {
	return reward.RuleFunc[E](func(ctx context.Context, e E, t *prompt.Trace, step int) (reward.Score, error) {
		score, err := rule.Score(ctx, e, t, step)
		if err == nil && turn(e, t.Text, step) {
			score.Value = 1 - score.Value
		}
		return score, err
	})
}

// chance is a number in [0, 1) that a text and two numbers determine.
func chance(text string, a, b int) float64 {
	h := fnv.New64a()
	h.Write([]byte(text))
	return rand.New(rand.NewPCG(h.Sum64(), uint64(a)<<16|uint64(b))).Float64()
}

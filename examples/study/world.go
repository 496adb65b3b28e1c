package main

import (
	"cmp"
	"context"
	"hash/fnv"
	"maps"
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
		held := func(name string) (all []arithmetic.Sum) {
			for i := range s.Test {
				all = append(all, sum(name, i, s.Steps))
			}
			return all
		}
		return open(world[arithmetic.Sum]{
			arithmetic.Definition(s.Steps), func(i int) arithmetic.Sum { return sum("", i, s.Steps) }, teacher.Trace,
			map[string][]arithmetic.Sum{"RANDOM": held("RANDOM"), "LONGTAIL": held("LONGTAIL")},
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
		kind:  noteKind,
	}
	for _, t := range src.Tests {
		w.tests[t.Name] = t.Examples
	}
	return open(w, s, seed)
}

// noteKind is how a query of the notes begins.
func noteKind(e rows.Example) string { return e.Query[:min(len(e.Query), 2)] }

// sum draws sum i of a test set, or of training (""), until one belongs there.
func sum(set string, i, steps int) arithmetic.Sum {
	for draw := uint64(0); ; draw++ {
		if e := arithmetic.Example(dataSeed+draw<<32, i, steps); setOf(e) == set {
			return e
		}
	}
}

// setOf is the only set that may hold a sum: LONGTAIL has those of which most numbers
// are from 30 on, RANDOM an eighth of the others, training ("") the rest.
func setOf(e arithmetic.Sum) string {
	large := 0
	for _, n := range e.Numbers {
		if n >= 30 {
			large++
		}
	}
	switch {
	case 2*large > len(e.Numbers):
		return "LONGTAIL"
	case chance(e.Text(), dataSeed, 0) < 1./8:
		return "RANDOM"
	}
	return ""
}

func open[E any](w world[E], s setting, seed int) (*lab, error) {
	template := w.definition.Template()
	write := func(i int) (E, string, error) {
		e := w.example(i)
		text, err := template.Write(w.teach(e, rand.New(rand.NewPCG(dataSeed, uint64(i)))))
		return e, text, err
	}
	var corpus []string
	kinds := map[string]int{}
	for i := range 3000 {
		e, text, err := write(i)
		if err != nil {
			return nil, err
		}
		corpus = append(corpus, template.Render(e), text)
		kinds[w.kind(e)]++
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
	noisy, err := task.New(spoil(d, w.kind, kinds, s, seed))
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

// spoil makes the rules of training as bad as the setting says. A label that is wrong is
// so for the outcome and for the rule of the final step alike: both look it up.
func spoil[E any](d task.Definition[E], kind func(E) string, kinds map[string]int, s setting, seed int) task.Definition[E] {
	d.Steps, d.Outcomes = slices.Clone(d.Steps), slices.Clone(d.Outcomes)
	final := len(d.Steps) - 1
	for k := range d.Steps[:final] {
		wrong := wrongKinds(kinds, k, s.WrongRule)
		d.Steps[k].Rule = turned(d.Steps[k].Rule, func(e E, text string, step int) bool {
			return wrong[kind(e)] != (s.FlipVerdicts > 0 && chance(text, seed, step) < s.FlipVerdicts)
		})
	}
	label := func(_ E, text string, _ int) bool {
		return s.FlipOutcomes > 0 && chance(text, seed, len(d.Steps)) < s.FlipOutcomes
	}
	d.Steps[final].Rule = turned(d.Steps[final].Rule, label)
	d.Outcomes[0].Rule = turned(d.Outcomes[0].Rule, label)
	return d
}

// wrongKinds are the kinds of examples that the rule of a step is wrong about: as many,
// in a random order, as make the share of the examples, by their counts, to the nearest
// kind.
func wrongKinds(counts map[string]int, step int, share float64) map[string]bool {
	order := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Compare(chance(a, dataSeed, step), chance(b, dataSeed, step))
	})
	total := 0
	for _, n := range counts {
		total += n
	}
	wrong, sum := map[string]bool{}, 0
	for _, k := range order {
		if float64(sum)+float64(counts[k])/2 > share*float64(total) {
			break
		}
		wrong[k] = true
		sum += counts[k]
	}
	return wrong
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

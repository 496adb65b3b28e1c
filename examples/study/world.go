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
	task.Definition[E]
	example func(i int) E
	teach   func(e E, rng *rand.Rand) []prompt.Written
	tests   map[string][]E // by their names
	// mislabel gives an example a wrong label; nil if the task has none.
	mislabel func(e E, rng *rand.Rand) E
	// kind is what a rule that is wrong about some kinds of examples tells them by.
	kind func(E) string
}

func notesWorld(s setting) world[rows.Example] {
	teacher := notes.DefaultTeacher()
	teacher.Glance = s.Glance
	src := notes.New(notes.Config{Seed: dataSeed, TestSize: s.Test, Teacher: teacher})
	w := world[rows.Example]{
		Definition: src.Definition(), example: src.Train, tests: map[string][]rows.Example{}, kind: noteKind,
		teach: func(e rows.Example, rng *rand.Rand) []prompt.Written { return e.Teach(rng) },
		mislabel: func(e rows.Example, rng *rand.Rand) rows.Example {
			others := slices.DeleteFunc(slices.Clone(src.Labels), func(l string) bool { return l == e.Label() })
			e.Truth = slices.Clone(e.Truth)
			e.Truth[len(e.Truth)-1] = others[rng.IntN(len(others))]
			return e
		},
	}
	for _, t := range src.Tests {
		w.tests[t.Name] = t.Examples
	}
	return w
}

// noteKind is how a query of the notes begins.
func noteKind(e rows.Example) string { return e.Query[:min(len(e.Query), 2)] }

func sumsWorld(s setting) world[arithmetic.Sum] {
	w := world[arithmetic.Sum]{
		Definition: arithmetic.Definition(s.Steps),
		example:    func(i int) arithmetic.Sum { return arithmetic.Draw(dataSeed, arithmetic.Train, i, s.Steps) },
		teach:      arithmetic.Teacher{Slip: .15, Glance: s.Glance}.Trace,
		tests:      map[string][]arithmetic.Sum{},
		kind:       func(e arithmetic.Sum) string { return e.Text()[:1] },
	}
	for _, set := range []string{arithmetic.Random, arithmetic.LongTail} {
		for i := range s.Test {
			w.tests[set] = append(w.tests[set], arithmetic.Draw(dataSeed, set, i, s.Steps))
		}
	}
	return w
}

// open gives a cell its task and data.
func open[E any](c *cell, w world[E]) {
	s := c.part.setting
	template := w.Template()
	write := func(i int) (E, string) {
		e := w.example(i)
		return e, must(template.Write(w.teach(e, rand.New(rand.NewPCG(dataSeed, uint64(i))))))
	}
	var corpus []string
	kinds := map[string]int{}
	for i := range 3000 {
		e, text := write(i)
		corpus = append(corpus, template.Render(e), text)
		kinds[w.kind(e)]++
	}
	tok := must(tokenizer.Train(slices.Values(corpus), tokenizer.TrainOptions{VocabSize: s.Vocab, Special: []string{endToken}, Added: template.Marks()}))
	c.tok, c.outcome = tok, w.Outcomes[0].Name
	c.end, _ = tok.ID(endToken)
	w.Encode = task.Plain[E](tok.EncodeOrdinary)
	w.GroupSize, w.Params = s.Group, rollout.Params{Temperature: 1, MaxTokens: s.MaxTokens}
	clean := must(task.New(w.Definition))
	greedy := must(clean.WithSampling(1, rollout.Params{MaxTokens: s.MaxTokens}))
	noisy := must(task.New(spoil(w.Definition, w.kind, kinds, s, c.seed)))

	first := c.seed * perSeed
	c.demonstration = func(i int) (rl.Demonstration, error) {
		e, text := write(first + i)
		q, err := clean.Bind(e).Request()
		return rl.Demonstration{Prompt: q.Prompt, Tokens: tok.EncodeExcept(text, tok.Markup(text, true))}, err
	}
	firstRL := first + s.Warmup*s.WarmupBatch
	c.train = func(i int) rl.Problem {
		if s.Pool > 0 {
			i %= s.Pool
		}
		return noisy.Bind(w.labelled(firstRL+i, s.WrongLabels))
	}
	for i := range s.Validation {
		e := w.example(first + perSeed - 1 - i)
		w.tests["VALIDATION"] = append(w.tests["VALIDATION"], e)
		c.sampled = append(c.sampled, clean.Bind(e))
	}
	for name, examples := range w.tests {
		for _, e := range examples {
			c.sets[name] = append(c.sets[name], greedy.Bind(e))
		}
	}
}

// labelled is an example for reinforcement learning, whose label is wrong with the
// probability that is given.
func (w *world[E]) labelled(i int, wrong float64) E {
	e, rng := w.example(i), rand.New(rand.NewPCG(dataSeed+1, uint64(i)))
	if rng.Float64() < wrong {
		e = w.mislabel(e, rng)
	}
	return e
}

// spoil makes the rules of training as bad as the setting says. A label that is wrong is
// so for the outcome and for the rule of the final step alike: both look it up.
func spoil[E any](d task.Definition[E], kind func(E) string, kinds map[string]int, s setting, seed int) task.Definition[E] {
	d.Steps, d.Outcomes = slices.Clone(d.Steps), slices.Clone(d.Outcomes)
	final := len(d.Steps) - 1
	for k := range d.Steps[:final] {
		wrong := wrongKinds(kinds, k, s.WrongRule)
		d.Steps[k].Rule = turned(d.Steps[k].Rule, func(e E, text string, step int) bool {
			return wrong[kind(e)] != (chance(text, seed, step) < s.FlipVerdicts)
		})
	}
	label := func(_ E, text string, _ int) bool { return chance(text, seed, len(d.Steps)) < s.FlipOutcomes }
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

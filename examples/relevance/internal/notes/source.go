package notes

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/taskfile"
	"github.com/stepwise-rl/stepwise/task"
)

// Config says what to generate.
type Config struct {
	// Seed fixes every example.
	Seed uint64
	// TestSize is the number of examples of each test set.
	TestSize int
	// Teacher writes the traces of the examples.
	Teacher Teacher
}

// The names of the test sets.
const (
	Random   = "RANDOM"
	LongTail = "LONGTAIL"
)

// A split is a part of the data; it takes part in every random stream.
type split uint64

const (
	train split = iota
	random
	longTail
	splits
)

// New returns the generated data as a source. Its training stream goes on
// for ever with new examples, and example i depends on the seed and on i
// alone. The test sets are
//
//   - RANDOM: the same distribution as training, none of its examples there;
//   - LONGTAIL: every query holds a pair of [HeldOut] and a word (synonym or
//     typo) that is rare in training.
//
// New panics if cfg.TestSize is negative.
func New(cfg Config) *rows.Source {
	if cfg.TestSize < 0 {
		panic(fmt.Sprintf("notes: Config.TestSize is %d, want at least 0", cfg.TestSize))
	}
	steps := Steps()
	s := &rows.Source{
		Name:     "generated notes",
		System:   rows.CriteriaText(steps),
		Steps:    steps,
		Compact:  true,
		Labels:   answers[stepLabel],
		Relevant: "2",
		Input:    rows.Render,
		Train:    func(i int) rows.Example { return cfg.example(train, i) },
	}
	for _, t := range []struct {
		name  string
		split split
	}{{Random, random}, {LongTail, longTail}} {
		set := rows.TestSet{Name: t.name, Examples: make([]rows.Example, cfg.TestSize)}
		for i := range set.Examples {
			set.Examples[i] = cfg.example(t.split, i)
		}
		s.Tests = append(s.Tests, set)
	}
	return s
}

// Generator returns the generated data for a task file that names them, with the true
// answer of each inner step in a column of its name. The seed of cfg is not used: the
// task's is.
func Generator(cfg Config) taskfile.Generator {
	return func(seed uint64) (taskfile.Generated, error) {
		cfg.Seed = seed
		s := New(cfg)
		columns := func(e rows.Example) rows.Example {
			e.Columns = make(map[string]string, len(s.Steps)-1)
			for k, step := range s.Steps[:len(s.Steps)-1] {
				e.Columns[step.Name] = e.Truth[k]
			}
			return e
		}
		g := taskfile.Generated{Train: func(i int) rows.Example { return columns(s.Train(i)) }}
		for _, t := range s.Tests {
			for i := range t.Examples {
				t.Examples[i] = columns(t.Examples[i])
			}
			g.Tests = append(g.Tests, t)
		}
		return g, nil
	}
}

// example draws pairs from the stream of (seed, split, i) until one belongs
// to the split.
func (cfg Config) example(s split, i int) rows.Example {
	rng := rand.New(rand.NewPCG(cfg.Seed, uint64(i)*uint64(splits)+uint64(s)))
	u := everyday
	if s == longTail {
		u = rare
	}
	for {
		in := newQuery(rng, u)
		f := newNote(rng, in)
		e := rows.Example{
			ID:       fmt.Sprintf("%s-%d", [...]string{"train", "random", "longtail"}[s], i),
			Query:    in.write(rng),
			Document: f.write(rng, in),
		}
		if splitOf(in, f, &e) != s {
			continue
		}
		truth := judge(in, f)
		e.Truth = truth[:]
		e.Teach = func(rng *rand.Rand) []rows.Thought { return cfg.Teacher.trace(rng, in, f) }
		return e
	}
}

// splitOf returns the only split that may hold a pair, or splits if none may.
func splitOf(in *intent, f *note, e *rows.Example) split {
	switch {
	case in.rareQuery() && in.rareWords():
		return longTail
	case in.rareQuery() || f.rareNote():
		return splits
	case fingerprint(e)%8 == 0:
		return random
	default:
		return train
	}
}

// fingerprint hashes what a reader sees of an example.
func fingerprint(e *rows.Example) uint64 {
	h := fnv.New64a()
	io.WriteString(h, rows.Render(*e))
	return h.Sum64() >> 32
}

// Steps returns the reasoning steps with the criteria by which notes are
// labelled.
func Steps() []task.Step[rows.Example] {
	asked := func(step int) func(rows.Example) bool {
		return func(e rows.Example) bool { return e.Truth[step] != None }
	}
	type criterion = prompt.Criterion[rows.Example]
	return []task.Step[rows.Example]{
		{
			Name:        "category",
			Instruction: "Compare what the query looks for with what the note is about.",
			Criteria: []criterion{
				{Name: "same", Text: "same: the note is about that very thing, whatever word it uses."},
				{Name: "related", Text: "related: another thing of the same family, such as a hotel for a cabin."},
				{Name: "other", Text: "other: anything else. A thing mentioned in passing does not count."},
			},
			Answers: answers[stepCategory],
			Rule:    rows.TruthRule(stepCategory),
		},
		{
			Name:        "attribute",
			Instruction: "Check the feature that the query wants.",
			Criteria: []criterion{
				{Name: "stated", Text: "met: the note says that it has the feature; unmet: it denies it or is silent.", When: asked(stepAttribute)},
				{Name: "none asked", Text: "none: the query wants no feature."},
			},
			Answers: answers[stepAttribute],
			Rule:    rows.TruthRule(stepAttribute),
		},
		{
			Name:        "setting",
			Instruction: "Check the place, time, brand or price that the query names.",
			Criteria: []criterion{
				{Name: "fits", Text: "met: the note states one that lies within it, as oslo in norway; unmet: it states another or none.", When: asked(stepSetting)},
				{Name: "none asked", Text: "none: the query names none."},
			},
			Answers: answers[stepSetting],
			Rule:    rows.TruthRule(stepSetting),
		},
		{
			Name:        "exclusion",
			Instruction: "Check what the query does not want.",
			Criteria: []criterion{
				{Name: "ruled out", Text: "violated: the note says that it has it; clear: it denies it or is silent.", When: asked(stepExclusion)},
				{Name: "none asked", Text: "none: the query rules nothing out."},
			},
			Answers: answers[stepExclusion],
			Rule:    rows.TruthRule(stepExclusion),
		},
		{
			Name:        "label",
			Instruction: "Give the relevance label; the first line that applies decides.",
			Criteria: []criterion{
				{Name: "0", Text: "0: other category."},
				{Name: "-1", Text: "-1: exclusion violated.", When: asked(stepExclusion)},
				{Name: "1", Text: "1: related category."},
				{Name: "2", Text: "2: attribute or setting unmet."},
				{Name: "3", Text: "3: all met."},
			},
			Answers: answers[stepLabel],
			Rule:    rows.TruthRule(stepLabel),
		},
	}
}

package notes

import (
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/examples/relevance/tasks"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/taskfile"
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

// New returns the task of ../../tasks/notes.yaml on generated data. Its training
// stream goes on for ever with new examples, and example i depends on the seed and on
// i alone. The test sets are
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
	file, err := taskfile.Parse(tasks.Notes, "notes.yaml")
	if err != nil {
		panic(err)
	}
	opened, err := file.Open(taskfile.Options{Seed: cfg.Seed, Generators: map[string]taskfile.Generator{"notes": cfg.generate}})
	if err != nil {
		panic(err)
	}
	return opened.Source
}

// generate is the generator that the task file names. cfg.Seed is the seed.
func (cfg Config) generate(uint64) (taskfile.Generated, error) {
	g := taskfile.Generated{Train: func(i int) rows.Example { return cfg.example(train, i) }}
	for _, t := range []struct {
		name  string
		split split
	}{{Random, random}, {LongTail, longTail}} {
		set := rows.TestSet{Name: t.name, Examples: make([]rows.Example, cfg.TestSize)}
		for i := range set.Examples {
			set.Examples[i] = cfg.example(t.split, i)
		}
		g.Tests = append(g.Tests, set)
	}
	return g, nil
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
		e.Truth = truth[stepLabel:]
		e.Columns = map[string]string{
			"category": truth[stepCategory], "attribute": truth[stepAttribute], "setting": truth[stepSetting], "exclusion": truth[stepExclusion],
		}
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

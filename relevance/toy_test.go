package relevance

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/task"
)

// The words of the toy's queries and documents.
var (
	toyThings  = []string{"mouse", "lamp", "desk", "chair", "clock"}
	toyColours = []string{"red", "blue", "green"}
)

// toy asks for a thing of a colour. The label is 0 for another thing, 1 for another
// colour, 2 for what was asked. The teacher errs in a step of five.
func toy(size int) *rows.Source {
	yes := map[bool]string{true: "yes", false: "no"}
	example := func(set string, seed, i int) rows.Example {
		r := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
		thing, colour := r.IntN(len(toyThings)), r.IntN(len(toyColours))
		otherThing, otherColour := thing, colour
		if r.IntN(3) == 0 {
			otherThing = r.IntN(len(toyThings))
		}
		if r.IntN(2) == 0 {
			otherColour = r.IntN(len(toyColours))
		}
		label := "0"
		if thing == otherThing {
			label = map[bool]string{true: "2", false: "1"}[colour == otherColour]
		}
		e := rows.Example{
			ID: fmt.Sprintf("%s-%d", set, i), Query: toyColours[colour] + " " + toyThings[thing],
			Document: rows.Document{Title: toyThings[otherThing], Body: "it is " + toyColours[otherColour]},
			Truth:    []string{yes[thing == otherThing], yes[colour == otherColour], label},
		}
		e.Teach = func(r *rand.Rand) []rows.Thought {
			said := func(truth string, other ...string) string {
				if r.IntN(5) == 0 {
					return other[r.IntN(len(other))]
				}
				return truth
			}
			return []rows.Thought{
				{Reasoning: toyThings[thing] + ", " + toyThings[otherThing], Answer: said(e.Truth[0], "yes", "no")},
				{Reasoning: toyColours[colour], Answer: said(e.Truth[1], "yes", "no")},
				{Reasoning: "so", Answer: said(label, "0", "1", "2")},
			}
		}
		return e
	}
	list := func(set string, seed, n int) (es []rows.Example) {
		for i := range n {
			es = append(es, example(set, seed, i))
		}
		return es
	}
	s := &rows.Source{
		Name: "a toy", Labels: []string{"0", "1", "2"}, Relevant: "1", Compact: true, Input: rows.Render, Size: size,
		Validation: list("held", 2, 20),
		Tests:      []rows.TestSet{{Name: "TEST", Examples: list("test", 3, 30)}},
	}
	trained := list("train", 1, max(size, 1))
	at := rows.Shuffled(len(trained), 1)
	s.Train = func(i int) rows.Example { return trained[at(i)] }
	for k, name := range []string{"thing", "colour", "label"} {
		step := task.Step[rows.Example]{Name: name, Instruction: "Compare.", Answers: []string{"yes", "no"}, Rule: rows.TruthRule(k)}
		if name == "label" {
			step.Answers = s.Labels
		}
		s.Steps = append(s.Steps, step)
	}
	return s
}

// toySettings take about a second.
func toySettings() Config {
	c := Quick()
	c.Smoke = false
	c.MaxTokens = 64
	small := Scratch{Vocab: 400, Shape: Shape{Dim: 32, Layers: 1, Heads: 2, FF: 64, MaxSeq: 160}}
	c.Policy, c.Student.Encoder = small, small
	c.Warmup.Steps, c.Warmup.Batch, c.Warmup.LR, c.Warmup.ProbePrompts = 40, 8, 1e-2, 8
	c.Reinforce.Steps, c.Reinforce.Prompts, c.Reinforce.Group = 5, 4, 4
	c.Student.Examples, c.Student.Epochs, c.Student.MaxTokens = 32, 2, 64
	c.Validation.Rows, c.CheckpointEvery, c.SampleEvery, c.BaselineRows = 20, 2, 2, 100
	return c
}

// prepared is a run on a source that has read everything and trained nothing.
func prepared(t *testing.T, src *rows.Source, c Config) (*pipeline, error) {
	p, err := open(t.Context(), src, c, t.TempDir(), Options{Out: io.Discard})
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { require.NoError(t, p.f.Close()) })
	return p, p.prepare(t.Context())
}

// elsewhere are models of the caller's: the same as those of a Scratch, but the run does
// not know that.
type elsewhere struct {
	*scratch
	at string // where checkpoints are saved
}

func (e elsewhere) New(string) (*Model, error) {
	dir, err := os.MkdirTemp(e.at, "model")
	if err != nil {
		return nil, err
	}
	m, err := e.scratch.New(dir)
	if err == nil {
		m.Export, m.Policy = nil, farPolicy{m.Policy.(*local.Policy)}
	}
	return m, err
}

// farPolicy is a policy with references that are no paths.
type farPolicy struct{ *local.Policy }

func (p farPolicy) Save(ctx context.Context, name string) (string, error) {
	ref, err := p.Policy.Save(ctx, name)
	return far + ref, err
}

func (p farPolicy) Load(ctx context.Context, ref string) error {
	return p.Policy.Load(ctx, strings.TrimPrefix(ref, far))
}

const far = "far://"

var (
	_ rl.Policy           = (*local.Policy)(nil)
	_ checkpoint.Training = (*leg)(nil)
)

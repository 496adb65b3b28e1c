package notes

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/baseline"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

func newSource(size int) *rows.Source {
	return New(Config{Seed: 7, TestSize: size, Teacher: DefaultTeacher()})
}

func take(s *rows.Source, n int) []rows.Example {
	es := make([]rows.Example, n)
	for i := range es {
		es[i] = s.Train(i)
	}
	return es
}

func TestSameSeedSameExamples(t *testing.T) {
	a, b := newSource(50), newSource(50)
	b.Train(10) // the order of calls does not matter
	ignoreTeach := cmpopts.IgnoreFields(rows.Example{}, "Teach")
	assert.Empty(t, cmp.Diff(take(a, 200), take(b, 200), ignoreTeach))
	assert.Empty(t, cmp.Diff(a.Tests, b.Tests, ignoreTeach))

	trace := func(e rows.Example) []rows.Thought { return e.Teach(rand.New(rand.NewPCG(1, 2))) }
	assert.Equal(t, trace(a.Train(3)), trace(b.Train(3)))

	other := New(Config{Seed: 8, Teacher: DefaultTeacher()})
	assert.NotEmpty(t, cmp.Diff(take(a, 1), take(other, 1), ignoreTeach))
}

func TestLabelsAreBalanced(t *testing.T) {
	s := newSource(2000)
	sets := append(s.Tests, rows.TestSet{Name: "training", Examples: take(s, 5000)})
	for _, set := range sets {
		count := make(map[string]int)
		for _, e := range set.Examples {
			count[e.Label()]++
		}
		for _, l := range s.Labels {
			share := float64(count[l]) / float64(len(set.Examples))
			assert.Greater(t, share, .08, "%s label %s", set.Name, l)
			assert.Less(t, share, .40, "%s label %s", set.Name, l)
		}
	}
}

func TestExamplesAreWellFormed(t *testing.T) {
	s := newSource(300)
	es := append(take(s, 2000), append(s.Tests[0].Examples, s.Tests[1].Examples...)...)
	ids, words := make(map[string]bool), make(map[string]bool)
	for _, e := range es {
		require.False(t, ids[e.ID], e.ID)
		ids[e.ID] = true
		require.Len(t, e.Truth, len(s.Steps))
		trace := e.Teach(rand.New(rand.NewPCG(1, 1)))
		require.Len(t, trace, len(s.Steps))
		for k, step := range s.Steps {
			assert.Contains(t, step.Answers, e.Truth[k])
			assert.Contains(t, step.Answers, trace[k].Answer)
			assert.NotContains(t, trace[k].Reasoning, "{")
		}
		text := s.Input(e)
		ws := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,.:\n", r) })
		assert.LessOrEqual(t, len(ws), 55, text)
		assert.Equal(t, strings.ToLower(text), text)
		for _, w := range ws {
			words[w] = true
		}
	}
	assert.Less(t, len(words), 300, "distinct words")
}

// The guarantee of the test sets: no training example holds a pair that is
// held out, every LONGTAIL query does, and no RANDOM example is in training.
func TestHeldOutPairsNeverReachTraining(t *testing.T) {
	cfg := Config{Seed: 7, TestSize: 1000, Teacher: DefaultTeacher()}
	s := New(cfg)
	held := make(map[[2]string]bool)
	for _, p := range HeldOut() {
		held[p] = true
	}
	trained := make(map[string]bool)
	for _, e := range take(s, 30000) {
		in, f := parse(t, e)
		for _, thing := range in.asks() {
			require.False(t, held[[2]string{in.category.name(), thing}], "%s: %s", e.ID, e.Query)
		}
		for _, st := range f.features {
			require.False(t, held[[2]string{f.category.name(), st.term.name()}], "%s: %s", e.ID, e.Document.Body)
		}
		trained[rows.Render(e)] = true
	}
	assert.Greater(t, len(trained), 29500, "distinct training examples")
	for _, e := range s.Tests[0].Examples {
		assert.False(t, trained[rows.Render(e)], e.ID)
	}
	for _, e := range s.Tests[1].Examples {
		in, _ := parse(t, e)
		found := slices.ContainsFunc(in.asks(), func(thing string) bool {
			return held[[2]string{in.category.name(), thing}]
		})
		assert.True(t, found, "%s: %s", e.ID, e.Query)
		assert.False(t, trained[rows.Render(e)], e.ID)
	}
}

// asks lists what the query asks for beside its category.
func (in *intent) asks() (things []string) {
	for _, m := range []*mention{in.wanted, in.banned} {
		if m != nil {
			things = append(things, m.term.name())
		}
	}
	if in.setting != nil {
		things = append(things, in.setting.asked)
	}
	return things
}

// A reader of the text alone comes to the same judgement as the generator,
// which knows what it meant: so the text states all that the label rests on.
func TestTextDecidesEveryStep(t *testing.T) {
	s := newSource(1000)
	for _, e := range append(take(s, 3000), append(s.Tests[0].Examples, s.Tests[1].Examples...)...) {
		in, f := parse(t, e)
		truth := judge(in, f)
		require.Equal(t, e.Truth, truth[:], rows.Render(e))
	}
}

// Surface cues do not give the label away. The majority label reaches about
// .25 here; 5,000 examples make a bag of words reach far less than the rules
// allow, and lengths and overlaps likewise.
func TestLabelIsNotReadableFromSurface(t *testing.T) {
	s := newSource(2000)
	train := take(s, 5000)
	for name, c := range map[string]struct {
		extract baseline.Extractor
		most    float64
	}{
		"bag of words":        {baseline.BagOfWords, .50},
		"lengths and overlap": {baseline.Overlap, .50},
	} {
		model, err := baseline.Train(train, s.Labels, c.extract, 1e-3)
		require.NoError(t, err)
		for _, set := range s.Tests {
			acc := model.Accuracy(set.Examples)
			t.Logf("%s on %s: accuracy %.3f", name, set.Name, acc)
			assert.Less(t, acc, c.most, "%s on %s", name, set.Name)
		}
	}
}

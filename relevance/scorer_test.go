package relevance

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rollout"
)

// losing loses all samples of the second request.
type losing struct{ rollout.Engine }

func (l losing) Generate(ctx context.Context, qs []rollout.Request, emit func(rollout.Completion) error) error {
	return l.Engine.Generate(ctx, qs, func(c rollout.Completion) error {
		if c.Request == 1 {
			c = rollout.Completion{Request: 1, Index: c.Index, Err: errors.New("connection reset")}
		}
		return emit(c)
	})
}

// toyScorer is a policy's scorer for three rows.
func toyScorer(t *testing.T) (*policyScorer, *rows.Source, []rows.Example) {
	p, err := prepared(t, toy(100), toySettings())
	require.NoError(t, err)
	m, err := p.models.New("")
	require.NoError(t, err)
	t.Cleanup(m.free)
	return p.policyScorer(m), p.src, p.src.Tests[0].Examples[:3]
}

// A row whose samples are all lost is unscorable; the others are scored. An evaluation
// with such a row fails, because its numbers would be of other rows.
func TestLostSamples(t *testing.T) {
	s, src, es := toyScorer(t)
	engine := s.engine
	for _, samples := range []int{0, 3} {
		s.engine = engine
		want, err := s.scoreExamples(t.Context(), es, ScoreOptions{Samples: samples})
		require.NoError(t, err)
		s.engine = losing{engine}
		got, err := s.scoreExamples(t.Context(), es, ScoreOptions{Samples: samples})
		require.NoError(t, err)
		require.Equal(t, []string{want[0].text, want[2].text}, []string{got[0].text, got[2].text})
		require.Contains(t, got[1].Unscorable, "connection reset")
		require.True(t, math.IsNaN(got[1].Grade))
		require.Empty(t, got[1].Label)
		text, err := json.Marshal(got[1])
		require.NoError(t, err)
		require.Contains(t, string(text), `"grade":null`)
	}
	_, err := Evaluate(t.Context(), s, src, es, false)
	require.ErrorContains(t, err, "connection reset")
}

// What is sampled of a pair does not depend on the pairs beside it, nor on its place among
// them; another stream samples anew.
func TestSamplesDoNotDependOnNeighbours(t *testing.T) {
	s, _, es := toyScorer(t)
	score := func(stream uint64, es ...rows.Example) (all []string) {
		scores, err := s.scoreExamples(t.Context(), es, ScoreOptions{Samples: 2, Stream: stream})
		require.NoError(t, err)
		for _, s := range scores {
			all = append(all, s.text)
		}
		return all
	}
	all := score(0, es...)
	require.NotEqual(t, all[0], all[2])
	require.Equal(t, []string{all[2], all[0], all[2]}, score(0, es[2], es[0], es[2]))
	require.Equal(t, all[1:2], score(0, es[1]))
	require.NotEqual(t, all[1:2], score(1, es[1]))
}

// A scorer from outside need not fill in what follows from the rest, and may not
// contradict itself.
func TestScoresFromOutside(t *testing.T) {
	labels, nan := []string{"a", "b", "c"}, math.NaN()
	for name, c := range map[string]struct{ given, want Score }{
		"P alone":       {Score{P: []float64{.25, 0, .75}}, Score{P: []float64{.25, 0, .75}, Label: "c", Grade: 1.5}},
		"label alone":   {Score{Label: "c"}, Score{Label: "c", Grade: 2}},
		"grade of more": {Score{Label: "b", Grade: 1.25}, Score{Label: "b", Grade: 1.25}},
		"stated label":  {Score{Label: "b", P: []float64{0, .25, .75}}, Score{Label: "b", P: []float64{0, .25, .75}, Grade: 1.75}},
		"unreadable":    {Score{Malformed: true}, Score{Malformed: true, Grade: nan}},
		"lost":          {Score{Unscorable: "lost"}, Score{Unscorable: "lost", Grade: nan}},
		"not finite":    {Score{P: []float64{0, nan, 1}}, Score{P: []float64{0, nan, 1}, Grade: nan}},
	} {
		got := c.given
		require.NoError(t, got.complete(labels), name)
		require.Equal(t, math.IsNaN(c.want.Grade), math.IsNaN(got.Grade), name)
		if !math.IsNaN(c.want.Grade) {
			require.Equal(t, c.want, got, name)
		}
	}
	for want, s := range map[string]Score{
		"neither P nor Label":     {},
		"P is [1 2 0]":            {P: []float64{1, 2, 0}},
		"P is [2 -1 0]":           {P: []float64{2, -1, 0}},
		"P is [1 0]":              {P: []float64{1, 0}},
		"Grade is 3, want 0 to 2": {Label: "c", Grade: 3},
		`Label is "z"`:            {Label: "z"},
		"Grade is 0.9, and":       {P: []float64{1, 0, 0}, Grade: .9},
	} {
		require.ErrorContains(t, s.complete(labels), want)
	}
}

// grading says of each document what its title is mapped to.
type grading struct {
	labels []string
	says   map[string]Score
}

func (g grading) Labels() []string { return g.labels }

func (g grading) Score(_ context.Context, _ string, documents []rows.Document, _ ScoreOptions) (all []Score, err error) {
	for _, d := range documents {
		all = append(all, g.says[d.Title])
	}
	return all, nil
}

// Documents are ordered by the grade of a scorer that gives no distribution, not by the
// label that is nearest to it; what it could not judge is unreadable, whatever else it says.
func TestEvaluateAScorerFromOutside(t *testing.T) {
	src := &rows.Source{Labels: []string{"0", "1", "2"}, Relevant: "1"}
	var es []rows.Example
	for i, label := range []string{"2", "1", "0"} {
		es = append(es, rows.Example{ID: label, Query: "q", Document: rows.Document{Title: string(rune('a' + i))}, Truth: []string{label}})
	}
	s := grading{src.Labels, map[string]Score{"a": {Label: "1", Grade: 1.4}, "b": {Label: "1", Grade: 1}, "c": {Label: "1", Grade: .6}}}
	scores, err := Evaluate(t.Context(), s, src, es, false)
	require.NoError(t, err)
	require.Equal(t, 1., *scores.NDCG)
	require.InDelta(t, 1./3, scores.Accuracy, 1e-12)
	require.Empty(t, scores.Intervals, "of one query")

	s.says["c"] = Score{Label: "0", P: []float64{math.NaN(), 0, 0}}
	scores, err = Evaluate(t.Context(), s, src, es, false)
	require.NoError(t, err)
	require.Equal(t, 1, scores.Confusion[0][3])

	s.labels = []string{"no", "yes"}
	_, err = Evaluate(t.Context(), s, src, es, false)
	require.EqualError(t, err, `the scorer's labels are ["no" "yes"], want those of the source, ["0" "1" "2"]`)
}

// preparing is a scorer that has to prepare pairs.
type preparing struct {
	Scorer
	exampleScorer
	prepare func()
}

func (p preparing) ready(e rows.Example) (rows.Example, error) {
	p.prepare()
	return e, nil
}

// Whoever no longer waits for pairs does not have all of them prepared and encoded, which
// takes long where their texts are long.
func TestScoringStopsBeforeTheModel(t *testing.T) {
	es := make([]rows.Example, 100)
	for i := range es {
		es[i].Query = strconv.Itoa(i)
	}
	labels := []string{"0", "1"}
	for name, score := range map[string]func(context.Context, func()) error{
		"prepared": func(ctx context.Context, one func()) error {
			_, err := ScoreExamples(ctx, preparing{prepare: one}, es, ScoreOptions{})
			return err
		},
		"cross-encoder": func(ctx context.Context, one func()) error {
			encode := func(rows.Example) []int32 { one(); return []int32{1} }
			_, err := (&classScorer{studentModel{student: &student{encode: encode}, labels: labels}}).scoreExamples(ctx, es, ScoreOptions{})
			return err
		},
		"bi-encoder": func(ctx context.Context, one func()) error {
			encode := func(rows.Example) []int32 { one(); return []int32{1} }
			s := &student{query: encode, document: func(rows.Example) []int32 { return []int32{1} }}
			_, err := (&biScorer{studentModel{student: s, labels: labels}}).scoreExamples(ctx, es, ScoreOptions{})
			return err
		},
		"reranker": func(ctx context.Context, one func()) error {
			_, err := (&Reranker{input: func(string, string) []int32 { one(); return []int32{1} }}).ScorePairs(ctx, es, ScoreOptions{})
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		err := score(ctx, func() {
			if n++; n == 3 {
				cancel()
			}
		})
		require.ErrorIs(t, err, context.Canceled, name)
		require.Equal(t, 3, n, name)
	}
}

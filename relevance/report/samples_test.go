package report

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMaskedIsNotZero(t *testing.T) {
	r := testReport()
	l := Answered{
		Advantage: 1, Reward: new(1.),
		Steps: []AnsweredStep{{Name: "category", Start: 0, End: 4, Verdict: "incorrect"}},
		Tokens: []AnsweredToken{
			{"a", 1, 1, true}, {"b", 1, 0, true}, {"c", 1, 0, false}, {"d", -1, -.2, true},
		},
	}
	v := samples(r, []Answered{l})
	part := v.Stages[0].Steps[0].Problems[0].Answers[0].Parts[0]
	var classes, titles []string
	for _, t := range part.Tokens {
		classes, titles = append(classes, t.Class), append(titles, t.Title)
	}
	assert.Equal(t, []string{"bp4 ap4", "bp4 az", "bp4 am", "bn4 an1"}, classes)
	assert.Equal(t, []string{
		"“a”  before +1.00, after +1.00", "“b”  before +1.00, after 0",
		"“c”  before +1.00, after masked", "“d”  before −1.00, after −0.20",
	}, titles)
	assert.Equal(t, "mixed", part.After)
}

func TestVerdictsHaveMarks(t *testing.T) {
	v := &samplesView{}
	for _, c := range []struct {
		step              AnsweredStep
		mark, word, class string
	}{
		{AnsweredStep{Verdict: "correct"}, "✓", "correct", "right"},
		{AnsweredStep{Verdict: "incorrect"}, "✗", "incorrect", "wrong"},
		{AnsweredStep{Verdict: "unknown"}, "?", "unknown", "unknown"},
		{AnsweredStep{Verdict: "broken"}, "✗", "broken", "wrong broken"},
	} {
		p := v.step(c.step, "", []AnsweredToken{{Text: "a"}})
		assert.Equal(t, []string{c.mark, c.word, c.class}, []string{p.Mark, p.Word, p.Class})
		assert.Equal(t, c.word+", missing", v.step(c.step, "", nil).Word)
	}
}

func TestSpaceBetweenStepsStandsBehindTheStep(t *testing.T) {
	v := &samplesView{}
	l := Answered{
		Steps:  []AnsweredStep{{Name: "category", Start: 1, End: 2}, {Name: "label", Start: 3, End: 4}},
		Tokens: []AnsweredToken{{Text: "hm"}, {Text: "a"}, {Text: "\n"}, {Text: "b"}, {Text: ""}},
	}
	a := v.answer(&Run{}, &l)
	require.Len(t, a.Parts, 3)
	assert.Equal(t, "outside", a.Parts[0].Class)
	assert.Equal(t, []string{"a", "↵"}, []string{a.Parts[1].Tokens[0].Text, a.Parts[1].Tokens[1].Text})
	assert.Contains(t, a.Parts[1].Tokens[1].Title, outsideSteps)
	assert.Equal(t, "∎", a.Parts[2].Tokens[1].Text)
}

// However wrong the ranges of the steps are, each token is shown once.
func TestEveryTokenIsShownOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Answered{}
		for range rapid.IntRange(0, 20).Draw(t, "tokens") {
			l.Tokens = append(l.Tokens, AnsweredToken{Text: string(rune('a' + len(l.Tokens)))})
		}
		for range rapid.IntRange(0, 5).Draw(t, "steps") {
			l.Steps = append(l.Steps, AnsweredStep{Name: "s", Start: rapid.IntRange(-2, 25).Draw(t, "start"), End: rapid.IntRange(-2, 25).Draw(t, "end")})
		}
		var shown, want strings.Builder
		a := (&samplesView{}).answer(&Run{}, &l)
		for _, p := range a.Parts {
			for _, k := range p.Tokens {
				shown.WriteString(k.Text)
			}
		}
		for _, k := range l.Tokens {
			want.WriteString(k.Text)
		}
		assert.Equal(t, want.String(), shown.String())
	})
}

func TestLongRunsStayReadable(t *testing.T) {
	r := testReport()
	r.Best = "" // no mistakes
	page := render(t, r, testMetrics(1000), testRollouts(50, 4, 8))
	assert.Less(t, len(page), 1_500_000)
	assert.Greater(t, len(page), 1_000_000, "the room is used")
	for _, step := range []string{"step 20<", "step 1000<"} { // first and last
		assert.Equal(t, 2, strings.Count(page, "open><summary>"+step), step)
	}
	assert.Contains(t, page, "rollouts.jsonl")

	one := testAnswer(rand.New(rand.NewPCG(5, 6)), "rl-mask", 1, 0, 0)
	one.Prompt = strings.Repeat("<&>", samplesBudget)
	assert.Less(t, len(render(t, r, nil, []Answered{one})), 200_000, "too long to show at all")
}

func TestVisibleText(t *testing.T) {
	assert.Equal(t, "a↵\nb", visible("a\nb", false))
	assert.Equal(t, "}↵", visible("}\n", true))
	assert.Equal(t, "}↵\n", visible("}\n", false))
	assert.Equal(t, "⇥ é�", visible("\t é\x00", true))
	assert.Equal(t, "∎", visible("", true))
}

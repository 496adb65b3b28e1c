package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/audit"
	"github.com/stepwise-rl/stepwise/rollout"
)

var verdicts = rapid.SampledFrom([]rollout.Verdict{rollout.VerdictUnknown, rollout.VerdictCorrect, rollout.VerdictIncorrect})

// counted makes labelled rows of one rule from counts by verdict and truth.
func counted(name string, counts [3][3]int) (rows []audit.Row) {
	for v := range counts {
		for truth, n := range counts[v] {
			for range n {
				rows = append(rows, audit.Row{Rule: name, Verdict: rollout.Verdict(v), Truth: rollout.Verdict(truth), Labeled: true})
			}
		}
	}
	return rows
}

func TestRule(t *testing.T) {
	//                unknown      correct       incorrect: truth
	counts := [3][3]int{{1, 4, 6}, {2, 50, 10}, {3, 5, 25}}
	rules := audit.Tally(append(counted("b", counts), counted("a", [3][3]int{{1}})...))
	require.Len(t, rules, 2)
	require.Equal(t, audit.RuleStats{Name: "b", Counts: counts}, rules[1])
	b := &rules[1]
	require.Equal(t, eval.Wilson(50, 60, .9), b.Precision(rollout.VerdictCorrect, .9))
	require.Equal(t, eval.Wilson(25, 30, 0), b.Precision(rollout.VerdictIncorrect, 0))
	require.Equal(t, eval.Wilson(50, 59, 0), b.Recall(rollout.VerdictCorrect, 0))
	require.Equal(t, eval.Wilson(25, 41, 0), b.Recall(rollout.VerdictIncorrect, 0))
	require.Equal(t, eval.Wilson(15, 90, 0), b.ErrorRate(0))
	require.Equal(t, eval.Wilson(90, 100, 0), b.Coverage(0))

	a := &rules[0] // no row of known truth
	require.True(t, math.IsNaN(a.Precision(rollout.VerdictCorrect, 0).Low))
	require.Contains(t, audit.Format(rules, 0), `rule "a": errors none, coverage none`)
	require.Panics(t, func() { a.Precision(rollout.VerdictUnknown, 0) })
	require.Panics(t, func() { a.Recall(rollout.VerdictUnknown, 0) })
	require.Panics(t, func() { audit.Tally([]audit.Row{{Rule: "a"}}) })
}

// The interval covers the true error rate of a rule as often as it says.
func TestIntervalsCover(t *testing.T) {
	const n, rate = 60, .1
	covered, p := 0.0, math.Pow(1-rate, n) // p = P(errors = k)
	for k := range n + 1 {
		r := audit.Tally(counted("r", [3][3]int{1: {1: n - k, 2: k}}))[0]
		if i := r.ErrorRate(.95); i.Low <= rate && rate <= i.High {
			covered += p
		}
		p *= float64(n-k) / float64(k+1) * rate / (1 - rate)
	}
	require.InDelta(t, .95, covered, .02)
}

func TestReadWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rows []audit.Row
		for i := range rapid.IntRange(0, 5).Draw(t, "rows") {
			rows = append(rows, audit.Row{
				Rule: rapid.StringN(1, 5, -1).Draw(t, "rule"), ID: fmt.Sprint(i),
				Prompt: rapid.String().Draw(t, "prompt"), Completion: rapid.String().Draw(t, "completion"), Step: rapid.String().Draw(t, "step"),
				Verdict: verdicts.Draw(t, "verdict"), Truth: verdicts.Draw(t, "truth"), Labeled: true,
			})
		}
		var b bytes.Buffer
		require.NoError(t, audit.Write(&b, rows))
		got, err := audit.Read("rows", &b)
		require.NoError(t, err)
		if fmt.Sprint(got) != fmt.Sprint(rows) {
			t.Fatalf("%v became %v", rows, got)
		}
	})
}

func TestReadErrorsNameLineAndField(t *testing.T) {
	good := `{"rule":"a","id":"1","verdict":"correct","truth":"unknown","note":"anything"}`
	for in, want := range map[string]string{
		good + "\n\n" + `{"rule":"a","id":"1","verdict":"correct","truth":"correct"}`: `hand.jsonl:3: field "id": rule "a" has "1" on line 1 already`,
		good + "\n" + `{"verdict":"correct","truth":"correct"}`:                       `hand.jsonl:2: field "rule": it is empty`,
		`{"rule":"a","verdict":"yes","truth":"correct"}`:                              `hand.jsonl:1: field "verdict": it is "yes", want correct, incorrect or unknown`,
		`{"rule":"a","verdict":"correct","truth":""}`:                                 `hand.jsonl:1: field "truth": it is ""`,
		`{"rule":"a","verdict":"correct"}`:                                            `hand.jsonl:1: field "truth": it is ""`,
		`{"rule":7}`:                                                                  `hand.jsonl:1: field "rule": it is a number, want a string`,
		`{"rule":"a"`:                                                                 `hand.jsonl:1: not a JSON object`,
		`[]`:                                                                          `hand.jsonl:1: not a JSON object`,
		`null`:                                                                        `hand.jsonl:1: not a JSON object`,
		good + good:                                                                   `hand.jsonl:1: not a JSON object`,
		"\n \r\n" + `{"rule":"a"}` + "\n":                                             `hand.jsonl:3: field "verdict"`,
	} {
		_, err := audit.Read("hand.jsonl", strings.NewReader(in))
		require.ErrorContains(t, err, want, in)
	}
	rows, err := audit.Read("hand.jsonl", strings.NewReader(strings.Repeat(`{"rule":"a","verdict":"correct","truth":"correct"}`+"\r\n", 2)))
	require.NoError(t, err)
	require.Len(t, rows, 2, "rows without an id are not compared")
	rows, err = audit.Read("hand.jsonl", strings.NewReader(""))
	require.NoError(t, err)
	require.Empty(t, rows)

	broken := errors.New("disk gone")
	_, err = audit.Read("hand.jsonl", failing{broken})
	require.ErrorIs(t, err, broken)
	require.ErrorIs(t, audit.Write(failing{broken}, []audit.Row{{Rule: "a"}}), broken)
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error)  { return 0, f.error }
func (f failing) Write([]byte) (int, error) { return 0, f.error }

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"rule":"a","id":"1","verdict":"correct","truth":"unknown"}` + "\n" + `{"rule":"a","id":"2","verdict":"incorrect","truth":"correct"}`))
	f.Add([]byte(`{"rule":[]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		rows, err := audit.Read("in", bytes.NewReader(in))
		if err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "audit: in:"), err.Error())
			return
		}
		n := 0
		for _, r := range audit.Tally(rows) {
			for _, row := range r.Counts {
				n += row[0] + row[1] + row[2]
			}
		}
		require.Equal(t, len(rows), n)
		var b bytes.Buffer
		require.NoError(t, audit.Write(&b, rows))
		again, err := audit.Read("out", &b)
		require.NoError(t, err)
		require.Equal(t, rows, again)
	})
}

// judged makes rollouts of groups of completions "aaBBB." with the steps a and b.
func judged(groups, size int) *rl.Rollouts {
	r := &rl.Rollouts{}
	for g := range groups {
		var group rollout.Group
		for i := range size {
			first := rollout.VerdictCorrect
			if i == 0 {
				first = rollout.VerdictBroken
			}
			group = append(group, rollout.Completion{Index: i, Text: "aaBBB.", Ends: []int{2, 4, 5, 6}, Steps: []rollout.Step{
				{Name: "a", Start: 0, End: 1, Verdict: first},
				{Name: "b", Start: 1, End: 3, Verdict: rollout.VerdictIncorrect},
				{Name: "lost", Start: 3, End: 3, Verdict: rollout.VerdictUnknown},
			}})
		}
		r.Problems = append(r.Problems, numbered(g))
		r.Requests = append(r.Requests, rollout.Request{})
		r.Groups = append(r.Groups, group)
	}
	r.Requests[0].ID = "first"
	return r
}

type numbered int

func (numbered) Request() (rollout.Request, error)                { return rollout.Request{}, nil }
func (numbered) Judge(context.Context, *rollout.Completion) error { return nil }

func TestSample(t *testing.T) {
	r := judged(10, 3)
	o := audit.SampleOptions{PerRule: 4, Seed: 1, Prompt: func(p rl.Problem) string { return fmt.Sprint("prompt ", p) }}
	rows, err := audit.Sample(r, o)
	require.NoError(t, err)
	require.Len(t, rows, 12)
	again, err := audit.Sample(r, o)
	require.NoError(t, err)
	require.Equal(t, rows, again)
	text := map[string]string{"a": "aa", "b": "BBB", "lost": ""}
	prompts := map[string]bool{}
	for i, row := range rows {
		require.Equal(t, []string{"a", "b", "lost"}[i/4], row.Rule)
		require.Equal(t, text[row.Rule], row.Step)
		require.Equal(t, "aaBBB.", row.Completion)
		require.False(t, row.Labeled)
		require.False(t, prompts[row.Rule+row.Prompt], "one step from each prompt")
		prompts[row.Rule+row.Prompt] = true
		require.False(t, row.Rule == "a" && strings.HasSuffix(row.ID, "#0"), "broken")
	}
	all, err := audit.Sample(r, audit.SampleOptions{PerRule: 99})
	require.NoError(t, err)
	require.Len(t, all, 30)
	ids := ""
	for _, row := range all[:10] {
		ids += row.ID + " "
	}
	require.Contains(t, ids, "first#")
	require.Contains(t, ids, "9#")
	_, err = audit.Sample(r, audit.SampleOptions{})
	require.EqualError(t, err, "audit: SampleOptions.PerRule is 0, want at least 1")
	none, err := audit.Sample(&rl.Rollouts{}, o)
	require.NoError(t, err)
	require.Empty(t, none)
}

// One query may name several requests, and one prompt may be sampled twice: what was
// labelled by hand can be read, and a prompt has one row of each rule.
func TestSampleOfSharedNamesAndPrompts(t *testing.T) {
	r := judged(4, 2)
	for g, prompt := range [][]int32{{1}, {2}, {1}, {3}} {
		r.Requests[g].ID, r.Requests[g].Prompt = "query", prompt
	}
	rows, err := audit.Sample(r, audit.SampleOptions{PerRule: 9, Prompt: func(p rl.Problem) string { return fmt.Sprint(r.Requests[p.(numbered)].Prompt) }})
	require.NoError(t, err)
	seen := map[string]int{}
	for i := range rows {
		rows[i].Labeled = true
		seen[rows[i].Rule+rows[i].Prompt]++
	}
	require.Equal(t, map[string]int{"a[1]": 1, "a[2]": 1, "a[3]": 1, "b[1]": 1, "b[2]": 1, "b[3]": 1, "lost[1]": 1, "lost[2]": 1, "lost[3]": 1}, seen)
	var b bytes.Buffer
	require.NoError(t, audit.Write(&b, rows))
	again, err := audit.Read("rows", &b)
	require.NoError(t, err)
	require.Len(t, again, 9)
}

// An ID that looks like the name made for another group is not taken for it.
func TestSampleIDsDiffer(t *testing.T) {
	for _, c := range []struct{ requests, want []string }{
		{[]string{"query", "query", "query", "other"}, []string{"query/0", "query/1", "query/2", "other"}},
		{[]string{"query", "query", "query", "query/1"}, []string{"query/0", "query/1/1", "query/2", "query/1"}},
		{[]string{"query", "query", "query/0", "query/0/0"}, []string{"query/0/0/0", "query/1", "query/0", "query/0/0"}},
		{[]string{"q", "q", "q/1", "q/1"}, []string{"q/0", "q/1/1", "q/1/2", "q/1/3"}},
		{[]string{"", "0", "1", ""}, []string{"0/0", "0", "1", "3"}},
	} {
		r := judged(len(c.requests), 1)
		for g, id := range c.requests {
			r.Requests[g].ID = id
		}
		rows, err := audit.Sample(r, audit.SampleOptions{PerRule: 9})
		require.NoError(t, err)
		var ids []string
		for _, row := range rows {
			if row.Rule == "b" {
				ids = append(ids, strings.TrimSuffix(row.ID, "#0"))
			}
		}
		require.ElementsMatch(t, c.want, ids)
	}
}

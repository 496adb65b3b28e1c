package prompt_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
)

var specs = []prompt.StepSpec{{Name: "a"}, {Name: "b", Answers: []string{"0", "1"}}, {Name: "c"}}

// outline writes a trace in short: each step with its status, bytes and answer.
func outline(t prompt.Trace) []string {
	var out []string
	for _, list := range [][]prompt.Span{t.Steps, t.Extra} {
		for _, s := range list {
			out = append(out, s.Name+" | "+s.Status.String()+" | "+t.Text[s.Bytes.Start:s.Bytes.End]+" | "+s.Answer)
		}
	}
	return out
}

// Tests write [a … ] for a tagged step and {…} for a box, to stay readable.
var shorthand = strings.NewReplacer("[a", `<step name="a">`, "[b", `<step name="b">`, "[c", `<step name="c">`,
	"[z", `<step name="z">`, "]", `</step>`, "{", `\boxed{`)

func TestTaggedParser(t *testing.T) {
	for name, c := range map[string]struct {
		text     string
		want     []string
		problems []string
	}{
		"well-formed": {"[ax {1}] [b{0}]\n[cy {5}]",
			[]string{"a | ok | [ax {1}] | 1", "b | ok | [b{0}] | 0", "c | ok | [cy {5}] | 5"}, nil},
		"text outside steps is not judged": {"so {9} [a{1}] and [b{0}][c{5}] done",
			[]string{"a | ok | [a{1}] | 1", "b | ok | [b{0}] | 0", "c | ok | [c{5}] | 5"}, nil},
		"nothing": {"",
			[]string{"a | missing |  | ", "b | missing |  | ", "c | missing |  | "},
			[]string{`step "a" is missing`, `step "b" is missing`, `step "c" is missing`}},
		"missing": {"[a{1}][c{5}]",
			[]string{"a | ok | [a{1}] | 1", "b | missing |  | ", "c | ok | [c{5}] | 5"},
			[]string{`step "b" is missing`}},
		"duplicate": {"[a{1}][b{0}][a{2}][c{5}]",
			[]string{"a | ok | [a{1}] | 1", "b | ok | [b{0}] | 0", "c | ok | [c{5}] | 5", "a | duplicate | [a{2}] | 2"},
			[]string{`step "a" occurs again`}},
		"out of order blames the step that came too early": {"[c{5}][a{1}][b{0}]",
			[]string{"a | ok | [a{1}] | 1", "b | ok | [b{0}] | 0", "c | out of order | [c{5}] | 5"},
			[]string{`step "c" begins before an earlier step`}},
		"truncated by the end": {"[a{1}][b{0}][c{5}",
			[]string{"a | ok | [a{1}] | 1", "b | ok | [b{0}] | 0", "c | truncated | [c{5} | 5"},
			[]string{`step "c" is not closed`}},
		"truncated by the next step": {"[a{1}[b{0}][c{5}]",
			[]string{"a | truncated | [a{1} | 1", "b | ok | [b{0}] | 0", "c | ok | [c{5}] | 5"},
			[]string{`step "a" is not closed`}},
		"nested steps": {"[a{1}[b{0}]] [c{5}]",
			[]string{"a | truncated | [a{1} | 1", "b | ok | [b{0}] | 0", "c | ok | [c{5}] | 5"},
			[]string{`step "a" is not closed`, "closing tag without a step"}},
		"surplus": {"[a{1}][z{3}][b{0}][c{5}]",
			[]string{"a | ok | [a{1}] | 1", "b | ok | [b{0}] | 0", "c | ok | [c{5}] | 5", "z | surplus | [z{3}] | 3"},
			[]string{`surplus step "z"`}},
		"no answer, not an allowed answer, two answers": {"[a][b{7}][c{4}{5}]",
			[]string{"a | invalid answer | [a] | ", "b | invalid answer | [b{7}] | 7", "c | invalid answer | [c{4}{5}] | 5"},
			[]string{`step "a" states no answer`, `step "b" answers "7", which is not one of 0, 1`, `step "c" states 2 answers`}},
		"open box, empty box": {"[a{1][b{ }][c{5}]",
			[]string{"a | invalid answer | [a{1] | ", "b | invalid answer | [b{ }] | ", "c | ok | [c{5}] | 5"},
			[]string{`step "a" does not close its answer`, `step "b" states an empty answer`}},
		"tag inside a box ends the step": {"[a{1]}[b{0}][c{5}]",
			[]string{"a | invalid answer | [a{1] | ", "b | ok | [b{0}] | 0", "c | ok | [c{5}] | 5"},
			[]string{`step "a" does not close its answer`}},
		"nested boxes and space": {"[a{{2}}][b{ 0\n}][c{5}]",
			[]string{"a | ok | [a{{2}}] | {2}", "b | ok | [b{ 0\n}] | 0", "c | ok | [c{5}] | 5"}, nil},
		"almost tags are text": {"<step name='a'>[a</ step>{1}<step name=\"b>][b{0}][c{5}<step>]",
			[]string{"a | ok | [a</ step>{1}<step name=\"b>] | 1", "b | ok | [b{0}] | 0", "c | ok | [c{5}<step>] | 5"}, nil},
		"invalid UTF-8": {"[a\xff{\xfe}][b{0}]\xff[c{5}]",
			[]string{"a | ok | [a\xff{\xfe}] | \xfe", "b | ok | [b{0}] | 0", "c | ok | [c{5}] | 5"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := prompt.Tagged{}.Parser(specs).Parse(shorthand.Replace(c.text), nil)
			want := append([]string(nil), c.want...)
			for i := range want {
				want[i] = shorthand.Replace(want[i])
			}
			assert.Equal(t, want, outline(got))
			if c.problems != nil {
				assert.Equal(t, c.problems, withoutOffsets(got.Problems))
			}
		})
	}
}

func withoutOffsets(problems []string) []string {
	out := make([]string, len(problems))
	for i, p := range problems {
		_, out[i], _ = strings.Cut(p, ": ")
	}
	return out
}

func TestBoxedParser(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"well-formed": {"x {1} y {0}\nz {5} end",
			[]string{"a | ok | x {1} | 1", "b | ok |  y {0} | 0", "c | ok | \nz {5} | 5"}},
		"too few": {"x {1} \n",
			[]string{"a | ok | x {1} | 1", "b | missing |  | ", "c | missing |  | "}},
		"cut off in the reasoning": {"x {1} y",
			[]string{"a | ok | x {1} | 1", "b | truncated |  y | ", "c | missing |  | "}},
		"cut off in the box": {"x {1} y {0",
			[]string{"a | ok | x {1} | 1", "b | truncated |  y {0 | ", "c | missing |  | "}},
		"too many": {"{1}{0}{5} w {6} v",
			[]string{"a | ok | {1} | 1", "b | ok | {0} | 0", "c | ok | {5} | 5", " | surplus |  w {6} | 6"}},
		"bad answers": {"{}{3}{{2}}",
			[]string{"a | invalid answer | {} | ", "b | invalid answer | {3} | 3", "c | ok | {{2}} | {2}"}},
		"nothing": {"", []string{"a | missing |  | ", "b | missing |  | ", "c | missing |  | "}},
	} {
		t.Run(name, func(t *testing.T) {
			got := prompt.Boxed{}.Parser(specs).Parse(shorthand.Replace(c.text), nil)
			for i := range c.want {
				c.want[i] = shorthand.Replace(c.want[i])
			}
			assert.Equal(t, c.want, outline(got))
		})
	}
}

// split returns the ends of tokens that are separated by "·" in marked.
func split(marked string) (text string, ends []int) {
	for _, token := range strings.Split(marked, "·") {
		text += token
		ends = append(ends, len(text))
	}
	return text, ends
}

func TestTokens(t *testing.T) {
	// Token 0 is glue; 3 begins in step a and ends in step c; 7 is an end of
	// text without bytes. Step b is missing.
	text, ends := split(`hm ·<step name="a">·\boxed{·1}</step> <st·ep name="c">·\boxed·{12}</step>·`)
	got := prompt.Tagged{}.Parser(specs).Parse(text, ends)

	assert.Equal(t, 8, got.Tokens)
	assert.Equal(t, prompt.Range{Start: 1, End: 4}, got.Steps[0].Tokens)
	assert.Equal(t, prompt.Range{Start: 3, End: 4}, got.Steps[0].AnswerTokens)
	assert.Equal(t, prompt.Range{Start: 4, End: 7}, got.Steps[2].Tokens)
	assert.Equal(t, "12", got.Steps[2].Answer)
	assert.Equal(t, prompt.Range{Start: 6, End: 7}, got.Steps[2].AnswerTokens, "the token that holds the answer begins before it")
	// The missing step should have begun where c does.
	assert.Equal(t, prompt.StatusMissing, got.Steps[1].Status)
	assert.Equal(t, got.Steps[2].Bytes.Start, got.Steps[1].Bytes.Start)
	assert.Equal(t, prompt.Range{Start: 4, End: 4}, got.Steps[1].Tokens)
}

func TestTokensWithoutBytes(t *testing.T) {
	// Tokens 0, 2 and 4 have no bytes.
	text, ends := split(`·x\boxed{1}··\boxed{0}·`)
	got := prompt.Boxed{}.Parser(specs).Parse(text, ends)
	assert.Equal(t, prompt.Range{Start: 0, End: 2}, got.Steps[0].Tokens)
	assert.Equal(t, prompt.Range{Start: 2, End: 4}, got.Steps[1].Tokens)
	// The missing step's place is the token that ended the text.
	assert.Equal(t, prompt.Range{Start: 4, End: 4}, got.Steps[2].Tokens)
}

func TestWithoutEndsAllTokenRangesAreZero(t *testing.T) {
	for name, syntax := range syntaxes {
		for _, text := range []string{shorthand.Replace("[a{1}] [z{3}][b{0}][b{1}]"), "", "x"} {
			got := syntax.Parser(specs).Parse(text, nil)
			require.Zero(t, got.Tokens)
			for _, s := range append(got.Steps, got.Extra...) {
				require.Zero(t, s.Tokens, name)
				require.Zero(t, s.AnswerTokens, name)
			}
		}
	}
}

func TestParsePanicsOnEndsThatDoNotFit(t *testing.T) {
	p := prompt.Boxed{}.Parser(specs)
	for _, ends := range [][]int{{}, {1}, {3}, {2, 1, 2}, {-1, 2}} {
		assert.Panics(t, func() { p.Parse("xy", ends) }, "%v", ends)
	}
	assert.NotPanics(t, func() { p.Parse("", []int{}) })
	assert.NotPanics(t, func() { p.Parse("", []int{0}) })
}

func TestParserPanicsOnBadSpecs(t *testing.T) {
	for _, s := range []prompt.Syntax{prompt.Tagged{}, prompt.Boxed{}} {
		for _, bad := range [][]prompt.StepSpec{nil, {{}}, {{Name: "a"}, {Name: "a"}}, {{Name: "\xff"}}} {
			assert.Panics(t, func() { s.Parser(bad) })
		}
	}
}

func TestTraceAsJSON(t *testing.T) {
	text, ends := split(`<step name="a">·\boxed{1}·</step>·<step name="b">·\boxed{7}·</step>`)
	trace := prompt.Tagged{}.Parser(specs[:2]).Parse(text, ends)
	data, err := json.Marshal(trace)
	require.NoError(t, err)
	assert.Contains(t, string(data), `"answer":"7","answer_bytes":{"start":53,"end":54},"answer_tokens":{"start":4,"end":5},"status":"invalid answer"}`)
	var back prompt.Trace
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, trace, back)

	var s prompt.Status
	assert.ErrorContains(t, s.UnmarshalText([]byte("fine")), `"fine"`)
	_, err = prompt.Status(99).MarshalText()
	assert.ErrorContains(t, err, "99")
	assert.Equal(t, "status 99", prompt.Status(99).String())
}

func TestFinalAnswer(t *testing.T) {
	p := prompt.Boxed{}.Parser(specs[:2])
	for text, want := range map[string]struct {
		answer string
		ok     bool
	}{`\boxed{x}\boxed{1}`: {"1", true}, `\boxed{x}\boxed{7}`: {"7", false}, `\boxed{x}`: {"", false}} {
		trace := p.Parse(text, nil)
		answer, ok := trace.FinalAnswer()
		assert.Equal(t, want.answer, answer)
		assert.Equal(t, want.ok, ok)
	}
}

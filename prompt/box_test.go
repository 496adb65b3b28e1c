package prompt_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/prompt"
)

// loose reads every form of a box.
var loose = prompt.Box{Bare: true, Framed: true, Text: true}

// answer returns what a text with one step answers, as Boxed and as Tagged read
// it; they must agree.
func answer(t *testing.T, o prompt.Box, box string) (string, prompt.Status) {
	t.Helper()
	one := []prompt.StepSpec{{Name: "a"}}
	boxed := prompt.Boxed{Box: o}.Parser(one).Parse("so "+box+"\n", nil)
	tagged := prompt.Tagged{Box: o}.Parser(one).Parse(`<step name="a">so `+box+"\n</step>", nil)
	assert.Equal(t, boxed.Steps[0].Answer, tagged.Steps[0].Answer, box)
	return tagged.Steps[0].Answer, tagged.Steps[0].Status
}

func TestEscapedBraces(t *testing.T) {
	for box, want := range map[string]string{
		`\boxed{\left\{\begin{array}{l}x=1\\y=2\end{array}\right.}`: `\left\{\begin{array}{l}x=1\\y=2\end{array}\right.`,
		`\boxed{\left.\begin{array}{l}x=1\\y=2\end{array}\right\}}`: `\left.\begin{array}{l}x=1\\y=2\end{array}\right\}`,
		`\boxed{\{1, 2\}}`:                  `\{1, 2\}`,
		`\boxed{\{}`:                        `\{`,
		`\boxed{\}}`:                        `\}`,
		`\boxed{[0, 1\}}`:                   `[0, 1\}`,
		`\boxed{a\\}`:                       `a\\`,
		`\boxed{a\\{b}}`:                    `a\\{b}`,
		`\boxed{\\\{}`:                      `\\\{`,
		`\boxed{\\\}}`:                      `\\\}`,
		`\boxed{\\\\}`:                      `\\\\`,
		`\boxed{x \in \mathbb{R} \\ \{0\}}`: `x \in \mathbb{R} \\ \{0\}`,
		`\boxed{\boxed{\{}}`:                `\boxed{\{}`,
		`\boxed{\bigl\{ x^{2} \bigr\}}`:     `\bigl\{ x^{2} \bigr\}`,
		`\boxed{\é}`:                        `\é`,
	} {
		for _, o := range []prompt.Box{{}, loose} {
			got, status := answer(t, o, box)
			assert.Equal(t, prompt.StatusOK, status, box)
			assert.Equal(t, want, got, box)
		}
		_, err := prompt.Tagged{}.Write([]prompt.StepSpec{{Name: "a"}}, 0, "", want)
		assert.NoError(t, err, box)
	}
	for _, box := range []string{`\boxed{1\}`, `\boxed{\{1\}`, `\boxed{{\}`, `\boxed{\\\}`, `\boxed{\`} {
		_, status := answer(t, prompt.Box{}, box)
		assert.Equal(t, prompt.StatusBadAnswer, status, box)
	}
}

func TestOtherBoxes(t *testing.T) {
	for box, want := range map[string]string{
		`\boxed 7`:                 "7",
		`\boxed 7.`:                "7",
		`$\boxed -3.5$.`:           "-3.5",
		`\boxed7`:                  "7",
		`\boxed {7}`:               "7",
		"\\boxed\t12 apples":       "12",
		`\boxed yes, I think`:      "yes",
		`\boxed 日本`:                "日本",
		`\fbox{7}`:                 "7",
		`\fbox{\{7\}}`:             `\{7\}`,
		`\boxed{\text{2}}`:         "2",
		`\boxed{ \text{ 2 } }`:     "2",
		`\boxed{\text{\text{2}}}`:  "2",
		`\fbox{\text{a{b}}}`:       "a{b}",
		`\boxed{\text{\}}}`:        `\}`,
		`\boxed{\text{2} apples}`:  `\text{2} apples`,
		`\boxed{\text{2}\text{3}}`: `\text{2}\text{3}`,
		`\boxed{\textbf{2}}`:       `\textbf{2}`,
		`\boxed{\fbox{2}}`:         `\fbox{2}`,
		`\boxed{7}`:                "7",
	} {
		got, status := answer(t, loose, box)
		assert.Equal(t, prompt.StatusOK, status, box)
		assert.Equal(t, want, got, box)
	}
	for _, box := range []string{`\boxed`, `\boxed .`, `\boxedx`, `\boxed $7$`, `\fbox`, `\fbox 7`, `\boxed{\text{}}`} {
		_, status := answer(t, loose, box)
		assert.Equal(t, prompt.StatusBadAnswer, status, box)
	}
	// Without the options nothing of it is read.
	for box, want := range map[string]string{`\boxed 7`: "", `\boxed {7}`: "", `\fbox{7}`: "", `\boxed{\text{2}}`: `\text{2}`} {
		got, _ := answer(t, prompt.Box{}, box)
		assert.Equal(t, want, got, box)
	}
}

// Marks may nest as deep as a policy likes, without more than linear work for them.
func TestNestedTextMarks(t *testing.T) {
	const depth = 1 << 20
	marks, ends := strings.Repeat(`\text{`, depth), strings.Repeat("}", depth)
	for box, want := range map[string]string{
		`\boxed{` + marks + "2" + ends + "}":      "2",
		`\boxed{` + marks + "{2}{3}" + ends + "}": "{2}{3}",
	} {
		got, status := answer(t, loose, box)
		require.Equal(t, prompt.StatusOK, status)
		require.Equal(t, want, got)
	}
	for box, want := range map[string]string{
		`\boxed{\text{ \text{2} }}`:              "2",
		`\boxed{\text{\text{2}{3}}}`:             `\text{2}{3}`,
		`\boxed{\text{\text{2}\text{\text{3}}}}`: `\text{2}\text{\text{3}}`,
		`\boxed{\text{\text{2\}}}}`:              `2\}`,
		`\boxed{\text{\text{}2}}`:                `\text{}2`,
	} {
		got, status := answer(t, loose, box)
		assert.Equal(t, prompt.StatusOK, status, box)
		assert.Equal(t, want, got, box)
	}
}

// Steps that are rehearsed while thinking are judged by default, and ignored by
// choice.
func TestIgnoreThinking(t *testing.T) {
	real := "[a{1}][b{0}][c{5}]"
	for name, text := range map[string]string{
		"rehearsed":            "<think>[a{2}] or [b{7}] or {9}</think>" + real,
		"opened by the prompt": "[a{2}] so [c</think>" + real,
		"twice":                "<think>[a{2}]</think>\n<think>[z{2}]</think>" + real,
		"between steps":        "[a{1}]<think>[a{2}]</think>[b{0}][c{5}]",
		"after the steps":      real + "<think>[a{2}]</think> <think> [b{1}]",
		"inside a step":        "[a<think>{2}[c</think>{1}][b{0}][c{5}]",
		"inside a box":         "[a{<think>x</think>1}][b{0<think>}</think>}][c{5}]",
		"tags within tags":     "<think><think>[a{2}]</think>" + real,
		"without thinking":     real,
		"empty thinking":       "<think></think>" + real,
		"almost tags are text": real + "<think ></ think><Think>",
		"invalid UTF-8":        "<think>\xff[a{2}]</think>" + real,
	} {
		trace := prompt.Tagged{IgnoreThinking: true}.Parser(specs).Parse(shorthand.Replace(text), nil)
		assert.Empty(t, trace.Problems, name)
		for k, want := range []string{"1", "0", "5"} {
			assert.Equal(t, prompt.StatusOK, trace.Steps[k].Status, name)
			assert.Equal(t, want, trace.Steps[k].Answer, name)
		}
	}
	text := shorthand.Replace("<think>[a{2}]</think>" + real)
	assert.Equal(t, "2", prompt.Tagged{}.Parser(specs).Parse(text, nil).Steps[0].Answer)

	// Hidden steps are missing: thinking is no loophole.
	for _, text := range []string{"<think>" + real, real + "</think>", "<think>" + real + "</think>"} {
		trace := prompt.Tagged{IgnoreThinking: true}.Parser(specs).Parse(shorthand.Replace(text), nil)
		for _, s := range trace.Steps {
			assert.Equal(t, prompt.StatusMissing, s.Status, text)
		}
		trace = prompt.Boxed{IgnoreThinking: true}.Parser(specs).Parse(shorthand.Replace(text), nil)
		for _, s := range trace.Steps {
			assert.Equal(t, prompt.StatusMissing, s.Status, text)
		}
	}
}

func TestBoxedIgnoresThinking(t *testing.T) {
	parser := prompt.Boxed{IgnoreThinking: true}.Parser(specs)
	for text, want := range map[string][]string{
		"<think>{9}{9}</think>x {1} y {0} z {5}":     {"a | ok | x {1} | 1", "b | ok |  y {0} | 0", "c | ok |  z {5} | 5"},
		"{9}</think>x {1} y {0} z {5}":               {"a | ok | x {1} | 1", "b | ok |  y {0} | 0", "c | ok |  z {5} | 5"},
		" <think>{9}</think>{1}{0}{5}<think>{7}":     {"a | ok | {1} | 1", "b | ok | {0} | 0", "c | ok | {5} | 5"},
		"x {1}<think>{9}</think> y {0} z":            {"a | ok | x {1} | 1", "b | ok | <think>{9}</think> y {0} | 0", "c | truncated |  z | "},
		"so <think>{9}</think>{1}<think>{9}</think>": {"a | ok | so <think>{9}</think>{1} | 1", "b | missing |  | ", "c | missing |  | "},
	} {
		got := parser.Parse(shorthand.Replace(text), nil)
		for i := range want {
			want[i] = shorthand.Replace(want[i])
		}
		assert.Equal(t, want, outline(got), text)
	}
}

// A trace is the same after a round trip through JSON, whatever its bytes.
func TestJSONKeepsEveryTrace(t *testing.T) {
	for name, syntax := range syntaxes {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			text := hardText().Draw(t, "text") + hardText().Draw(t, "more")
			trace := syntax.Parser(specs).Parse(text, tokenEnds(t, text))
			data, err := json.Marshal(trace)
			require.NoError(t, err)
			var back prompt.Trace
			require.NoError(t, json.Unmarshal(data, &back))
			require.Equal(t, trace, back)
		}))
	}
}

// A step may end inside a character, and so may its answer.
func TestJSONOfSplitCharacters(t *testing.T) {
	text, ends := split("<step name=\"a\">\\boxed{\xe6\x97·\xa5\xe6\x9c}</step>·<step name=\"b\xff\">\\boxed{1}</step>\xe2\x82")
	trace := prompt.Tagged{}.Parser(specs).Parse(text, ends)
	assert.Equal(t, "\xe6\x97\xa5\xe6\x9c", trace.Steps[0].Answer)
	for _, v := range []any{trace, &trace, map[string]any{"trace": trace}} {
		data, err := json.Marshal(v)
		require.NoError(t, err)
		assert.Contains(t, string(data), `"answer_base64":"5pel5pw="`)
		assert.Contains(t, string(data), `"answer":"日\ufffd\ufffd"`, "and a reader sees what can be shown")
		assert.Contains(t, string(data), `"name_base64":"Yv8="`)
		assert.Contains(t, string(data), `"text_base64":`)
	}
	data, err := json.Marshal(trace)
	require.NoError(t, err)
	var back prompt.Trace
	require.NoError(t, json.Unmarshal(data, &back))
	assert.Equal(t, trace, back)
	for _, s := range append(back.Steps, back.Extra...) {
		assert.Equal(t, s.Answer, back.Text[s.AnswerBytes.Start:s.AnswerBytes.End])
	}

	assert.Error(t, json.Unmarshal([]byte(`{"text_base64":"!"}`), &back))
	assert.Error(t, json.Unmarshal([]byte(`{"answer_base64":"!"}`), &back.Steps[0]))
	valid, err := json.Marshal(prompt.Boxed{}.Parser(specs).Parse(`\boxed{1}`, nil))
	require.NoError(t, err)
	assert.NotContains(t, string(valid), "base64")
}

// What would hide the steps before it is not written.
func TestWriteRefusesTheEndOfThinking(t *testing.T) {
	for _, syntax := range []prompt.Syntax{prompt.Tagged{IgnoreThinking: true}, prompt.Boxed{IgnoreThinking: true}} {
		for _, reasoning := range []string{"so </think> then", "so <think>"} {
			_, err := syntax.Write(specs, 0, reasoning, "1")
			assert.Error(t, err, reasoning)
		}
		_, err := syntax.Write(specs, 0, "so <think>{2}</think> then", "1")
		assert.NoError(t, err)
	}
	_, err := prompt.Boxed{IgnoreThinking: true}.Write(specs, 0, "so </think> then", "1")
	assert.ErrorContains(t, err, `step "a": its first 11 bytes would be read as thinking`)
}

package prompt_test

import (
	"encoding/json"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/prompt"
)

var syntaxes = map[string]prompt.Syntax{
	"tagged": prompt.Tagged{}, "boxed": prompt.Boxed{},
	"loosely tagged": prompt.Tagged{Box: loose, IgnoreThinking: true}, "loosely boxed": prompt.Boxed{Box: loose, IgnoreThinking: true},
}

// fragments are what makes parsing hard; plain text stands between them.
var fragments = []string{`<step name="`, `">`, `"`, `</step>`, `<`, `>`, `&`, `&quot;`, `\boxed{`, `\boxed`, `{`, `}`, `<step name="a">`, "\n", " ", "0", "1", "a", "é", "\xff",
	`\`, `\\`, `\{`, `\}`, `\boxed 1`, `\fbox{`, `\text{`, "<think>", "</think>", "\xe6\x97"}

func hardText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var s string
		for _, f := range rapid.SliceOfN(rapid.OneOf(rapid.SampledFrom(fragments), rapid.String()), 0, 12).Draw(t, "parts") {
			s += f
		}
		return s
	})
}

func names() *rapid.Generator[[]string] {
	name := hardText().Filter(func(s string) bool { return s != "" && utf8.ValidString(s) })
	return rapid.SliceOfNDistinct(name, 1, 5, rapid.ID[string])
}

// tokenEnds draws an arbitrary split of a text into tokens, empty ones too.
func tokenEnds(t *rapid.T, text string) []int {
	ends := rapid.SliceOfN(rapid.IntRange(0, len(text)), 0, 20).Draw(t, "ends")
	slices.Sort(ends)
	return append(ends, len(text))
}

func contains(r prompt.Range, i int) bool { return r.Start <= i && i < r.End }

// checkTrace asserts what holds of every trace, whatever the text.
func checkTrace(t require.TestingT, specs []prompt.StepSpec, text string, ends []int, trace prompt.Trace) {
	require.Equal(t, text, trace.Text)
	require.Equal(t, len(ends), trace.Tokens)
	require.Len(t, trace.Steps, len(specs))
	require.Equal(t, len(specs)-1, trace.Final)

	broken := len(trace.Extra) > 0
	var present []prompt.Span
	for k, s := range trace.Steps {
		require.Equal(t, specs[k].Name, s.Name)
		require.Equal(t, k, s.Index)
		require.NotContains(t, []prompt.Status{prompt.StatusDuplicate, prompt.StatusSurplus}, s.Status)
		broken = broken || s.Status != prompt.StatusOK
		if s.Status == prompt.StatusMissing {
			require.True(t, s.Bytes.Empty() && s.Tokens.Empty() && s.Answer == "")
		} else {
			require.False(t, s.Bytes.Empty())
			present = append(present, s)
		}
	}
	for _, s := range trace.Extra {
		require.Contains(t, []prompt.Status{prompt.StatusDuplicate, prompt.StatusSurplus}, s.Status)
		require.Equal(t, s.Status == prompt.StatusSurplus, s.Index == -1)
		require.False(t, s.Bytes.Empty())
		present = append(present, s)
	}
	if broken {
		require.True(t, trace.Malformed())
	}

	for _, s := range append(present, trace.Steps...) {
		for _, r := range []prompt.Range{s.Bytes, s.AnswerBytes} {
			require.True(t, 0 <= r.Start && r.Start <= r.End && r.End <= len(text))
		}
		for _, r := range []prompt.Range{s.Tokens, s.AnswerTokens} {
			require.True(t, 0 <= r.Start && r.Start <= r.End && r.End <= len(ends))
		}
		require.True(t, s.Bytes.Start <= s.AnswerBytes.Start && s.AnswerBytes.End <= s.Bytes.End)
		require.Equal(t, text[s.AnswerBytes.Start:s.AnswerBytes.End], s.Answer)
	}

	// Steps never overlap, and each token belongs to the one step in which
	// it begins.
	owners := make([]int, len(text)+1)
	for i, s := range present {
		for b := s.Bytes.Start; b < s.Bytes.End; b++ {
			require.Zero(t, owners[b], "byte %d is in two steps", b)
			owners[b] = i + 1
		}
	}
	start := 0
	for token, end := range ends {
		for i, s := range present {
			require.Equal(t, owners[start] == i+1, contains(s.Tokens, token), "token %d and step %q", token, s.Name)
			if max(start, s.AnswerBytes.Start) < min(end, s.AnswerBytes.End) {
				require.True(t, contains(s.AnswerTokens, token))
			}
		}
		start = end
	}
}

// Whatever is written is read back: any names, any reasoning that can be
// written, any tokenisation.
func TestParseOfWrite(t *testing.T) {
	for name, syntax := range syntaxes {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			template := prompt.Template[string]{Syntax: syntax}
			var written []prompt.Written
			for _, name := range names().Draw(t, "names") {
				template.Steps = append(template.Steps, prompt.Step[string]{Name: name})
				written = append(written, prompt.Written{
					Reasoning: rapid.OneOf(rapid.String(), hardText()).Draw(t, "reasoning"),
					Answer:    rapid.OneOf(rapid.SampledFrom([]string{"-1", "3", "{x}", `\boxed{1}`, `"`}), rapid.StringN(1, 9, -1)).Draw(t, "answer"),
				})
			}
			text, err := template.Write(written)
			if err != nil {
				t.Skip(err)
			}
			ends := tokenEnds(t, text)
			trace := template.Parser().Parse(text, ends)
			checkTrace(t, template.Specs(), text, ends, trace)
			assert.Empty(t, trace.Problems)
			assert.Empty(t, trace.Extra)
			for k, s := range trace.Steps {
				assert.Equal(t, prompt.StatusOK, s.Status)
				assert.Equal(t, written[k].Answer, s.Answer)
				assert.Contains(t, text[s.Bytes.Start:s.Bytes.End], written[k].Reasoning)
			}
		}))
	}
}

// Plain reasoning is never refused.
func TestWriteTakesPlainText(t *testing.T) {
	for name, syntax := range syntaxes {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			specs := []prompt.StepSpec{{Name: "a"}}
			_, err := syntax.Write(specs, 0, rapid.StringMatching(`[^<\\]*`).Draw(t, "reasoning"), "1")
			require.NoError(t, err)
		}))
	}
}

// The form that the prompt asks for is the form that is parsed: read as a
// completion, the explanation has every step in its place.
func TestExplanationHasTheFormThatIsParsed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		template := prompt.Template[string]{}
		for _, name := range names().Draw(t, "names") {
			template.Steps = append(template.Steps, prompt.Step[string]{Name: name})
		}
		text := prompt.Tagged{}.Explain(template.Specs())
		trace := template.Parser().Parse(text, nil)
		assert.Empty(t, trace.Problems)
		for _, m := range template.Marks() {
			assert.Contains(t, text, m)
		}
	})
}

func TestParseOfAnything(t *testing.T) {
	for name, syntax := range syntaxes {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			text := hardText().Draw(t, "text") + hardText().Draw(t, "more")
			ends := tokenEnds(t, text)
			checkTrace(t, specs, text, ends, syntax.Parser(specs).Parse(text, ends))
		}))
	}
}

func fuzz(f *testing.F, syntaxes ...prompt.Syntax) {
	for _, s := range append(fragments, shorthand.Replace("[a{1}][b{0}][c{2}]"), shorthand.Replace("[a{1}[b[c{2}]")) {
		f.Add(s, []byte{3, 0, 7})
	}
	f.Fuzz(func(t *testing.T, text string, lengths []byte) {
		var ends []int
		end := 0
		for _, n := range lengths {
			end = min(end+int(n), len(text))
			ends = append(ends, end)
		}
		ends = append(ends, len(text))
		for _, syntax := range syntaxes {
			trace := syntax.Parser(specs).Parse(text, ends)
			checkTrace(t, specs, text, ends, trace)
			data, err := json.Marshal(trace)
			require.NoError(t, err)
			var back prompt.Trace
			require.NoError(t, json.Unmarshal(data, &back))
			require.Equal(t, trace, back)
		}
	})
}

func FuzzTagged(f *testing.F) {
	fuzz(f, prompt.Tagged{}, prompt.Tagged{Box: loose, IgnoreThinking: true})
}

func FuzzBoxed(f *testing.F) {
	fuzz(f, prompt.Boxed{}, prompt.Boxed{Box: loose, IgnoreThinking: true})
}

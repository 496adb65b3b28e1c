package tokenizer_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/prompt"
)

// The marks of a syntax can be tokens of their own, single characters too.
func TestMarksOfASyntaxAsAddedTokens(t *testing.T) {
	template := prompt.Template[string]{Steps: []prompt.Step[string]{{Name: "label"}}, Input: func(s string) string { return s }}
	text := `<step name="label">so }} \boxed{3}}</step>`
	tok, err := tokenizer.Train(slices.Values([]string{text, text, text}), tokenizer.TrainOptions{
		VocabSize: 300, Special: []string{"<|end|>"}, Added: template.Marks(),
	})
	require.NoError(t, err)
	for _, mark := range template.Marks() {
		id, ok := tok.ID(mark)
		require.True(t, ok, mark)
		require.Equal(t, []int32{id}, tok.Encode(mark))
		require.Equal(t, mark, string(tok.Bytes(id)))
	}
	brace, _ := tok.ID("}")
	n := 0
	for _, id := range tok.Encode(text) {
		if id == brace {
			n++
		}
	}
	require.Equal(t, 4, n, "never merged")
	data, err := tok.MarshalJSON()
	require.NoError(t, err)
	again, err := tokenizer.Parse(data)
	require.NoError(t, err)
	require.Equal(t, tok.Encode(text), again.Encode(text))
}

package distill_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/prompt"
)

func TestCut(t *testing.T) {
	parser := prompt.Boxed{}.Parser([]prompt.StepSpec{{Name: "a"}, {Name: "label", Answers: []string{"0", "1"}}})
	for name, c := range map[string]struct {
		pieces []string
		want   int // tokens before the answer, -1 if it cannot be cut
	}{
		"answer in a token of its own":    {[]string{`x \boxed{`, `0`, `} so \boxed{`, `1`, `}`}, 3},
		"answer joined with what follows": {[]string{`x \boxed{0} so `, `\boxed{`, `1}`}, 2},
		"answer joined with its mark":     {[]string{`x \boxed{0} so \boxed`, `{1`, `}`}, -1},
		"one token":                       {[]string{`x \boxed{0} so \boxed{1}`}, -1},
		"answer not allowed":              {[]string{`x \boxed{0} so \boxed{`, `2`, `}`}, -1},
		"no answer":                       {[]string{`x \boxed{0}`}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			text, ends, tokens := "", []int(nil), []int32(nil)
			for i, p := range c.pieces {
				text += p
				ends, tokens = append(ends, len(text)), append(tokens, int32(i))
			}
			tr := parser.Parse(text, ends)
			got, ok := distill.Cut(&tr, tokens, ends)
			require.Equal(t, c.want >= 0, ok)
			if ok {
				require.Equal(t, tokens[:c.want], got)
			}
		})
	}
}

package relevance

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rollout"
)

// Tokens may end inside a character, and JSON holds no half ones: recorded texts of tokens
// are still the answer together. 灯 has the bytes e7 81 af.
func TestTokenTexts(t *testing.T) {
	const text = "a灯é!"
	for _, c := range []struct {
		text string
		ends []int
		want []string
	}{
		{text, []int{1, 4, 6, 7}, []string{"a", "灯", "é", "!"}},
		{text, []int{2, 3, 4, 5, 7}, []string{"a", "", "灯", "", "é!"}},
		{text, []int{3, 5, 7, 7}, []string{"a", "灯", "é!", ""}}, // a special token has no bytes
		{text[:3], []int{2, 3}, []string{"a", "\xe7\x81"}},      // cut off at the length limit
		{"\x81a", []int{1, 2}, []string{"\x81", "a"}},
		{"", nil, []string{}},
	} {
		got := tokenTexts(c.text, c.ends)
		require.Equal(t, c.want, got)
		require.Equal(t, c.text, strings.Join(got, ""))
	}
	recorded, err := json.Marshal(tokenTexts(text, []int{2, 3, 4, 5, 7}))
	require.NoError(t, err)
	require.JSONEq(t, `["a", "", "灯", "", "é!"]`, string(recorded))
}

// A row without a label leaves its answers unscorable: null, which is neither 0 nor an
// error that ends the run.
func TestUnscorableRolloutsAreRecorded(t *testing.T) {
	p, err := prepared(t, toy(20), toySettings())
	require.NoError(t, err)
	for reward, want := range map[float64]string{math.NaN(): `"reward":null`, 0: `"reward":0`} {
		c := rollout.Completion{Text: "a", Ends: []int{1}, Adv: []float64{0}, Keep: []bool{true}, Rewards: []float64{reward}}
		text, err := json.Marshal(p.rolloutLine(p.src.Train(0), &c))
		require.NoError(t, err)
		require.Contains(t, string(text), want)
	}
}

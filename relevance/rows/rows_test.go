package rows

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestShuffled(t *testing.T) {
	const n = 7
	at := Shuffled(n, 3)
	var epochs [2][]int
	for i := range 2 * n {
		epochs[i/n] = append(epochs[i/n], at(i))
	}
	for _, order := range epochs {
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6}, slices.Sorted(slices.Values(order)))
	}
	assert.NotEqual(t, epochs[0], epochs[1])
	assert.Equal(t, epochs[0][2], at(2), "going back gives the same")
	assert.Panics(t, func() { Shuffled(0, 1) })
}

func TestLabelIndex(t *testing.T) {
	s := Source{Labels: []string{"-1", "0"}}
	assert.Equal(t, 1, s.LabelIndex("0"))
	assert.Equal(t, -1, s.LabelIndex("5"))
}

func TestLabelOfNoTruth(t *testing.T) {
	assert.Empty(t, (&Example{}).Label())
}

func TestRenderFacts(t *testing.T) {
	assert.Equal(t, "query: q\nbody: b", Render(Example{Query: "q", Document: Document{Body: "b"}}))
	e := Example{Query: "q", Document: Document{Title: "t", Fields: []Field{{"brand", "b"}}}, Facts: []Field{{"head noun", "yes"}, {"brand", "none"}}}
	assert.Equal(t, "query: q\ntitle: t\nfacts: brand b\ncriteria: head noun yes, brand none", Render(e))
}

func TestDifferentKeepsTheFirstOfEqualTexts(t *testing.T) {
	lamp, fields := Document{Title: "lamp"}, Document{Title: "lamp", Fields: []Field{{Name: "colour", Value: "red"}}}
	assert.Equal(t, []Document{lamp, fields}, Different([]Document{lamp, fields, {Title: "lamp"}, fields}))
	assert.Empty(t, Different(nil))
}

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"a b": "a b", " a": "a", "a  b": "a b", "a\nquery: b": "a query: b", "a\u2028b\u3000c\u00a0d": "a b c d", "a\x00\x1b[1mb": "a[1mb", "a ": "a", "": "",
	} {
		assert.Equal(t, want, Line(text), "%q", text)
	}
}

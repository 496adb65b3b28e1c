package criteria

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// shop is a small made-up catalogue.
func shop() []rows.Document {
	field := func(name, value string) rows.Field { return rows.Field{Name: name, Value: value} }
	return []rows.Document{
		{Title: "Acme X200 wireless mouse", Body: "Optical, 1600 dpi", Fields: []rows.Field{field("brand", "Acme"), field("type", "mouse")}},
		{Title: "Borel mouse pad", Body: "Soft pad for wireless mice", Fields: []rows.Field{field("brand", "Borel"), field("type", "mouse pad")}},
		{Title: "Borel Q1 keyboard", Fields: []rows.Field{field("brand", "Borel"), field("backlit", "true")}},
		{Title: "联想无线鼠标", Body: "黑色"},
	}
}

func judge(t *testing.T, name string, params map[string]any, query string, document int) Finding {
	t.Helper()
	c, err := New(name, params)
	require.NoError(t, err)
	docs := shop()
	col := NewCollection(docs, DefaultRoles())
	f := c.Judge(col.Query(query), col.Document(docs[document]))
	assert.Contains(t, c.Answers(), f.Answer)
	return f
}

func TestNewRefusesWhatItDoesNotKnow(t *testing.T) {
	_, err := New("colour", nil)
	assert.ErrorContains(t, err, `no criterion "colour", want one of`)
	_, err = New("coverage", map[string]any{"fields": "title"})
	assert.EqualError(t, err, `criteria: coverage: no parameter "fields", want one of: field, idf, rest`)
	_, err = New("coverage", map[string]any{"field": "name"})
	assert.ErrorContains(t, err, `criteria: coverage: no field "name"`)
	_, err = New("coverage", map[string]any{"idf": 3})
	assert.ErrorContains(t, err, `criteria: coverage: parameter "idf"`)
}

// Every built-in criterion gives one of its answers, a score from 0 to 1, a fact
// and a reason, whatever the pair.
func TestBuiltins(t *testing.T) {
	docs := append(shop(), rows.Document{Title: "-"})
	col := NewCollection(docs, DefaultRoles())
	for _, name := range Names() {
		c, err := New(name, nil)
		require.NoError(t, err)
		assert.NotEmpty(t, c.Sentence())
		for _, q := range []string{"mouse", "Borel wireless mouse", "鼠标", "x200", "?", ""} {
			for _, d := range docs {
				f := c.Judge(col.Query(q), col.Document(d))
				assert.Contains(t, c.Answers(), f.Answer, name)
				assert.True(t, f.Score >= 0 && f.Score <= 1, "%s: %v", name, f)
				assert.NotEmpty(t, f.Fact, name)
				assert.NotEmpty(t, f.Reason, name)
			}
		}
		row := Row(nil, []Criterion{c}, col.Query("mouse"), col.Document(docs[0]))
		assert.Len(t, row, len(Columns([]Criterion{c})))
	}
}

func TestCoverage(t *testing.T) {
	assert.Equal(t, Finding{"some", .5, "1/2", "the title lacks pads"}, judge(t, "coverage", nil, "mouse pads", 0))
	assert.Equal(t, Finding{"all", 1, "2/2", "the title has all words"}, judge(t, "coverage", nil, "mouse pads", 1))
	assert.Equal(t, "all", judge(t, "coverage", nil, "无线鼠标", 3).Answer)
	assert.Greater(t, judge(t, "coverage", map[string]any{"idf": true}, "keyboard mouse", 2).Score, .5, "keyboard is rarer")
}

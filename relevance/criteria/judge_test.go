package criteria

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// market is a made-up catalogue that writes names with capitals, large enough to
// learn which words name kinds of things.
func market() []rows.Document {
	field := func(name, value string) rows.Field { return rows.Field{Name: name, Value: value} }
	docs := []rows.Document{
		{Title: "Acme X200 wireless mouse", Fields: []rows.Field{field("brand", "Acme"), field("product_type", "mouse"), field("price", "20")}},
		{Title: "Acme X300 mouse", Fields: []rows.Field{field("brand", "Acme"), field("price", "40")}},
		{Title: "Borel laptop 16 GB DDR4 512 GB SSD", Body: "with a mouse", Fields: []rows.Field{field("brand", "Borel"), field("price", "900")}},
		{Title: "Borel laptop case 39 cm", Fields: []rows.Field{field("brand", "Borel"), field("compatible with", "laptop"), field("weight", "0.5 kg")}},
		{Title: "Cord phone case", Fields: []rows.Field{field("brand", "Cord Inc"), field("suitable for", "Phone 8")}},
		{Title: "Cord TN-2110 toner for Borel printer", Fields: []rows.Field{field("brand", "Cord Inc"), field("pages", "1500")}},
		{Title: "Cord 2 m HDMI cable without adapter"},
	}
	for range 4 {
		docs = append(docs, rows.Document{Title: "Plain Leather case"}, rows.Document{Title: "Plain Optical mouse"}, rows.Document{Title: "Plain Thin laptop"})
	}
	return docs
}

// Each line: criterion, query, document by its place, and the answer.
func TestAnswers(t *testing.T) {
	docs := market()
	col := NewCollection(docs, DefaultRoles())
	for _, c := range []struct {
		name     string
		params   map[string]any
		query    string
		document int
		answer   string
		fact     string
	}{
		{"type", nil, "mouse", 0, "same", "mouse"},
		{"type", nil, "laptop", 3, "part", "laptop case"},
		{"type", nil, "mouse", 3, "other", "laptop case"},
		{"head", nil, "acme mice or mouse", 1, "yes", "yes"},
		{"head", nil, "mouse for laptop", 2, "no", "no"},
		{"head", nil, "laptop 512 gb 16gb", 2, "yes", "yes"},
		{"head", map[string]any{"bigram": true}, "black laptop case", 3, "yes", "yes"},
		{"head", map[string]any{"bigram": true}, "case", 3, None, "one word"},
		{"category", nil, "laptop", 2, "in", "in"},
		{"category", nil, "laptop", 3, "out", "out"},
		{"category", nil, "acme mouse", 0, None, "not only a category"},
		{"brand", nil, "acme mouse", 0, "match", "match"},
		{"brand", nil, "cord inc case", 4, "match", "match"},
		{"brand", nil, "acme mouse", 2, "mismatch", "other than acme"},
		{"brand", nil, "mouse", 2, None, "none named"},
		{"model", nil, "cord tn-2110 toner", 5, "match", "tn-2110"},
		{"model", nil, "tn2110", 5, "match", "tn2110"},
		{"model", nil, "x200 mouse", 1, "mismatch", "not x200"},
		{"model", nil, "512 gb laptop", 2, None, "none named"},
		{"attribute", nil, "16000 mb laptop", 2, "match", "16000 mb"},
		{"attribute", nil, "laptop 8gb", 2, "mismatch", "not 8gb"},
		{"attribute", nil, "390 mm case", 3, "match", "390 mm"},
		{"attribute", nil, "500 g case", 3, "match", "500 g"},
		{"attribute", nil, "5 kg mouse", 0, "unknown", "5 kg unknown"},
		{"attribute", nil, "mouse", 0, None, "none asked"},
		{"range", nil, "mouse under 30", 0, "inside", "inside"},
		{"range", nil, "mouse under 30", 1, "outside", "outside"},
		{"range", nil, "mouse over 30", 1, "inside", "inside"},
		{"range", nil, "cable between 1 and 3 m", 6, "inside", "inside"},
		{"range", nil, "cable 3-5 m", 6, "outside", "outside"},
		{"range", nil, "cable up to 250 cm", 6, "inside", "inside"},
		{"range", nil, "case 10-15inch", 3, "outside", "outside"}, // of 39 cm
		{"range", nil, "case 15-16inch", 3, "inside", "inside"},
		{"range", nil, "case no more than 45 cm", 3, "inside", "inside"},
		{"range", nil, "case not less than 45 cm", 3, "outside", "outside"},
		{"range", nil, "case at most 35 cm", 3, "outside", "outside"},
		{"range", nil, "mouse under 30", 4, "unknown", "unknown"},
		{"range", nil, "mouse", 0, None, "none set"},
		{"accessory", nil, "laptop", 2, "product", "product"},
		{"accessory", nil, "laptop", 3, "after", "case after match"},
		{"accessory", nil, "printer", 5, "for", "for printer"},
		{"accessory", nil, "laptop", 0, "absent", "absent"},
		{"accessory", map[string]any{"words": []string{"ssd"}}, "laptop", 2, "after", "ssd after match"},
		{"after", nil, "laptop", 3, "kind", "then case"},
		{"after", nil, "laptop", 2, "number", "then 16"},
		{"after", nil, "mouse", 1, "end", "end of title"},
		{"compatibility", nil, "case for phone", 4, "match", "for phone"},
		{"compatibility", nil, "case for phone", 3, "mismatch", "not for phone"},
		{"compatibility", nil, "phone 8", 3, None, "not asked"},
		{"negation", nil, "cable without adapter", 6, "kept", "no adapter"},
		{"negation", nil, "mouse -wireless", 0, "broken", "has wireless"},
		{"negation", nil, "adapter-free cable", 6, "kept", "no adapter"},
		{"negation", nil, "wireless-free mouse", 0, "broken", "has wireless"},
		{"negation", nil, "mouse w/o wireless", 0, "broken", "has wireless"},
		{"negation", nil, "laptop -16 gb", 2, None, "nothing excluded"},
		{"negation", nil, "case no more than 45 cm", 3, None, "nothing excluded"},
		{"negation", nil, "case", 3, None, "nothing excluded"},
		{"specifications", nil, "ssd", 2, "among", "among"},
		{"specifications", nil, "laptop", 2, "before", "before"},
		{"position", nil, "ssd", 2, "later", "word 8"},
		{"phrase", nil, "note book", 0, "no", "no"},
		{"phrase", nil, "lap top case", 3, "yes", "yes"},
		{"typo", nil, "lpatop case", 3, "all", "2/2"},
		{"typo", nil, "wirless muse", 0, "all", "2/2"},
		{"typo", nil, "tn2111 toner", 5, "some", "1/2"},
	} {
		made, err := New(c.name, c.params)
		require.NoError(t, err)
		f := made.Judge(col.Query(c.query), col.Document(docs[c.document]))
		assert.Equal(t, c.answer, f.Answer, "%s: %q on %q: %+v", c.name, c.query, docs[c.document].Title, f)
		assert.Equal(t, c.fact, f.Fact, "%s: %q on %q", c.name, c.query, docs[c.document].Title)
		assert.Contains(t, made.Answers(), f.Answer)
	}
}

// The words that end the market's names are learned as kinds of things, and which
// of them go with others.
func TestVocabulary(t *testing.T) {
	v := NewCollection(market(), DefaultRoles()).words
	assert.InDelta(t, 6./11, v.noun["case"], 1e-12, "6 of 6 titles, and 5 documents of prior")
	assert.InDelta(t, 6./11, v.noun["mouse"], 1e-12)
	assert.Zero(t, v.noun["acme"])
	assert.Greater(t, v.goes["case"], v.goes["mouse"])
}

// What is learned of a word comes from other queries: one query with one document
// says 1/2 of its deviation, drawn to 0 by the weight of one more query.
func TestLessons(t *testing.T) {
	docs := market()
	col := NewCollection(docs, DefaultRoles())
	pair := func(query string, document int, grade float64) Judged {
		return Judged{col.Query(query), col.Document(docs[document]), grade}
	}
	l := Learn([]Judged{pair("laptop", 2, 1), pair("laptop", 3, 0), pair("phone", 4, 0), pair("mouse", 2, .3)})
	// Mean grade of the three with all words in the title: 1/3. "case" deviates by
	// -1/3 in two queries.
	const each = -1. / 3 / 2
	assert.InDelta(t, 2*each/(1+1), l.Value("case", col.Query("tablet")), 1e-12)
	assert.InDelta(t, each/(.5+1), l.Value("case", col.Query("laptop")), 1e-12, "its own pair does not count")
	assert.Zero(t, l.Value("wireless", col.Query("laptop")))
	row := l.Row(nil, col.Query("tablet"), col.Document(docs[4]))
	assert.Len(t, row, 4)
	assert.InDelta(t, -1./6, row[0], 1e-12)
}

// Documents with the same fields lie together, whatever they are called, and a
// second collection of the same documents is the same.
func TestAlike(t *testing.T) {
	docs := market()
	a, b := NewCollection(docs, DefaultRoles()), NewCollection(docs, DefaultRoles())
	like := &Alike{}
	score := func(c *Collection, document int) float64 {
		return like.Judge(c.Query("mouse"), c.Document(docs[document])).Score
	}
	assert.Greater(t, score(a, 1), score(a, 3))
	for i := range docs {
		assert.Equal(t, score(a, i), score(b, i))
	}
}

// The same pair has the same bits, whatever order a map is walked in.
func TestNGramsAreTheSameEveryTime(t *testing.T) {
	c := NewCollection(nil, DefaultRoles())
	q, d := c.Query("red red rose rosette for the red garden"), c.Document(rows.Document{Title: "a red rosette, red rose seeds and a garden gnome, red, red"})
	n := &NGram{}
	first := n.Judge(q, d)
	for range 200 {
		assert.Equal(t, first, n.Judge(q, d))
		assert.Equal(t, (&NGram{Share: true}).Judge(q, d).Score, (&NGram{Share: true}).Judge(q, d).Score)
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string][]string{
		"Wi-Fi 2.5GHz, v1.": {"wi", "fi", "2.5ghz", "v1"},
		"ＡＢＣ　１２３":           {"abc", "123"},
		"无线鼠标 x 黑":          {"无线", "线鼠", "鼠标", "x", "黑"},
		"":                  nil,
	} {
		assert.Equal(t, want, append([]string(nil), Words(text)...), text)
	}
	for word, want := range map[string]string{"batteries": "battery", "boxes": "box", "cables": "cable", "bus": "bus", "glass": "glass", "switches": "switch", "ties": "tie", "gps": "gps"} {
		assert.Equal(t, want, Stem(word))
	}
}

// Whatever the texts, criteria give one of their answers and a score from 0 to 1.
func FuzzJudge(f *testing.F) {
	f.Add("laptop under 5-10 kg", "Borel laptop 16 GB", "with 2.5 cm case", "type", "鼠标")
	f.Add("-x no no x-free 10-", "4 for w", "", "\x00", "\xff")
	f.Add("mouse under 5", "w/o", "", "price", "nan")
	docs := market()
	col := NewCollection(docs, DefaultRoles())
	all := Products()
	for _, name := range Names() {
		c, err := New(name, nil)
		if err != nil {
			f.Fatal(err)
		}
		all = append(all, c)
	}
	f.Fuzz(func(t *testing.T, query, title, body, name, value string) {
		q := col.Query(query)
		d := col.Document(rows.Document{Title: title, Body: body, Fields: []rows.Field{{Name: name, Value: value}}})
		for _, c := range all {
			got := c.Judge(q, d)
			if !(got.Score >= 0 && got.Score <= 1) || got.Fact == "" || got.Reason == "" {
				t.Fatalf("%s: %+v", c.Name(), got)
			}
			assert.Contains(t, c.Answers(), got.Answer, c.Name())
		}
	})
}

// In titles with capitals throughout, the small words are adjectives and name no thing.
func TestAccessoryOfCapitalisedTitles(t *testing.T) {
	var docs []rows.Document
	for _, thing := range []string{"Circular Saw", "Circular Saw Blade", "Ceiling Fan", "Ceiling Fan Blade", "Leaf Blower", "Leaf Blower Bag", "Ladder"} {
		for _, how := range []string{"Ryvex stainless steel ", "Bolton cordless ", "Osten 2 gal. ", "Hartman LED ", "Milford "} {
			docs = append(docs, rows.Document{Title: how + thing}, rows.Document{Title: how + thing + " in heavy duty"})
		}
	}
	c := NewCollection(docs, DefaultRoles())
	for title, want := range map[string]string{
		"Ryvex stainless steel Circular Saw":       "product",
		"Osten 2 gal. Circular Saw in heavy duty":  "product",
		"Bolton cordless Circular Saw Blade":       "after",
		"Milford Circular Saw Blade, heavy duty":   "after",
		"Hartman Blade for Circular Saw, cordless": "for",
		"Hartman LED Ladder with Circular Saw":     "with",
		"Milford cordless Ceiling Fan":             "absent",
		"Milford Ladder, Circular Saw":             "before",
	} {
		assert.Equal(t, want, (&Accessory{}).Judge(c.Query("circular saw"), c.Document(rows.Document{Title: title})).Answer, title)
	}
	assert.Equal(t, "unknown", (&Type{}).Judge(c.Query("circular saw"), c.Document(docs[0])).Answer, "steel is no type")
}

package lexical

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/examples/relevance/internal/rows"
)

func TestStem(t *testing.T) {
	for word, want := range map[string]string{
		"batteries": "battery", "boxes": "box", "cases": "case", "switches": "switch",
		"cables": "cable", "wireless": "wireless", "glasses": "glass", "asus": "asus",
		"tvs": "tvs", "usb": "usb", "headphones": "headphone", "": "",
	} {
		assert.Equal(t, want, Stem(word), word)
	}
}

func TestWords(t *testing.T) {
	assert.Equal(t, []string{"brother", "tn", "2110", "toner", "1", "5", "ü"}, Words("Brother TN-2110 toner, 1.5 Ü"))
}

func pair(query, title, body, supplier string) rows.Example {
	d := rows.Document{Title: title, Body: body}
	if supplier != "" {
		d.Fields = []rows.Field{{Name: "brand", Value: supplier}}
	}
	return rows.Example{Query: query, Document: d, Truth: []string{"1"}}
}

func TestInnerSteps(t *testing.T) {
	j := newJudge([]rows.Example{pair("q", "t", "b", "HP"), pair("q", "t", "b", "HP Enterprise"), pair("q", "t", "b", "Dell")})
	for _, c := range []struct {
		e       rows.Example
		answers [numInner]string
		why     [numInner]string
	}{
		{
			pair("hp laptop bags", "HP Laptop Bag 15", "", "HP"),
			[numInner]string{Yes, InTitle, No, Match},
			[numInner]string{"bag, title bag", "all in title", "nothing extra", "hp, by hp"},
		},
		{
			pair("hp laptop", "Sleeve for laptops", "fits HP", "Dell"),
			[numInner]string{Yes, InText, Yes, Mismatch},
			[numInner]string{"laptop, title laptop", "all with text", "extra sleeve", "hp, by dell"},
		},
		{
			pair("hp enterprise switch", "Router", "", ""),
			[numInner]string{No, InPieces, No, Mismatch},
			[numInner]string{"switch, title silent", "missing hp", "nothing extra", "hp enterprise, by silent"},
		},
		{
			pair("mouse", "Mouse", "", "HP"),
			[numInner]string{Yes, InTitle, No, None},
			[numInner]string{"mouse, title mouse", "all in title", "nothing extra", "nothing named"},
		},
	} {
		for k, th := range j.inner(&c.e) {
			assert.Equal(t, rows.Thought{Reasoning: c.why[k], Answer: c.answers[k]}, th, "%s, step %d", c.e.Query, k)
		}
	}
}

func TestClip(t *testing.T) {
	d := Clip(rows.Document{
		Title:  "A B c d e f g h i j k l m n o p",
		Body:   "A, new WORD; o 1 2 3 4 5 6 7",
		Fields: []rows.Field{{Name: "supplier", Value: "Fuji Xerox"}, {Name: "type", Value: "late"}},
	})
	assert.Equal(t, rows.Document{
		Title:  "a b c d e f g h i j k l m n",
		Body:   "new word o 1 2 3 4 5",
		Fields: []rows.Field{{Name: "supplier", Value: "fuji xerox"}},
	}, d)
	assert.Equal(t, "late", Clip(rows.Document{Title: "a", Fields: []rows.Field{{Name: "type", Value: "Late A"}}}).Body)
}

// What the model reads is enough to find every step's answer: clipping again
// changes nothing.
func TestClipIsIdempotent(t *testing.T) {
	word := rapid.StringMatching(`[A-Za-z0-9é,. -]{0,9}`)
	text := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(word, 0, 30).Draw(t, "words"), " ") })
	rapid.Check(t, func(t *rapid.T) {
		d := Clip(rows.Document{
			Title:  text.Draw(t, "title"),
			Body:   text.Draw(t, "body"),
			Fields: []rows.Field{{Name: "type", Value: text.Draw(t, "type")}, {Name: "brand", Value: text.Draw(t, "brand")}},
		})
		assert.Equal(t, d, Clip(d))
	})
}

func TestNew(t *testing.T) {
	train := []rows.Example{pair("red mouse", "red mouse", "", ""), pair("red mice", "mouse", "", "")}
	train[0].ID, train[1].ID = "a", "b"
	test := []rows.Example{pair("MOUSE pads!", "Pad", "", ""), pair("lamp", "lamp", "", "")}
	task := Task{Name: "n", Labels: []string{"0", "1"}, Meanings: []string{"bad", "good"}, Relevant: "1"}
	s, err := New(task, train, test)
	require.NoError(t, err)
	require.Len(t, s.Tests, 2)
	assert.Equal(t, Random, s.Tests[0].Name)
	assert.Len(t, s.Tests[0].Examples, 2)
	assert.Equal(t, LongTail, s.Tests[1].Name)
	require.Len(t, s.Tests[1].Examples, 1)
	assert.Equal(t, "lamp", s.Tests[1].Examples[0].Query)

	e := s.Tests[0].Examples[0]
	assert.Equal(t, "mouse pads", e.Query)
	assert.Equal(t, []string{Yes, InPieces, No, None, "1"}, e.Truth)
	assert.Nil(t, e.Teach, "test labels are not taught")
	for k, step := range s.Steps {
		assert.Contains(t, step.Answers, e.Truth[k])
	}
	seen := map[string]bool{s.Train(0).ID: true, s.Train(1).ID: true}
	assert.Len(t, seen, 2)
	// A teacher without errors states the truth.
	for i := range 2 {
		e := s.Train(i)
		for k, th := range e.Teach(rand.New(rand.NewPCG(1, 1))) {
			assert.Equal(t, e.Truth[k], th.Answer)
		}
	}

	_, err = New(task, nil, test)
	assert.ErrorContains(t, err, "no training pairs")
	_, err = New(task, train, nil)
	assert.ErrorContains(t, err, "no test pairs")
	s, err = New(task, train, train)
	require.NoError(t, err)
	assert.Len(t, s.Tests, 1, "no LONGTAIL set without long-tail queries")
}

func TestTeacherRates(t *testing.T) {
	const n = 20000
	inner := newJudge().inner(new(rows.Example))
	teacher := DefaultTeacher()
	rng := rand.New(rand.NewPCG(1, 1))
	var wrong [numInner + 1]float64
	for range n {
		for k, th := range teacher.trace(rng, inner, "1", []string{"0", "1", "2"}) {
			if k < numInner && th.Answer != inner[k].Answer || k == numInner && th.Answer != "1" {
				wrong[k] += 1. / n
			}
		}
	}
	for k := range numInner {
		assert.InDelta(t, teacher.Noise, wrong[k], .01)
	}
	assert.InDelta(t, teacher.LabelNoise, wrong[numInner], .01)
}

func TestOpen(t *testing.T) {
	var file strings.Builder
	for _, q := range strings.Fields("mouse lamp desk camera tablet phone radio printer scanner monitor") {
		file.WriteString(`{"query":"` + q + `","document":{"title":"` + q + ` one"},"label":2}` + "\n")
	}
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(file.String()), 0o600))
	labels := []string{"0", "1", "2"}
	total := 0
	for fold := range Folds {
		s, err := Open(Config{File: path, Labels: labels, Fold: fold})
		if err != nil { // ten queries need not reach every fold
			assert.ErrorContains(t, err, "no test pairs")
			continue
		}
		assert.Equal(t, "1", s.Relevant)
		total += len(s.Tests[0].Examples)
		assert.Equal(t, len(s.Tests[0].Examples), len(s.Tests[1].Examples), "no query shares a word with another")
	}
	assert.Equal(t, 10, total, "each pair is tested in exactly one fold")

	_, err := Open(Config{File: path, Labels: labels, Fold: Folds})
	assert.ErrorContains(t, err, "fold 5, want 0 to 4")
	_, err = Open(Config{File: path, Fold: 0})
	assert.ErrorContains(t, err, "0 labels are given")
	_, err = Open(Config{File: path, Labels: []string{"0", "1"}})
	assert.ErrorContains(t, err, `pairs.jsonl:1: field "label": is 2, want one of 0, 1`)
}

func TestFoldIgnoresSpelling(t *testing.T) {
	assert.Equal(t, foldOf("Bluetooth speakers"), foldOf("bluetooth-speaker"))
}

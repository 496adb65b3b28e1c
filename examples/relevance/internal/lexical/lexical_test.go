package lexical

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/rows"
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

// Clipping changes what the steps are about: their truth is told anew.
func TestClip(t *testing.T) {
	task := Task{Labels: []string{"0", "1"}, Relevant: "1"}
	s, err := New(task, []rows.Example{pair("red mouse", "A red,  optical\nMouse", "", "")}, []rows.Example{pair("lamp", "Lamp", "", "")})
	require.NoError(t, err)
	require.Equal(t, 1, s.Size)
	require.Equal(t, "A red, optical Mouse", s.Train(0).Document.Title, "only white space changes")
	require.Equal(t, []string{Yes, InTitle, No, None, "1"}, s.Train(0).Truth)
	require.NoError(t, s.Clip(clipper{}))
	require.Equal(t, "A re", s.Train(7).Document.Title)
	require.Equal(t, []string{No, InPieces, No, None, "1"}, s.Train(7).Truth)
	require.Equal(t, "Lamp", s.Tests[0].Examples[0].Document.Title)
	require.Equal(t, "mou, title silent", s.Train(7).Teach(rand.New(rand.NewPCG(1, 1)))[stepHead].Reasoning)
	require.ErrorIs(t, s.Clip(clipper{os.ErrInvalid}), os.ErrInvalid)
}

// clipper cuts titles to four bytes, and words to three.
type clipper struct{ err error }

func (c clipper) Clip(e rows.Example) (rows.Example, error) {
	e.Document.Title = e.Document.Title[:4]
	return e, c.err
}

func (clipper) Quote(word string) string { return word[:3] }

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
	assert.Equal(t, "MOUSE pads!", e.Query)
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
	tested := map[string]bool{}
	for fold := range Folds {
		s, err := Open(Config{File: path, Labels: labels, Fold: fold})
		require.NoError(t, err)
		assert.Equal(t, "1", s.Relevant)
		assert.Len(t, s.Tests[0].Examples, 2, "ten queries in five folds")
		for _, e := range s.Tests[0].Examples {
			tested[e.Query] = true
		}
		assert.Equal(t, len(s.Tests[0].Examples), len(s.Tests[1].Examples), "no query shares a word with another")
	}
	assert.Len(t, tested, 10, "each pair is tested in exactly one fold")

	_, err := Open(Config{File: path, Labels: labels, Fold: Folds})
	assert.ErrorContains(t, err, "fold 5, want 0 to 4")
	_, err = Open(Config{File: path, Fold: 0})
	assert.ErrorContains(t, err, `the only label is ["2"], want at least two`)
	_, err = Open(Config{File: path, Labels: []string{"0", "1"}})
	assert.ErrorContains(t, err, `pairs.jsonl:1: field "label": is 2, want one of 0, 1`)
}

func TestFoldIgnoresSpelling(t *testing.T) {
	assert.Equal(t, foldKey("Bluetooth speakers"), foldKey("bluetooth-speaker"))
	assert.NotEqual(t, foldKey("🙂"), foldKey("🙃"))
}

package relevance

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// Every form of student learns from the model folder of another run, whose beliefs are
// asked for once, and its own folder says what it said.
func TestStudents(t *testing.T) {
	c := toySettings()
	c.Student.Encoder, c.Reinforce.Steps, c.Warmup.Steps = nil, 0, 60
	teacher := filepath.Join(t.TempDir(), "teacher")
	_, err := Train(t.Context(), toy(200), c, teacher, Options{})
	require.NoError(t, err)

	c.Policy, c.Warmup.Steps = Pretrained{Dir: filepath.Join(teacher, PolicyFolder)}, 0
	scratch := toySettings().Student.Encoder
	beliefs, ranked := filepath.Join(t.TempDir(), "beliefs.json"), filepath.Join(t.TempDir(), "ranked.json")
	for name, change := range map[string]func(*Student){
		"softmax":                      func(s *Student) { s.StepWeight = 1 },
		"ordinal, encoder of teacher":  func(s *Student) { s.Head, s.StepWeight, s.Encoder = distill.HeadOrdinal, 1, Teacher{Layers: 1} },
		"decoder":                      func(s *Student) { s.Form, s.Soft = FormDecoder, 0 },
		"decoder of the teacher":       func(s *Student) { s.Form, s.Encoder, s.StepWeight = FormDecoder, Teacher{}, 1 },
		"bi-encoder":                   func(s *Student) { s.Form, s.Batch, s.StepWeight = FormBiEncoder, 4, 1 },
		"bi-encoder, lists of teacher": func(s *Student) { s.Form, s.Encoder, s.Ranking = FormBiEncoder, Teacher{}, distill.ListKL{} },
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.Student.Encoder, c.Student.Examples, c.Student.Epochs, c.Student.StepWeight = scratch, 64, 2, 0
			change(&c.Student)
			o := Options{Beliefs: beliefs}
			if c.Student.Form == FormBiEncoder {
				o.Beliefs = ranked
			}
			dir := filepath.Join(t.TempDir(), "run")
			r, err := Train(t.Context(), toy(200), c, dir, o)
			require.NoError(t, err)
			stage := r.Stages[len(r.Stages)-1]
			require.Equal(t, report.KindStudent, stage.Kind)
			require.Equal(t, "teacher: policy", stage.Note)

			src := toy(200)
			s, err := Open(t.Context(), filepath.Join(dir, StudentFolder), src, "cpu")
			require.NoError(t, err)
			defer s.Close()
			scores, err := Evaluate(t.Context(), s, src, src.Tests[0].Examples, false)
			require.NoError(t, err)
			require.Equal(t, stage.Tests["TEST"].Accuracy, scores.Accuracy)
			require.Equal(t, stage.Tests["TEST"].Reliability, scores.Reliability)
			said, err := s.Score(t.Context(), "red mouse", []rows.Document{{Title: "red mouse"}, {Title: "desk"}}, ScoreOptions{Steps: true})
			require.NoError(t, err)
			for _, one := range said {
				require.InDelta(t, 1, one.P[0]+one.P[1]+one.P[2], 1e-6)
				if c.Student.StepWeight > 0 && c.Student.Form != FormBiEncoder {
					require.Len(t, one.Steps, len(src.Steps)-1)
					require.Contains(t, src.Steps[0].Answers, one.Steps[0].Answer)
				}
			}
		})
	}
	c.Student.Encoder, c.Student.Samples = scratch, 3
	_, err = Train(t.Context(), toy(200), c, filepath.Join(t.TempDir(), "run"), Options{Beliefs: beliefs})
	require.ErrorContains(t, err, "samples 3")
	c.Student.Encoder = Teacher{}
	_, err = Train(t.Context(), toy(200), c, filepath.Join(t.TempDir(), "run"), Options{Models: elsewhere{}})
	require.ErrorContains(t, err, "of kind teacher, but the policies are those of Options.Models")
}

// A bi-encoder cannot learn from a teacher that states no label.
func TestTeacherWithoutLabels(t *testing.T) {
	c := toySettings()
	c.Reinforce.Steps, c.Warmup.Steps, c.Student.Form = 0, 1, FormBiEncoder
	_, err := Train(t.Context(), toy(100), c, filepath.Join(t.TempDir(), "run"), Options{})
	require.ErrorContains(t, err, "of none of 8 queries the teacher stated readable labels for two documents")
}

// A decoder's input ends with the marks of its own steps, also where the name of a step is
// a part of another's. What leaves no room for a text is an error.
func TestMarksOfADecoder(t *testing.T) {
	src := toy(100)
	src.Steps[0].Name, src.Steps[1].Name = "thing of label", "thing"
	c := toySettings()
	p, err := prepared(t, src, c)
	require.NoError(t, err)
	s := &student{tok: p.tok, info: ModelInfo{MaxLength: 64, Steps: answered(src)}}
	d, err := model.NewDecoder(p.backend, c.Policy.(Scratch).Shape.decoder(p.tok.VocabSize()), 1)
	require.NoError(t, err)
	require.NoError(t, s.ofDecoder(src, d, ""))
	defer s.free()
	ids := s.encode(src.Train(0))
	text := ""
	for _, step := range src.Steps {
		text += `<step name="` + step.Name + `">`
	}
	require.Equal(t, p.tok.Encode(text), ids[len(ids)-3:], "%q, want %q", p.tok.Decode(ids[len(ids)-3:]), text)

	for _, form := range []StudentForm{FormDecoder, FormBiEncoder} {
		s := &student{tok: p.tok, info: ModelInfo{MaxLength: 1}}
		if form == FormDecoder {
			err = s.ofDecoder(src, d, "")
		} else {
			s.info.MaxLength = 0
			err = s.ofBiEncoder(local.StudentConfig{})
		}
		require.ErrorContains(t, err, "want more than the", form)
	}
}

// The beliefs of a bi-encoder's teacher are those of the pairs it was asked about, however
// many more a later run asks for, also if the source has no end.
func TestBeliefsStayWithTheirPairs(t *testing.T) {
	c := toySettings()
	c.Student.Form, c.Student.Examples = FormBiEncoder, 32
	endless := func() *rows.Source {
		src := toy(200)
		src.Size = 0
		return src
	}
	p, err := prepared(t, endless(), c)
	require.NoError(t, err)
	var first []rows.Example
	var all []taught
	for i := range 32 {
		e, t := p.pair(i)
		first, all = append(first, e), append(all, t)
	}
	c.Student.Examples = 400
	p, err = prepared(t, endless(), c)
	require.NoError(t, err)
	for i, e := range first {
		again := p.row(all[i])
		require.Equal(t, []any{e.Query, e.Document}, []any{again.Query, again.Document})
	}
}

// Beliefs in a file are those of the same teacher about the same rows.
func TestStoredBeliefs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "beliefs.json")
	run := func(data string, lr float64) *pipeline {
		c := Default()
		c.Policy, c.Reinforce.LR = Pretrained{Dir: "teacher", LoRA: &LoRA{Rank: 2, Alpha: 4}}, lr
		return &pipeline{c: c, o: Options{Beliefs: file}, digest: "asked", data: data, src: &rows.Source{}}
	}
	none, store, err := run("one", 1).storedBeliefs("rl-mask")
	require.NoError(t, err)
	require.Empty(t, none.Taught)
	none.Taught = []taught{{Index: 7}}
	require.NoError(t, store(none))

	again := run("one", 1)
	again.c.Student.LR *= 2
	some, _, err := again.storedBeliefs("rl-mask")
	require.NoError(t, err)
	require.Equal(t, none, some)
	for _, other := range []*pipeline{run("two", 1), run("one", 2)} {
		_, _, err = other.storedBeliefs("rl-mask")
		require.ErrorContains(t, err, "beliefs.json: the beliefs are those of task asked, data one, settings")
	}
}

// A line through the score is found from what the teacher believes.
func TestLink(t *testing.T) {
	want := []float64{2, .5, 1, -1}
	var scores []float64
	var beliefs [][]float64
	for s := -3.0; s <= 3; s += .1 {
		scores, beliefs = append(scores, s), append(beliefs, linked(want, s))
	}
	got, err := fitLink(scores, beliefs)
	require.NoError(t, err)
	require.InDeltaSlice(t, want, got, .1)
}

// The greedy rationale of a row is asked for once.
func TestStudentBound(t *testing.T) {
	s := Student{Form: FormCrossEncoder, Examples: 1000, Epochs: 2}
	s.bound(0)
	require.Equal(t, 1000, s.Examples)
	s.bound(300)
	require.Equal(t, []int{300, 6}, []int{s.Examples, s.Epochs})
	s = Student{Form: FormCrossEncoder, Examples: 1000, Epochs: 2, Samples: 1}
	s.bound(300)
	require.Equal(t, 1000, s.Examples, "sampled ones differ")
	s = Student{Form: FormBiEncoder, Examples: 1000, Epochs: 2, Documents: 4}
	s.bound(300)
	require.Equal(t, 1000, s.Examples, "there are 1,200 pairs of a row's query and a document")
}

// A document that was cut to fit beside its own query is cut further to fit beside
// another, about which the teacher of a bi-encoder is asked, too.
func TestDocumentsBesideOtherQueries(t *testing.T) {
	c := toySettings()
	c.Student.Form, c.Student.Samples = FormBiEncoder, 0
	long := strings.Repeat("lamp ", 40)
	var all []row
	for i := range 10 {
		all = append(all,
			row{fmt.Sprintf("%s%d", long, i), map[string]string{"title": "lamp"}, fmt.Sprint(i % 2)},
			row{fmt.Sprintf("desk %d", i), map[string]string{"title": "desk", "body": strings.Repeat(long, 4)}, fmt.Sprint(i % 2)})
	}
	p, err := openedWith(t, c, "0, 1", all...)
	require.NoError(t, err)
	m, err := p.models.New("")
	require.NoError(t, err)
	defer m.free()
	_, _, err = p.askTeacher(t.Context(), m, 0, 32)
	require.NoError(t, err)
}

// Each row of a source with an end is labelled once for the student, wherever in the
// stream the stages before have left off.
func TestStudentSeesEachRow(t *testing.T) {
	for _, form := range []StudentForm{FormCrossEncoder, FormBiEncoder} {
		c := toySettings()
		c.Student.Form, c.Student.Examples, c.Student.Samples = form, 5000, 0
		p, err := prepared(t, toy(200), c)
		require.NoError(t, err)
		require.NotZero(t, (p.firstValidation()+c.Validation.Rows)%200)
		seen := map[string]int{}
		for i := range p.c.Student.Examples {
			_, taught := p.pair(i)
			seen[p.src.Train(taught.Index).ID]++
		}
		require.Len(t, seen, 200)
		for id, n := range seen {
			require.Equal(t, p.c.Student.Examples/200, n, id)
		}
	}
}

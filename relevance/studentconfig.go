package relevance

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/rl"
)

// Student is the light model that learns from the best policy, or without stages that
// train one from the policy as it is.
type Student struct {
	// Form is what it is.
	Form StudentForm `json:"form"`
	// Encoder is where its model comes from: a Scratch, a Pretrained or a Teacher; nil
	// leaves the student out.
	Encoder StudentKind `json:"encoder"`
	// Examples is the number of rows that the teacher labels, with Samples sampled
	// rationales for each, over which its beliefs are averaged; 0 means its greedy one.
	Examples    int     `json:"examples"`
	Samples     int     `json:"samples"`
	Epochs      int     `json:"epochs"`
	Batch       int     `json:"batch"` // rows, or queries of a bi-encoder
	LR          float64 `json:"lr"`
	Temperature float64 `json:"temperature"`
	// Soft is the share of the teacher's belief in the loss; the rest is the label.
	Soft float64 `json:"soft"`
	// Head makes the labels' log-probs of the student's outputs.
	Head distill.Head `json:"head"`
	// StepWeight is that of what the teacher answered in its steps: the student learns
	// to give these answers, too. 0 leaves them out; a bi-encoder has none.
	StepWeight float64 `json:"step_weight"`
	// Ranking is the loss of a bi-encoder, and Documents how many documents it is shown
	// for each query: the row's, and others' drawn at random.
	Ranking   distill.RankingLoss `json:"ranking"`
	Documents int                 `json:"documents"`
	// MaxTokens bounds what the student reads.
	MaxTokens int `json:"max_tokens"`
	// Weak trains it first on pairs that are made of the task's documents without a
	// judgement.
	Weak WeakTraining `json:"weak"`
}

// WeakTraining is training on the pairs of package weak. It helps a pretrained encoder
// where documents are many and judgements few.
type WeakTraining struct {
	// Pairs is the number of pairs; 0 leaves the training out.
	Pairs  int     `json:"pairs"`
	Epochs int     `json:"epochs"`
	LR     float64 `json:"lr"`
}

// check is the part of Student.check.
func (w *WeakTraining) check(form StudentForm, add func(format string, args ...any), part func(name string, v interface{ Validate() error })) {
	if w.Pairs == 0 {
		return
	}
	if w.Pairs < 0 || w.Epochs < 1 {
		add("Student.Weak has %d pairs and %d epochs, want at least 0 and 1", w.Pairs, w.Epochs)
	}
	part("Student.Weak.LR", rl.Constant{LR: w.LR})
	if form == FormBiEncoder {
		add("Student.Weak is for %s and %s: a bi-encoder learns from rankings", FormCrossEncoder, FormDecoder)
	}
}

// StudentForm says what a student is.
type StudentForm string

// The forms of students.
const (
	// FormCrossEncoder classifies query and document together.
	FormCrossEncoder StudentForm = "cross-encoder"
	// FormBiEncoder compares vectors of query and document, for retrieval.
	FormBiEncoder StudentForm = "bi-encoder"
	// FormDecoder states the label in its first token.
	FormDecoder StudentForm = "decoder"
)

// Teacher is the model of a student that begins with the teacher's own weights.
type Teacher struct {
	// Layers is how many of its first layers are taken; 0 means all.
	Layers int `json:"layers"`
}

// Validate returns an error that names the first invalid setting.
func (t Teacher) Validate() error {
	if t.Layers < 0 {
		return fmt.Errorf("layers is %d, want 0 (for all) or more", t.Layers)
	}
	return nil
}

// check is the student's part of Config.Validate.
func (s *Student) check(add func(format string, args ...any), part func(name string, v interface{ Validate() error })) {
	part("Student.Encoder", s.Encoder)
	for _, f := range []struct {
		name     string
		v, least int
	}{{"Examples", s.Examples, 1}, {"Samples", s.Samples, 0}, {"Epochs", s.Epochs, 1}, {"Batch", s.Batch, 1}, {"MaxTokens", s.MaxTokens, 1}} {
		if f.v < f.least {
			add("Student.%s is %d, want at least %d", f.name, f.v, f.least)
		}
	}
	part("Student", distill.Loss{Temperature: s.Temperature, Soft: s.Soft})
	part("Student.LR", rl.Constant{LR: s.LR})
	s.Weak.check(s.Form, add, part)
	switch s.Form {
	case FormCrossEncoder:
		if err := s.Head.Validate(3); err != nil { // open knows how many labels there are
			add("Student.Head: %w", err)
		}
	case FormDecoder:
		if s.Head != "" {
			add("Student.Head is %q, want none: a decoder has an output per label", s.Head)
		}
	case FormBiEncoder:
		part("Student.Ranking", s.Ranking)
		if s.Documents < 2 {
			add("Student.Documents is %d, want at least 2: a loss of rankings compares documents", s.Documents)
		}
		if s.Examples < s.Documents {
			add("Student.Examples is %d, want at least the %d documents of a query", s.Examples, s.Documents)
		}
		if s.Head != "" {
			add("Student.Head is %q, want none: a bi-encoder has scores", s.Head)
		}
	default:
		add("Student.Form is %q, want %s, %s or %s", s.Form, FormCrossEncoder, FormBiEncoder, FormDecoder)
	}
	if !(s.StepWeight >= 0) {
		add("Student.StepWeight is %v, want at least 0", s.StepWeight)
	}
}

// bound leaves out rows of a source of so many training rows (0 = no end) that would be
// labelled again with the same greedy rationale, and shows the others more often.
func (s *Student) bound(size int) {
	if s.Form == FormBiEncoder {
		size *= s.Documents
	}
	if size > 0 && s.Samples == 0 && s.Examples > size {
		s.Epochs, s.Examples = max(s.Epochs*s.Examples/size, 1), size
	}
}

package relevance

import (
	"path/filepath"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// student is a classifier with what makes its inputs.
type student struct {
	student *local.Student
	tok     *tokenizer.Tokenizer
	encode  func(rows.Example) []int32
	form    InputForm
	most    int // tokens
}

func (s *student) scorer(labels []string) *studentScorer {
	return &studentScorer{
		student: s.student, encode: s.encode, labels: labels,
		prepare: func(e rows.Example) (rows.Example, error) { return e, nil },
		free:    s.student.Free,
	}
}

// newStudent makes the student of the configuration: from nothing it shares the
// policy's vocabulary and reads the example as the policy does, without the
// instructions; a pretrained encoder reads query and document as its two texts.
func (p *pipeline) newStudent(dir string) (*student, error) {
	seed := streamOf(studentStream, p.c.Seed, 0).Uint64()
	c, classes := p.c.Student, len(p.src.Labels)
	var e *model.Encoder
	var err error
	s := &student{tok: p.tok}
	switch k := c.Encoder.(type) {
	case Pretrained:
		e, s.tok, err = pretrainedEncoder(p.backend, k.Dir, classes, seed)
		if err != nil {
			return nil, err
		}
		e.Types = s.tok.PairTypes
		s.form, s.most = InputPair, min(c.MaxTokens, e.Config().MaxSeq)
		s.encode = pairEncoder(s.tok, s.most)
	case Scratch:
		if e, err = model.NewEncoder(p.backend, k.Shape.encoder(p.tok.VocabSize(), classes), seed); err != nil {
			return nil, err
		}
		s.form, s.most = InputText, min(c.MaxTokens, k.Shape.MaxSeq)
		s.encode = textEncoder(p.tok, p.src.Input, s.most)
	}
	s.student, err = local.NewStudent(local.StudentConfig{Encoder: e, Dir: dir})
	return s, err
}

func pretrainedEncoder(b tensor.Backend, dir string, classes int, seed uint64) (*model.Encoder, *tokenizer.Tokenizer, error) {
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return nil, nil, err
	}
	e, err := model.PretrainedEncoder(b, dir, classes, seed)
	return e, tok, err
}

// textEncoder encodes the example as one text.
func textEncoder(tok *tokenizer.Tokenizer, input func(rows.Example) string, most int) func(rows.Example) []int32 {
	return func(e rows.Example) []int32 {
		ids := tok.EncodeOrdinary(input(e))
		return ids[:min(len(ids), most)]
	}
}

// pairEncoder encodes query and document as the two texts of the tokenizer's template.
func pairEncoder(tok *tokenizer.Tokenizer, most int) func(rows.Example) []int32 {
	return func(e rows.Example) []int32 {
		query, document := tok.EncodeOrdinary(e.Query), tok.EncodeOrdinary(documentText(&e.Document, e.Facts))
		frame, _ := tok.AddSpecialPair(nil, nil)
		room := most - len(frame)
		query = query[:min(len(query), room*2/3)]
		ids, _ := tok.AddSpecialPair(query, document[:min(len(document), room-len(query))])
		return ids
	}
}

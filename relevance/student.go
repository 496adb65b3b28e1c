package relevance

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// student is a light model with what makes its inputs. It holds a classifier, or ranks.
type student struct {
	classifier distill.Student
	ranker     *local.BiEncoder
	free       func()
	save       func(dir string) error
	tok        *tokenizer.Tokenizer
	// encode makes the input of a pair; a bi-encoder has one for each of the two.
	encode          func(rows.Example) []int32
	query, document func(rows.Example) []int32
	info            ModelInfo // of its folder, as far as it is the student's own
}

// weights are what is saved while it is trained.
func (s *student) weights() distill.Weights {
	if s.ranker != nil {
		return s.ranker
	}
	return s.classifier
}

func (s *student) scorer(labels []string) studentScorer {
	ready := func(e rows.Example) (rows.Example, error) { return e, nil }
	return newStudentScorer(studentModel{student: s, labels: labels, prepare: ready})
}

// newStudent makes the student of the configuration: from nothing or from the teacher's
// weights it shares the policy's vocabulary and reads the example as the policy does,
// without the instructions; a pretrained encoder reads query and document as its two
// texts.
func (p *pipeline) newStudent(ctx context.Context, teacher, dir string) (*student, error) {
	c := p.c.Student
	s := &student{tok: p.tok}
	s.info = ModelInfo{Kind: KindCrossEncoder, Head: c.Head, Input: InputText, MaxLength: min(c.MaxTokens, p.models.MaxSeq())}
	if c.StepWeight > 0 && c.Form != FormBiEncoder {
		s.info.Steps = answered(p.src)
	}
	switch k := c.Encoder.(type) {
	case Pretrained:
		if c.Form == FormDecoder {
			return s, s.loadDecoder(p, k.Dir, dir)
		}
		tok, err := tokenizer.Load(filepath.Join(k.Dir, "tokenizer.json"))
		if err != nil {
			return nil, err
		}
		e, err := model.PretrainedEncoder(p.backend, k.Dir, s.outputs(len(p.src.Labels)), p.studentSeed())
		if err != nil {
			return nil, err
		}
		s.tok, s.info.Input, s.info.TokenTypes, s.info.MaxLength = tok, InputPair, true, min(c.MaxTokens, e.Config().MaxSeq)
		return s, s.ofEncoder(p, e, dir)
	case Scratch:
		s.info.MaxLength = min(c.MaxTokens, k.Shape.MaxSeq)
		if c.Form == FormDecoder {
			d, err := model.NewDecoder(p.backend, k.Shape.decoder(p.tok.VocabSize()), p.studentSeed())
			if err != nil {
				return nil, err
			}
			return s, s.ofDecoder(p.src, d, dir)
		}
		e, err := model.NewEncoder(p.backend, k.Shape.encoder(p.tok.VocabSize(), s.outputs(len(p.src.Labels))), p.studentSeed())
		if err != nil {
			return nil, err
		}
		return s, s.ofEncoder(p, e, dir)
	case Teacher:
		return s, s.ofTeacher(ctx, p, teacher, k.Layers, dir)
	}
	panic("relevance: a student of no kind") // Validate has seen it
}

func (p *pipeline) studentSeed() uint64 { return streamOf(studentStream, p.c.Seed, 0).Uint64() }

// outputs is the number of a classifier's.
func (s *student) outputs(labels int) int {
	f := distill.Fit{Classes: labels, Head: s.info.Head, Answers: s.info.answers()}
	return f.Outputs()
}

// ofTeacher begins with the teacher's weights.
func (s *student) ofTeacher(ctx context.Context, p *pipeline, teacher string, layers int, dir string) error {
	m, err := p.openTeacher(ctx, teacher)
	if err != nil {
		return err
	}
	defer m.free()
	policy := m.Policy.(*local.Policy) // open refuses Options.Models
	if adapters := policy.Decoder().LoRA(); adapters != nil {
		adapters.Merge() // the teacher is only read, and freed at the end
	}
	if p.c.Student.Form == FormDecoder {
		d, err := policy.Decoder().First(layers)
		if err != nil {
			return err
		}
		return s.ofDecoder(p.src, d, dir)
	}
	e, err := model.EncoderOf(policy.Decoder(), layers, s.outputs(len(p.src.Labels)), p.studentSeed())
	if err != nil {
		return err
	}
	return s.ofEncoder(p, e, dir)
}

// ofEncoder completes a student that is to be trained.
func (s *student) ofEncoder(p *pipeline, e *model.Encoder, dir string) error {
	c := local.StudentConfig{Encoder: e, Dir: dir}
	if p.c.Student.Form == FormBiEncoder {
		return s.ofBiEncoder(c)
	}
	return s.ofCrossEncoder(p.src, c)
}

func (s *student) ofCrossEncoder(src *rows.Source, c local.StudentConfig) error {
	x, err := local.NewStudent(c)
	if err != nil {
		return err
	}
	s.classifier, s.free, s.save = x, x.Free, c.Encoder.Save
	s.encode = textEncoder(s.tok, src.Input, s.info.MaxLength)
	if s.info.Input == InputPair {
		frame, _ := s.tok.AddSpecialPair(nil, nil)
		if err := s.fits(len(frame)); err != nil {
			return err
		}
		s.encode = pairEncoder(s.tok, s.info.MaxLength)
		if s.info.TokenTypes {
			c.Encoder.Types = s.tok.PairTypes
		}
	}
	return nil
}

// fits returns an error unless there is room for a text beside so many other tokens.
func (s *student) fits(others int) error {
	if s.info.MaxLength <= others {
		return fmt.Errorf("student.max_tokens: the student reads %d tokens, want more than the %d around its texts", s.info.MaxLength, others)
	}
	return nil
}

// biScale makes grades of cosines: the loss of margins wants those of the teacher.
const biScale = 5

func (s *student) ofBiEncoder(c local.StudentConfig) error {
	frame := len(s.tok.AddSpecial(nil))
	if err := s.fits(frame); err != nil {
		return err
	}
	x, err := local.NewBiEncoder(local.BiEncoderConfig{StudentConfig: c, Scale: biScale})
	if err != nil {
		return err
	}
	s.info.Kind, s.info.Input = KindBiEncoder, InputTexts
	s.ranker, s.free, s.save = x, x.Free, c.Encoder.Save
	one := func(text func(e rows.Example) string) func(rows.Example) []int32 {
		room := s.info.MaxLength - frame
		return func(e rows.Example) []int32 {
			ids := s.tok.EncodeOrdinary(text(e))
			return s.tok.AddSpecial(ids[:min(len(ids), room)])
		}
	}
	s.query = one(func(e rows.Example) string { return e.Query })
	s.document = one(func(e rows.Example) string { return documentText(&e.Document, nil) })
	return nil
}

func (s *student) loadDecoder(p *pipeline, from, dir string) error {
	tok, err := tokenizer.Load(filepath.Join(from, "tokenizer.json"))
	if err != nil {
		return err
	}
	d, err := model.LoadDecoder(p.backend, from)
	if err != nil {
		return err
	}
	s.tok, s.info.MaxLength = tok, min(p.c.Student.MaxTokens, d.Config().MaxSeq)
	return s.ofDecoder(p.src, d, dir)
}

// ofDecoder completes a decoder that states the label in its first token: its input
// ends with the marks that open the steps, the label's last.
func (s *student) ofDecoder(src *rows.Source, d *model.Decoder, dir string) error {
	t := src.Definition()
	marks := t.Template().Marks() // of tagged steps: first what opens each of them
	var end []int32
	for i, step := range src.Steps {
		if i < len(src.Steps)-1 && !slices.ContainsFunc(s.info.Steps, func(a StepAnswers) bool { return a.Name == step.Name }) {
			continue
		}
		ids := s.tok.Encode(marks[i])
		if len(ids) != 1 {
			return fmt.Errorf("student.form is decoder, but its vocabulary has no token for %s; one from nothing, or from a teacher from nothing, has", marks[i])
		}
		end = append(end, ids[0])
	}
	if err := s.fits(len(end)); err != nil {
		return err
	}
	first := func(answers []string) (ids []int32) {
		for _, a := range answers {
			ids = append(ids, s.tok.EncodeOrdinary(a)[0])
		}
		return ids
	}
	c := local.LabelDecoderConfig{Decoder: d, Labels: first(src.Labels), Dir: dir}
	for _, step := range s.info.Steps {
		c.Steps = append(c.Steps, first(step.Answers))
	}
	x, err := local.NewLabelDecoder(c)
	if err != nil {
		return err
	}
	s.info.Kind = KindLabelDecoder
	s.classifier, s.free = x, x.Free
	s.save = func(dir string) error { return d.Export(dir, model.ExportOptions{}) }
	text := textEncoder(s.tok, src.Input, s.info.MaxLength-len(end))
	s.encode = func(e rows.Example) []int32 { return append(text(e), end...) }
	return nil
}

// openStudent opens a student's folder.
func openStudent(dir string, info *ModelInfo, src *rows.Source, b tensor.Backend, tok *tokenizer.Tokenizer, prepare func(rows.Example) (rows.Example, error)) (Closer, error) {
	s := &student{tok: tok, info: *info}
	var err error
	if info.Kind == KindLabelDecoder {
		var d *model.Decoder
		if d, err = model.LoadDecoder(b, dir, model.Frozen()); err == nil {
			err = s.ofDecoder(src, d, "")
		}
	} else {
		var e *model.Encoder
		if e, err = model.LoadEncoder(b, dir, model.Frozen()); err != nil {
			return nil, err
		}
		e.Pack(tensor.FormatFloat32)
		if c := (local.StudentConfig{Encoder: e}); info.Kind == KindBiEncoder {
			err = s.ofBiEncoder(c)
		} else {
			err = s.ofCrossEncoder(src, c)
		}
	}
	if err != nil {
		return nil, err
	}
	return newStudentScorer(studentModel{s, info.Labels, prepare, info.Calibration, b}), nil
}

// answered are the steps before the label whose answers are listed.
func answered(src *rows.Source) (all []StepAnswers) {
	for _, s := range src.Steps[:len(src.Steps)-1] {
		if len(s.Answers) > 1 {
			all = append(all, StepAnswers{s.Name, s.Answers})
		}
	}
	return all
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

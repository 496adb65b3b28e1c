package sentencepiece

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// Type is what a piece is for.
type Type uint8

// The types of pieces, numbered as in the file.
const (
	TypeNormal      Type = 1 // text
	TypeUnknown     Type = 2 // stands for what no other piece does
	TypeControl     Type = 3 // stands for no text, such as the start of one
	TypeUserDefined Type = 4 // text that is always one piece
	TypeUnused      Type = 5
	TypeByte        Type = 6 // a byte, spelled <0x0A>
)

// Piece is a token; its id is its place in the list.
type Piece struct {
	Text  string // with U+2581 for a space
	Score float32
	Type  Type
}

// Model is a BPE model whose normaliser changes only spaces.
type Model struct {
	Pieces []Piece
	// BOS is the text of the piece that begins a text; "" if the model has none.
	BOS string
	// ByteFallback says that characters without a piece are written as bytes.
	ByteFallback bool
	// DummyPrefix says that a space is put before the text.
	DummyPrefix bool
	// TrimSpaces says that spaces at both ends are removed, and all but one of
	// several in a row.
	TrimSpaces bool
}

// Parse reads the contents of a model file. The model must be of type BPE and leave
// text as it is, apart from spaces: no character map, and spaces escaped. If it is
// not, or if the file is damaged, the error says what is wrong and where.
func Parse(data []byte) (*Model, error) {
	m := &Model{}
	r := reader{m: m}
	if err := r.model(data); err != nil {
		return nil, fmt.Errorf("sentencepiece: %w", err)
	}
	return m, nil
}

// reader holds what has been found.
type reader struct {
	m                   *Model
	trainer, normalizer bool
}

// model reads ModelProto.
func (r *reader) model(data []byte) error {
	err := fields(data, func(x field) error {
		if err := x.want(wireBytes); err != nil {
			return err
		}
		switch x.number {
		case 1:
			p, err := readPiece(x.data)
			if err != nil {
				return fmt.Errorf("pieces[%d]: %w", len(r.m.Pieces), err)
			}
			r.m.Pieces = append(r.m.Pieces, p)
			return nil
		case 2:
			return once(&r.trainer, "trainer_spec", x.data, r.trainerSpec)
		case 3:
			return once(&r.normalizer, "normalizer_spec", x.data, r.normalizerSpec)
		case 4, 5: // self_test_data and denormalizer_spec change no tokens
			return fields(x.data, func(field) error { return nil })
		}
		return fmt.Errorf("field %d is not one of a SentencePiece model", x.number)
	})
	switch {
	case err != nil:
		return err
	case !r.trainer:
		return errors.New("trainer_spec is missing")
	case !r.normalizer:
		return errors.New("normalizer_spec is missing")
	case len(r.m.Pieces) == 0:
		return errors.New("there are no pieces")
	}
	return r.checkPieces()
}

// once reads a message that may occur once.
func once(found *bool, name string, data []byte, read func([]byte) error) error {
	if *found {
		return fmt.Errorf("%s occurs twice", name)
	}
	*found = true
	if err := read(data); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (r *reader) checkPieces() error {
	seen := make(map[string]int, len(r.m.Pieces))
	hasBOS := false
	for i, p := range r.m.Pieces {
		if old, ok := seen[p.Text]; ok {
			return fmt.Errorf("pieces[%d]: %q is pieces[%d] already", i, p.Text, old)
		}
		seen[p.Text] = i
		hasBOS = hasBOS || p.Text == r.m.BOS && p.Type == TypeControl
	}
	if !hasBOS {
		r.m.BOS = ""
	}
	return nil
}

func readPiece(data []byte) (p Piece, err error) {
	p.Type = TypeNormal
	err = fields(data, func(x field) (err error) {
		switch x.number {
		case 1:
			p.Text, err = x.string()
		case 2:
			p.Score, err = x.float32()
		case 3:
			err = x.want(wireVarint)
			if err == nil && (x.bits < uint64(TypeNormal) || x.bits > uint64(TypeByte)) {
				err = fmt.Errorf("type %d, want 1 to 6", x.bits)
			}
			p.Type = Type(x.bits)
		default:
			err = fmt.Errorf("field %d is not one of a piece", x.number)
		}
		return err
	})
	switch {
	case err != nil:
		return p, err
	case p.Text == "":
		return p, errors.New("the text is empty")
	case !utf8.ValidString(p.Text):
		return p, fmt.Errorf("%q is not valid UTF-8", p.Text)
	case math.IsNaN(float64(p.Score)):
		return p, fmt.Errorf("the score of %q is not a number", p.Text)
	}
	return p, nil
}

// trainerSpec reads TrainerSpec: most of it only says how the model was made.
func (r *reader) trainerSpec(data []byte) error {
	kind := uint64(1) // unigram
	r.m.BOS = "<s>"
	err := fields(data, func(x field) (err error) {
		switch x.number {
		case 3:
			kind = x.bits
			err = x.want(wireVarint)
		case 24:
			var suffix bool
			if suffix, err = x.bool(); suffix {
				err = errors.New("treat_whitespace_as_suffix: true is not supported")
			}
		case 35:
			r.m.ByteFallback, err = x.bool()
		case 46:
			r.m.BOS, err = x.string()
		}
		return err
	})
	if names := []string{1: "UNIGRAM", 2: "BPE", 3: "WORD", 4: "CHAR"}; err == nil && kind != 2 {
		name := fmt.Sprint(kind)
		if kind < uint64(len(names)) {
			name = names[kind]
		}
		err = fmt.Errorf("model_type: %s is not supported, only BPE", name)
	}
	return err
}

// normalizerSpec reads NormalizerSpec.
func (r *reader) normalizerSpec(data []byte) error {
	r.m.DummyPrefix, r.m.TrimSpaces = true, true
	escape := true
	err := fields(data, func(x field) (err error) {
		switch x.number {
		case 1, 6: // the name and the source of the character map
			err = x.want(wireBytes)
		case 2:
			err = x.want(wireBytes)
			if err == nil && len(x.data) > 0 {
				err = errors.New("precompiled_charsmap is not supported, only the identity")
			}
		case 3:
			r.m.DummyPrefix, err = x.bool()
		case 4:
			r.m.TrimSpaces, err = x.bool()
		case 5:
			escape, err = x.bool()
		default:
			err = fmt.Errorf("field %d is not one of a normalizer_spec", x.number)
		}
		return err
	})
	if err == nil && !escape {
		err = errors.New("escape_whitespaces: false is not supported")
	}
	return err
}

package tokenizer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/lm/tokenizer/internal/sentencepiece"
)

// LoadSentencePiece reads the SentencePiece model at path, a file that is usually
// called tokenizer.model. See [ParseSentencePiece].
func LoadSentencePiece(path string) (*Tokenizer, error) {
	return load(path, parseSentencePiece)
}

// ParseSentencePiece reads the contents of a SentencePiece model of the Llama 2
// kind: type BPE with byte fallback, and a normaliser that changes nothing but
// spaces. An error names what is wrong or not supported.
//
// Control pieces become special tokens, and AddSpecial puts the one that begins a
// text before it. SentencePiece never finds control pieces in a text, so
// [Tokenizer.EncodeOrdinary] gives its ids. It replaces invalid UTF-8, which here
// is encoded as its bytes.
//
// Save writes the tokenizer.json that the library's own conversion would write.
// It may encode a few texts differently: where two pairs that make the same piece
// overlap, SentencePiece merges the left one, while a file must rank its merges.
func ParseSentencePiece(data []byte) (*Tokenizer, error) {
	t, err := read(data, parseSentencePiece)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

// parseSentencePiece returns the definition of the tokenizer.json that the
// library's conversion would write.
func parseSentencePiece(data []byte) (d definition, err error) {
	m, err := sentencepiece.Parse(data)
	if err != nil {
		return d, err
	}
	if !m.ByteFallback {
		return d, errors.New("trainer_spec: byte_fallback: false is not supported")
	}
	marker := spaceMarker{prefix: m.DummyPrefix, trim: m.TrimSpaces}
	unknown := ""
	for id, p := range m.Pieces {
		d.spelling = append(d.spelling, p.Text)
		switch p.Type {
		case sentencepiece.TypeUnknown, sentencepiece.TypeControl:
			d.added = append(d.added, addedToken{content: p.Text, id: int32(id), special: true, inVocab: true})
			if p.Type == sentencepiece.TypeUnknown {
				unknown = p.Text
			}
		case sentencepiece.TypeUserDefined, sentencepiece.TypeUnused:
			return d, fmt.Errorf("pieces[%d]: %q is user-defined or unused, which is not supported", id, p.Text)
		case sentencepiece.TypeByte:
			if _, ok := unspellByte(p.Text); !ok {
				return d, fmt.Errorf("pieces[%d]: %q does not spell a byte", id, p.Text)
			}
		}
	}
	d.bpe = &fileBPE{Type: "BPE", UnkToken: &unknown, FuseUnk: true, ByteFallback: true}
	d.normalizer, d.splitter, d.template = marker, chain{}, plainTemplate
	d.parts = file{
		Version:    "1.0",
		Normalizer: filePart(marker.json()),
		Decoder:    filePart(unmarkerJSON(marker.prefix)),
	}
	if m.BOS != "" {
		if d.parts.PostProcessor, err = startJSON(m.BOS, int32(slices.Index(d.spelling, m.BOS))); err != nil {
			return d, err
		}
		if d.template, err = parseTemplate(d.parts.PostProcessor); err != nil {
			return d, err
		}
	}
	return d, d.setPieceMerges(m.Pieces)
}

// setPieceMerges finds the pairs that make a piece. SentencePiece merges the
// pair whose piece has the highest score.
func (d *definition) setPieceMerges(pieces []sentencepiece.Piece) error {
	ids := make(map[string]int)
	// Only parts of these lengths are looked up, or a huge piece would take quadratic
	// time.
	lengths := make(map[int]bool)
	for id, p := range pieces {
		if p.Type == sentencepiece.TypeNormal {
			ids[p.Text] = id
			lengths[len(p.Text)] = true
		}
	}
	type pairOf struct{ left, right, piece int }
	var pairs []pairOf
	for id, p := range pieces {
		if p.Type != sentencepiece.TypeNormal {
			continue
		}
		for at, r := range p.Text {
			if _, ok := ids[string(r)]; !ok {
				return fmt.Errorf("pieces[%d]: %q is not supported: its character %q is not a piece", id, p.Text, r)
			}
			if !lengths[at] || !lengths[len(p.Text)-at] {
				continue
			}
			left, ok := ids[p.Text[:at]]
			right, ok2 := ids[p.Text[at:]]
			if ok && ok2 {
				pairs = append(pairs, pairOf{left, right, id})
			}
		}
	}
	// The library's order; that of the first line is SentencePiece's.
	slices.SortStableFunc(pairs, func(a, b pairOf) int {
		return cmp.Or(
			cmp.Compare(pieces[b.piece].Score, pieces[a.piece].Score),
			cmp.Compare(utf8.RuneCountInString(pieces[b.left].Text), utf8.RuneCountInString(pieces[a.left].Text)),
			cmp.Compare(utf8.RuneCountInString(pieces[b.right].Text), utf8.RuneCountInString(pieces[a.right].Text)),
		)
	})
	rank := int32(0)
	for i, p := range pairs {
		if i > 0 && pieces[p.piece].Score != pieces[pairs[i-1].piece].Score {
			rank++
		}
		d.merges = append(d.merges, [2]string{pieces[p.left].Text, pieces[p.right].Text})
		d.ranks = append(d.ranks, rank)
	}
	return nil
}

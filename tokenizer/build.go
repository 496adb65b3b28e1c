package tokenizer

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// definition is what a tokenizer is made of, as its file spells it.
type definition struct {
	spelling []string    // by id: ordinary tokens in byte-level characters, added ones as they are
	merges   [][2]string // by rank
	added    []addedToken
}

// build checks a definition and makes its tokenizer. Errors name the place in
// the file.
func build(d definition) (*Tokenizer, error) {
	t := &Tokenizer{
		def:     d,
		text:    make([][]byte, len(d.spelling)),
		special: make([]bool, len(d.spelling)),
		ids:     make(map[string]int32, len(d.spelling)),
		merges:  make(map[uint64]merge, len(d.merges)),
	}
	isAdded, err := t.buildAdded()
	if err != nil {
		return nil, err
	}
	for id, s := range d.spelling {
		if isAdded[id] {
			continue
		}
		text, ok := unspell(s)
		if !ok || len(text) == 0 {
			return nil, fmt.Errorf("model.vocab: token %q (id %d) is not spelled in byte-level characters", s, id)
		}
		t.text[id] = text
		if _, ok := t.ids[string(text)]; !ok { // an added token is what a text is encoded as
			t.ids[string(text)] = int32(id)
		}
	}
	return t, t.buildMerges(isAdded)
}

// buildAdded enters the added tokens and reports which ids they have.
func (t *Tokenizer) buildAdded() (isAdded []bool, err error) {
	isAdded = make([]bool, len(t.text))
	var first, second []addedToken
	for i, a := range t.def.added {
		switch _, repeated := t.ids[a.content]; {
		case a.content == "":
			return nil, fmt.Errorf("added_tokens[%d]: the content is empty", i)
		case !utf8.ValidString(a.content):
			return nil, fmt.Errorf("added_tokens[%d]: %q is not valid UTF-8", i, a.content)
		case repeated:
			return nil, fmt.Errorf("added_tokens[%d]: %q occurs twice", i, a.content)
		case isAdded[a.id]:
			return nil, fmt.Errorf("added_tokens[%d]: id %d is another token's", i, a.id)
		}
		isAdded[a.id] = true
		t.ids[a.content] = a.id
		t.text[a.id], t.special[a.id] = []byte(a.content), a.special
		if a.normalized {
			second = append(second, a)
		} else {
			first = append(first, a)
		}
	}
	for _, tokens := range [][]addedToken{first, second} {
		if len(tokens) > 0 {
			t.matchers = append(t.matchers, newMatcher(tokens))
		}
	}
	return isAdded, nil
}

// buildMerges enters the byte tokens and what can be merged from them.
func (t *Tokenizer) buildMerges(isAdded []bool) error {
	vocab := make(map[string]int32, len(t.def.spelling))
	for id, s := range t.def.spelling {
		vocab[s] = int32(id)
	}
	// lookup finds a token that words can consist of. It may be an added
	// token too, if that stands for the same bytes.
	lookup := func(spelling string) (int32, error) {
		id, ok := vocab[spelling]
		if !ok {
			return 0, fmt.Errorf("%q is not in the vocabulary", spelling)
		}
		if text, ok := unspell(spelling); isAdded[id] && (t.special[id] || !ok || !bytes.Equal(text, t.text[id])) {
			return 0, fmt.Errorf("%q (id %d) is an added token that stands for other bytes", spelling, id)
		}
		return id, nil
	}
	for b, r := range byteToRune {
		id, err := lookup(string(r))
		if err != nil {
			return fmt.Errorf("model.vocab: the token of byte 0x%02X: %w", b, err)
		}
		t.byteID[b] = id
	}
	for rank, m := range t.def.merges {
		var id [3]int32
		for k, spelling := range [3]string{m[0], m[1], m[0] + m[1]} {
			var err error
			if id[k], err = lookup(spelling); err != nil {
				return fmt.Errorf("model.merges[%d]: %w", rank, err)
			}
		}
		key := pair(id[0], id[1])
		if old, ok := t.merges[key]; ok {
			return fmt.Errorf("model.merges[%d]: %q and %q are merged by model.merges[%d] already", rank, m[0], m[1], old.rank)
		}
		t.merges[key] = merge{rank: int32(rank), id: id[2]}
	}
	return nil
}

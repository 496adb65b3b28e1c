package tokenizer

import "slices"

// template is what a model expects around one text or two.
type template struct {
	single, pair []templatePart
}

// templatePart is a run of special tokens or, if ids is nil, a text.
type templatePart struct {
	ids    []int32
	second bool // the second text
	kind   int32
}

// AddSpecial returns the tokens of a text with those that the model expects
// around it: Llama's begin-of-text, BERT's [CLS] and [SEP]. It is a new slice,
// equal to ids if the model expects none.
func (t *Tokenizer) AddSpecial(ids []int32) []int32 {
	out, _ := fill(t.def.template.single, ids, nil)
	return out
}

// AddSpecialPair puts two texts together as the model expects them, and
// returns with each token its type: for BERT, 0 for the first text and 1 for
// the second. A model that expects nothing gets one text after the other.
func (t *Tokenizer) AddSpecialPair(first, second []int32) (ids, types []int32) {
	return fill(t.def.template.pair, first, second)
}

// fill puts texts into a template.
func fill(parts []templatePart, first, second []int32) (ids, types []int32) {
	for _, p := range parts {
		add := p.ids
		switch {
		case add != nil:
		case p.second:
			add = second
		default:
			add = first
		}
		ids = append(ids, add...)
		types = append(types, slices.Repeat([]int32{p.kind}, len(add))...)
	}
	return ids, types
}

package tokenizer

import "strings"

// Tokenizer encodes text as token ids and decodes ids as text. Its methods
// may be called by several goroutines at once.
type Tokenizer struct {
	def     definition
	text    [][]byte // by id: the bytes of the token; a special token's content
	special []bool   // by id
	ids     map[string]int32
	byteID  [256]int32
	merges  map[uint64]merge
	// matchers look for added tokens, one after the other: the second only
	// sees what the first has left.
	matchers []*matcher
}

// merge says what a pair of neighbours becomes, and which pair goes first.
type merge struct{ rank, id int32 }

// pair is the key of two neighbours in the merge table.
func pair(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// VocabSize is the number of tokens, special and added ones included. Ids are
// 0 to VocabSize-1.
func (t *Tokenizer) VocabSize() int { return len(t.text) }

// ID returns the token that stands for exactly this text, an added token or
// an ordinary one: ID("<|endoftext|>"), ID("\n"). It does not encode.
func (t *Tokenizer) ID(text string) (int32, bool) {
	id, ok := t.ids[text]
	return id, ok
}

// Special reports whether id is a special token, one that stands for no text.
func (t *Tokenizer) Special(id int32) bool { return t.known(id) && t.special[id] }

// Bytes returns the bytes that a token stands for: nil for a special token,
// and for an id outside the vocabulary, because a model's output layer is
// often padded to more ids than there are tokens. They are the tokenizer's own
// and must not be changed.
func (t *Tokenizer) Bytes(id int32) []byte {
	if !t.known(id) || t.special[id] {
		return nil
	}
	return t.text[id]
}

// Content returns a token as a person wants to see it: its bytes, or a special
// token's name; "" for an id outside the vocabulary.
func (t *Tokenizer) Content(id int32) string {
	if !t.known(id) {
		return ""
	}
	return string(t.text[id])
}

func (t *Tokenizer) known(id int32) bool { return 0 <= id && int(id) < len(t.text) }

// Decode returns the tokens' bytes put end to end; special tokens, and ids
// outside the vocabulary, have none. The result need not be valid UTF-8: a
// character can be spread over several tokens.
func (t *Tokenizer) Decode(ids []int32) string {
	var s strings.Builder
	for _, id := range ids {
		s.Write(t.Bytes(id))
	}
	return s.String()
}

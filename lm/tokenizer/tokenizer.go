package tokenizer

// Tokenizer encodes text as token ids and decodes ids as text. Its methods
// may be called by several goroutines at once.
type Tokenizer struct {
	def     definition
	text    [][]byte // by id: the bytes of the token; a special token's content; nil: no such token
	special []bool   // by id
	ids     map[string]int32

	// raw finds added tokens in the text, late in what the normaliser has
	// made of the rest.
	raw, late  *matcher
	normalizer normalizer // nil: none
	metaspace  *metaspace // nil: none; else there is no normaliser
	splitter   splitter
	model      model
}

// VocabSize is one more than the largest id, special and added tokens
// included. A file may leave ids below it unused.
func (t *Tokenizer) VocabSize() int { return len(t.text) }

// ID returns the token that stands for exactly this text, an added token or
// an ordinary one: ID("<|endoftext|>"), ID("\n"). WordPiece's tokens that go on
// with a word are named as in the file: ID("##ing"). It does not encode.
func (t *Tokenizer) ID(text string) (int32, bool) {
	id, ok := t.ids[text]
	return id, ok
}

// Special reports whether id is a special token, one that stands for no text.
func (t *Tokenizer) Special(id int32) bool { return t.known(id) && t.special[id] }

// Bytes returns the bytes that a token stands for: nil for a special token,
// and for an id outside the vocabulary, because a model's output layer is
// often padded to more ids than there are tokens. Those of a WordPiece token
// have neither the mark "##" nor a space. They are the tokenizer's own and must
// not be changed.
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

func (t *Tokenizer) known(id int32) bool {
	return 0 <= id && int(id) < len(t.text) && t.text[id] != nil
}

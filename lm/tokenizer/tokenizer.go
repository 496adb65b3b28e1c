package tokenizer

// Tokenizer encodes text as token ids and decodes ids as text. Its methods
// may be called by several goroutines at once.
type Tokenizer struct {
	def     definition
	text    [][]byte // by id: the bytes of the token, or a special token's content; nil if there is none
	special []bool   // by id
	ids     map[string]int32

	// raw finds added tokens in the text, late in what is normalised of the
	// rest.
	raw, late  *matcher
	normalizer normalizer  // nil if there is none
	metaspace  *metaspace  // nil if there is none; not together with a normaliser
	spaced     *spaced     // nil if it puts no spaces before words
	marked     *wordMarker // nil unless the model is a unigram
	splitter   splitter
	model      model
	// lacking are the bytes without a token. No valid UTF-8 has them.
	lacking string
}

// VocabSize is one more than the largest id, that of special and added tokens
// included. Ids below it may be unused.
func (t *Tokenizer) VocabSize() int { return len(t.text) }

// ID returns the id of the token that stands for exactly this text, added or
// ordinary: ID("<|endoftext|>"), ID("\n"). WordPiece's tokens that continue a word
// are named as in the file: ID("##ing"). It does not encode; false means that no
// single token stands for the text.
func (t *Tokenizer) ID(text string) (int32, bool) {
	id, ok := t.ids[text]
	return id, ok
}

// Special reports whether id is a special token, which stands for no text.
func (t *Tokenizer) Special(id int32) bool { return t.known(id) && t.special[id] }

// Bytes returns the bytes that a token stands for. They are nil for a special
// token, and also for an id outside the vocabulary, because a model's output layer
// is often padded to more ids than there are tokens. Those of a WordPiece token
// have neither the mark "##" nor a space. The caller must not change them.
func (t *Tokenizer) Bytes(id int32) []byte {
	if !t.known(id) || t.special[id] {
		return nil
	}
	return t.text[id]
}

// Content returns a token for display: its bytes, or a special token's name, or ""
// for an id outside the vocabulary.
func (t *Tokenizer) Content(id int32) string {
	if !t.known(id) {
		return ""
	}
	return string(t.text[id])
}

func (t *Tokenizer) known(id int32) bool {
	return 0 <= id && int(id) < len(t.text) && t.text[id] != nil
}

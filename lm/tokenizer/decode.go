package tokenizer

import "strings"

// Decode returns the text that tokens stand for; special tokens, and ids
// outside the vocabulary, have none.
//
// Of a byte-level BPE it is the tokens' bytes put end to end. The result need
// not be valid UTF-8: a character can be spread over several tokens. Of the
// Llama 2 kind it is the same without the space that stands before a text. Of
// WordPiece, words are put apart by spaces, and, if the file asks for it, what
// English writes without a space is put together, as the library does it; the
// text itself, its capitals and accents are lost.
func (t *Tokenizer) Decode(ids []int32) string {
	var s strings.Builder
	if w, ok := t.model.(*wordPiece); ok {
		t.decodeWords(&s, w, ids)
		return s.String()
	}
	for _, id := range ids {
		s.Write(t.Bytes(id))
	}
	if t.def.addsSpace() {
		return strings.TrimPrefix(s.String(), " ")
	}
	return s.String()
}

// cleanup is the library's list; the replacements follow one another.
var cleanup = [][2]string{
	{" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"},
	{" n't", "n't"}, {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
}

func (t *Tokenizer) decodeWords(out *strings.Builder, w *wordPiece, ids []int32) {
	started := false
	for _, id := range ids {
		if !t.known(id) || t.special[id] {
			continue
		}
		word := string(t.text[id])
		if started && !w.goesOn[id] {
			word = " " + word
		}
		started = true
		if w.cleanup {
			for _, c := range cleanup {
				word = strings.ReplaceAll(word, c[0], c[1])
			}
		}
		out.WriteString(word)
	}
}

package tokenizer

import "strings"

// spaceMark is the character that SentencePiece models write for a space.
const spaceMark = "▁"

// spaceMarker is the normaliser of the Llama 2 kind: spaces are marked, and
// one is put before the text.
type spaceMarker struct{ prefix bool }

func (m spaceMarker) normalize(text string) normalized {
	if text == "" {
		return normalized{}
	}
	var w rewriter
	if m.prefix {
		w.replace(spaceMark, Span{})
	}
	for start := 0; start < len(text); {
		n := strings.IndexByte(text[start:], ' ')
		if n < 0 {
			n = len(text) - start
		}
		if n > 0 {
			w.keep(text[start:start+n], start)
		}
		if start += n; start < len(text) {
			w.replace(spaceMark, Span{start, start + 1})
			start++
		}
	}
	return w.done()
}

// markSplitter cuts before each space's mark that follows another character.
type markSplitter struct{}

func (markSplitter) split(text string, word func(start, end int)) {
	for start := 0; start < len(text); {
		end := start
		for strings.HasPrefix(text[end:], spaceMark) {
			end += len(spaceMark)
		}
		if n := strings.Index(text[end:], spaceMark); n >= 0 {
			end += n
		} else {
			end = len(text)
		}
		word(start, end)
		start = end
	}
}

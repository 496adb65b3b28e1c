package tokenizer

import "strings"

// spaceMark is the character that SentencePiece models write for a space.
const spaceMark = "▁"

// spaceMarker is the normaliser of the Llama 2 kind, which replaces spaces by
// marks.
type spaceMarker struct {
	prefix bool // put a mark before the text
	trim   bool // remove spaces at both ends, and all but one of several in a row
}

func (m spaceMarker) normalize(text string) normalized {
	start := 0
	if m.trim {
		text = strings.TrimRight(text, " "+spaceMark)
		start = len(text) - len(strings.TrimLeft(text, " "))
	}
	if start == len(text) {
		return normalized{}
	}
	var w rewriter
	if m.prefix {
		w.replace(spaceMark, Range{start, start})
	}
	for start < len(text) {
		n := strings.IndexByte(text[start:], ' ')
		if n < 0 {
			n = len(text) - start
		}
		if n > 0 {
			w.keep(text[start:start+n], start)
		}
		if start += n; start < len(text) {
			end := start + 1
			for m.trim && text[end] == ' ' {
				end++
			}
			w.replace(spaceMark, Range{start, end})
			start = end
		}
	}
	return w.done()
}

// metaspace is the pre-tokeniser Metaspace, which newer files have instead of the
// normaliser. It puts a mark only before text that does not begin with one.
type metaspace struct {
	prefix bool // put a mark before the text
	always bool // and before text that follows an added token
}

// mark marks the spaces in a piece of a text; first says that the text begins with
// it.
func (m metaspace) mark(text string, first bool) normalized {
	prefix := m.always || m.prefix && first
	prefix = prefix && !strings.HasPrefix(text, " ") && !strings.HasPrefix(text, spaceMark)
	return spaceMarker{prefix: prefix}.normalize(text)
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

// The parts of the normaliser, and of the decoder that undoes it, in a
// tokenizer.json.
const (
	trimLeftJSON  = `{"type":"Replace","pattern":{"Regex":"\\A +"},"content":""}`
	squeezeJSON   = `{"type":"Replace","pattern":{"Regex":" {2,}"},"content":" "}`
	prependJSON   = `{"type":"Prepend","prepend":"▁"}`
	markJSON      = `{"type":"Replace","pattern":{"String":" "},"content":"▁"}`
	trimRightJSON = `{"type":"Replace","pattern":{"Regex":"▁+\\z"},"content":""}`

	unmarkJSON = `{"type":"Replace","pattern":{"String":"▁"},"content":" "}`
	fuseJSON   = `{"type":"ByteFallback"},{"type":"Fuse"}`
	stripJSON  = `{"type":"Strip","content":" ","start":1,"stop":0}`
)

// json returns the normaliser as a tokenizer.json has it.
func (m spaceMarker) json() string {
	parts := []string{markJSON}
	if m.prefix {
		parts = append([]string{prependJSON}, parts...)
	}
	if m.trim {
		parts = append(append([]string{trimLeftJSON, squeezeJSON}, parts...), trimRightJSON)
	}
	return `{"type":"Sequence","normalizers":[` + strings.Join(parts, ",") + `]}`
}

// unmarkerJSON returns the decoder that undoes it, as a tokenizer.json has it.
func unmarkerJSON(prefix bool) string {
	parts := []string{unmarkJSON, fuseJSON}
	if prefix {
		parts = append(parts, stripJSON)
	}
	return `{"type":"Sequence","decoders":[` + strings.Join(parts, ",") + `]}`
}

package tokenizer

import (
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalizer rewrites text before it is cut into words.
type normalizer interface {
	normalize(text string) normalized
}

// normalized is a rewritten text that knows where each of its bytes comes from. If
// stretches is nil, it is the original.
type normalized struct {
	text      string
	stretches []stretch // in order; together they are text
}

// stretch is a part of a normalised text and the part of the original that it
// stands for.
type stretch struct {
	end    int // in the normalised text; it begins where the previous one ends
	origin Range
	exact  bool // the two correspond byte by byte; else each byte stands for all of origin
}

// origin returns the part of the original that bytes start to end come from, for
// start < end.
func (n *normalized) origin(start, end int) Range {
	if n.stretches == nil {
		return Range{start, end}
	}
	first, from := n.at(start)
	s := Range{Start: first.origin.Start}
	if first.exact {
		s.Start += start - from
	}
	last, from := n.at(end - 1)
	s.End = last.origin.End
	if last.exact {
		s.End = last.origin.Start + end - from
	}
	return s
}

// at returns the stretch that holds byte i, and where it begins.
func (n *normalized) at(i int) (s stretch, from int) {
	k := sort.Search(len(n.stretches), func(k int) bool { return n.stretches[k].end > i })
	if k > 0 {
		from = n.stretches[k-1].end
	}
	return n.stretches[k], from
}

// rewriter builds a normalised text.
type rewriter struct {
	out       []byte
	stretches []stretch
}

// keep appends a part of the original that begins at start, as it is or with bytes
// replaced one for one. Parts must come in order.
func (w *rewriter) keep(text string, start int) {
	w.out = append(w.out, text...)
	end := start + len(text)
	if k := len(w.stretches) - 1; k >= 0 && w.stretches[k].exact && w.stretches[k].origin.End == start {
		w.stretches[k].end, w.stretches[k].origin.End = len(w.out), end
		return
	}
	w.stretches = append(w.stretches, stretch{len(w.out), Range{start, end}, true})
}

// replace appends a text that stands for a part of the original as a whole.
func (w *rewriter) replace(text string, origin Range) {
	w.out = append(w.out, text...)
	w.stretches = append(w.stretches, stretch{len(w.out), origin, false})
}

// copy appends bytes start to end of a normalised text, start < end.
func (w *rewriter) copy(n *normalized, start, end int) {
	if n.stretches == nil {
		w.keep(n.text[start:end], start)
		return
	}
	for start < end {
		s, from := n.at(start)
		to := min(end, s.end)
		text := n.text[start:to]
		if s.exact {
			w.keep(text, s.origin.Start+start-from)
		} else {
			w.replace(text, s.origin)
		}
		start = to
	}
}

// without returns the text with U+FFFD in place of each of some bytes.
func (n *normalized) without(bytes string) normalized {
	if !hasByte(n.text, bytes) {
		return *n
	}
	var w rewriter
	done := 0
	for i := range len(n.text) {
		if strings.IndexByte(bytes, n.text[i]) < 0 {
			continue
		}
		if done < i {
			w.copy(n, done, i)
		}
		w.replace("\uFFFD", n.origin(i, i+1))
		done = i + 1
	}
	if done < len(n.text) {
		w.copy(n, done, len(n.text))
	}
	return w.done()
}

// hasByte reports whether a text has one of some bytes.
func hasByte(text, bytes string) bool {
	for i := range len(bytes) {
		if strings.IndexByte(text, bytes[i]) >= 0 {
			return true
		}
	}
	return false
}

func (w *rewriter) done() normalized {
	if w.stretches == nil {
		return normalized{stretches: []stretch{}} // an empty text that is not the original
	}
	return normalized{string(w.out), w.stretches}
}

// nfc is Unicode's normalisation form C. Package norm alone does not do: it follows
// the stream-safe text format, which breaks up sequences of more than 30 marks,
// while Hugging Face's library leaves them whole; and it knows newer marks than
// the library.
type nfc struct{}

func (nfc) normalize(text string) normalized {
	if belowMarks(text) || norm.NFC.IsNormalString(text) {
		return normalized{text: text}
	}
	var w rewriter
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf && (i+1 == len(text) || text[i+1] < utf8.RuneSelf) {
			w.keep(text[i:i+1], i) // nothing to combine with
			i++
			continue
		}
		chars, end := decompose(nil, text, i)
		for end < len(text) && !norm.NFC.PropertiesString(text[end:]).BoundaryBefore() {
			chars, end = decompose(chars, text, end)
		}
		order(chars)
		w.compose(chars, text, Range{i, end})
		i = end
	}
	return w.done()
}

// belowMarks reports whether a text has only characters below U+0300, none of
// which combines with another. It is much faster than to look up every character.
func belowMarks(text string) bool {
	for i := range len(text) {
		if text[i] >= 0xCC { // the first byte of U+0300
			return false
		}
	}
	return true
}

// char is a character of a decomposed text.
type char struct {
	r     rune
	class uint8 // canonical combining class
	from  Range
}

// invalid stands for a byte that is not part of valid UTF-8.
const invalid = -1

// decompose appends the canonical decomposition of the character at text[i]
// and returns where that character ends.
func decompose(chars []char, text string, i int) ([]char, int) {
	r, n := utf8.DecodeRuneInString(text[i:])
	from := Range{i, i + n}
	if r == utf8.RuneError && n <= 1 {
		return append(chars, char{r: invalid, from: from}), from.End
	}
	for _, d := range norm.NFD.String(string(r)) {
		class := norm.NFD.PropertiesString(string(d)).CCC()
		if unsorted.has(d) {
			class = 0
		}
		chars = append(chars, char{d, class, from})
	}
	return chars, from.End
}

// order puts marks in canonical order.
func order(chars []char) {
	for i := 0; i < len(chars); i++ {
		start := i
		for i < len(chars) && chars[i].class != 0 {
			i++
		}
		slices.SortStableFunc(chars[start:i], func(a, b char) int { return int(a.class) - int(b.class) })
	}
}

// compose appends the canonical composition of a decomposed and ordered stretch of
// text. If that changes nothing, the bytes correspond one by one; else each
// character stands for the whole stretch.
func (w *rewriter) compose(chars []char, text string, origin Range) {
	starter := -1
	out := chars[:0]
	for _, c := range chars {
		// A mark of the same or a higher class stands between.
		blocked := starter < 0 || len(out) > starter+1 && out[len(out)-1].class >= c.class
		if !blocked {
			if r, ok := composite(out[starter].r, c.r); ok {
				out[starter].r = r
				continue
			}
		}
		out = append(out, c)
		if c.class == 0 {
			starter = len(out) - 1
		}
	}
	var s []byte
	for _, c := range out {
		if c.r == invalid {
			s = append(s, text[c.from.Start:c.from.End]...)
		} else {
			s = utf8.AppendRune(s, c.r)
		}
	}
	if string(s) == text[origin.Start:origin.End] {
		w.keep(string(s), origin.Start)
	} else {
		w.replace(string(s), origin)
	}
}

// composite returns the character that a pair composes to.
func composite(a, b rune) (rune, bool) {
	if a == invalid || b == invalid {
		return 0, false
	}
	s := norm.NFC.String(string([]rune{a, b}))
	r, n := utf8.DecodeRuneInString(s)
	return r, n == len(s)
}

package tokenizer

import "unicode/utf8"

// graphemeEnd returns where the extended grapheme cluster at text[i], what a reader
// takes for one character, ends (Unicode Standard Annex #29, rules GB3 to GB13). The
// tables are the library's.
func graphemeEnd(text string, i int) int {
	r, n := utf8.DecodeRuneInString(text[i:])
	end := i + n
	if end == len(text) || r < utf8.RuneSelf && text[end] < utf8.RuneSelf && r != '\r' {
		return end // no ASCII character but a line feed continues another
	}
	var s cluster
	s.add(r)
	for end < len(text) {
		next, n := utf8.DecodeRuneInString(text[end:])
		if !s.joins(next) {
			break
		}
		s.add(next)
		end += n
	}
	return end
}

const (
	zeroWidthNonJoiner = '\u200C'
	zeroWidthJoiner    = '\u200D'
)

// cluster is what the rules must know of the characters of a cluster so far.
type cluster struct {
	last    rune
	flags   int         // flags (regional indicators) at the end
	picture pictureRun  // of emoji that a joiner joins
	join    conjunctRun // of Indic consonants that a virama joins
}

type pictureRun uint8

const (
	noPicture     pictureRun = iota
	afterPicture             // and marks
	joinedPicture            // and a joiner
)

type conjunctRun uint8

const (
	noConsonant conjunctRun = iota
	afterConsonant
	linkedConsonant
)

// add appends a character.
func (s *cluster) add(r rune) {
	s.last = r
	if isFlag(r) {
		s.flags++
	} else {
		s.flags = 0
	}
	extends := graphemeExtend.has(r)
	switch {
	case pictographs.has(r):
		s.picture = afterPicture
	case s.picture == afterPicture && r == zeroWidthJoiner:
		s.picture = joinedPicture
	case s.picture == afterPicture && extends:
	default:
		s.picture = noPicture
	}
	switch {
	case conjunctConsonants.has(r):
		s.join = afterConsonant
	case s.join != noConsonant && conjunctLinkers.has(r):
		s.join = linkedConsonant
	case s.join != noConsonant && (extends && r != zeroWidthNonJoiner || r == zeroWidthJoiner):
	default:
		s.join = noConsonant
	}
}

// joins reports whether a character belongs to the cluster.
func (s *cluster) joins(r rune) bool {
	switch {
	case s.last == '\r' && r == '\n':
		return true
	case graphemeControl.has(s.last) || graphemeControl.has(r):
		return false
	case r == zeroWidthJoiner || graphemeExtend.has(r) || graphemeSpacing.has(r) || graphemePrepend.has(s.last):
		return true
	case s.join == linkedConsonant && conjunctConsonants.has(r), s.picture == joinedPicture && pictographs.has(r):
		return true
	case isFlag(r):
		return s.flags%2 == 1
	}
	return joinsHangul(hangulKind(s.last), hangulKind(r))
}

// isFlag reports whether r is a regional indicator, two of which are a flag.
func isFlag(r rune) bool { return '\U0001F1E6' <= r && r <= '\U0001F1FF' }

// hangulKind returns the kind of a Hangul character: L, V and T for the consonants
// and vowels that syllables are made of, A for a syllable without a final consonant,
// B for one with one; 0 for others.
func hangulKind(r rune) byte {
	switch {
	case 0x1100 <= r && r <= 0x115F || 0xA960 <= r && r <= 0xA97C:
		return 'L'
	case 0x1160 <= r && r <= 0x11A7 || 0xD7B0 <= r && r <= 0xD7C6:
		return 'V'
	case 0x11A8 <= r && r <= 0x11FF || 0xD7CB <= r && r <= 0xD7FB:
		return 'T'
	case 0xAC00 <= r && r <= 0xD7A3 && (r-0xAC00)%28 == 0:
		return 'A'
	case 0xAC00 <= r && r <= 0xD7A3:
		return 'B'
	}
	return 0
}

func joinsHangul(last, next byte) bool {
	switch last {
	case 'L':
		return next != 0 && next != 'T'
	case 'A', 'V':
		return next == 'V' || next == 'T'
	case 'B', 'T':
		return next == 'T'
	}
	return false
}

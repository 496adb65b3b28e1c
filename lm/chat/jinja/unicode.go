package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// isSpace is str.isspace of a character.
func isSpace(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func runeCount(s string) int { return utf8.RuneCountInString(s) }

// strip takes characters off the ends of a text; no characters means white
// space.
func strip(s, chars string, left, right bool) string {
	cut := isSpace
	if chars != "" {
		cut = func(c rune) bool { return strings.ContainsRune(chars, c) }
	}
	if left {
		s = strings.TrimLeftFunc(s, cut)
	}
	if right {
		s = strings.TrimRightFunc(s, cut)
	}
	return s
}

// special pairs characters with what they become in upper case, and where it
// is something else, as titles: more than one character, which package unicode
// does not know. Unicode's SpecialCasing.txt has them; those with an iota
// below are made by a rule.
var special = func() map[rune][2]string {
	m := map[rune][2]string{}
	for _, line := range strings.Fields(`ß:SS:Ss ŉ:ʼN ǰ:J̌ ΐ:Ϊ́ ΰ:Ϋ́ և:ԵՒ:Եւ ẖ:H̱ ẗ:T̈ ẘ:W̊ ẙ:Y̊ ẚ:Aʾ ὐ:Υ̓ ὒ:Υ̓̀ ὔ:Υ̓́ ὖ:Υ̓͂
		ᾶ:Α͂ ᾷ:Α͂Ι:ᾼ͂ ῆ:Η͂ ῇ:Η͂Ι:ῌ͂ ῒ:Ϊ̀ ῖ:Ι͂ ῗ:Ϊ͂ ῢ:Ϋ̀ ῤ:Ρ̓ ῦ:Υ͂ ῧ:Ϋ͂ ῶ:Ω͂ ῷ:Ω͂Ι:ῼ͂
		ᾲ:ᾺΙ:Ὰͅ ᾴ:ΆΙ:Άͅ ῂ:ῊΙ:Ὴͅ ῄ:ΉΙ:Ήͅ ῲ:ῺΙ:Ὼͅ ῴ:ΏΙ:Ώͅ
		ﬀ:FF:Ff ﬁ:FI:Fi ﬂ:FL:Fl ﬃ:FFI:Ffi ﬄ:FFL:Ffl ﬅ:ST:St ﬆ:ST:St ﬓ:ՄՆ:Մն ﬔ:ՄԵ:Մե ﬕ:ՄԻ:Մի ﬖ:ՎՆ:Վն ﬗ:ՄԽ:Մխ`) {
		p := strings.Split(line, ":")
		c, _ := utf8.DecodeRuneInString(p[0])
		m[c] = [2]string{p[1], p[len(p)-1]}
	}
	for i, base := range []rune{0x1f08, 0x1f28, 0x1f68} {
		for j := range rune(8) {
			up := string(base+j) + "Ι"
			low := 0x1f80 + rune(i)*16 + j
			m[low] = [2]string{up, string(low + 8)}
			m[low+8] = [2]string{up, string(low + 8)}
		}
	}
	for low, p := range map[rune][2]string{'ᾳ': {"ΑΙ", "ᾼ"}, 'ῃ': {"ΗΙ", "ῌ"}, 'ῳ': {"ΩΙ", "ῼ"}} {
		up, _ := utf8.DecodeRuneInString(p[1])
		m[low], m[up] = p, p
	}
	return m
}()

func upper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	var b strings.Builder
	for _, c := range s {
		if sp, ok := special[c]; ok {
			b.WriteString(sp[0])
		} else {
			b.WriteRune(unicode.ToUpper(c))
		}
	}
	return b.String()
}

func titleChar(c rune) string {
	if sp, ok := special[c]; ok {
		return sp[1]
	}
	return string(unicode.ToTitle(c))
}

func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	var b strings.Builder
	for i, c := range s {
		b.WriteString(lowerAt(s, i, c))
	}
	return b.String()
}

// lowerAt is the character at byte i of a text in lower case. A sigma at the
// end of a word has a form of its own.
func lowerAt(s string, i int, c rune) string {
	switch c {
	case 'İ':
		return "i̇"
	case 'Σ':
		before := strings.TrimRightFunc(s[:i], caseIgnorable)
		after := strings.TrimLeftFunc(s[i+len("Σ"):], caseIgnorable)
		b, _ := utf8.DecodeLastRuneInString(before)
		a, _ := utf8.DecodeRuneInString(after)
		if cased(b) && !cased(a) {
			return "ς"
		}
	}
	return string(unicode.ToLower(c))
}

func cased(c rune) bool {
	return unicode.In(c, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

func caseIgnorable(c rune) bool {
	return strings.ContainsRune("'.:·’․﹒＇．：", c) || unicode.In(c, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
}

// title makes the first of each run of cased characters a capital and the
// others small.
func title(s string) string {
	var b strings.Builder
	inWord := false
	for i, c := range s {
		if inWord {
			b.WriteString(lowerAt(s, i, c))
		} else {
			b.WriteString(titleChar(c))
		}
		inWord = cased(c)
	}
	return b.String()
}

func capitalize(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	var b strings.Builder
	b.WriteString(titleChar(first))
	for i, c := range s[n:] {
		b.WriteString(lowerAt(s, n+i, c))
	}
	return b.String()
}

// isCased tells whether a text has characters with a case, and none of those
// refused.
func isCased(s string, refused ...*unicode.RangeTable) bool {
	any := false
	for _, c := range s {
		if unicode.In(c, refused...) {
			return false
		}
		any = any || cased(c)
	}
	return any
}

// isDigit is str.isdigit: decimal digits, and those in circles and the like.
func isDigit(c rune) bool {
	return unicode.Is(unicode.Nd, c) || strings.ContainsRune("²³¹⁰⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", c) || c >= 0x2460 && c <= 0x2468 || c >= 0x2474 && c <= 0x247c ||
		c >= 0x2488 && c <= 0x2490 || c == 0x24ea || c >= 0x24f5 && c <= 0x24fd || c == 0x24ff || c >= 0x2776 && c <= 0x277e || c >= 0x2780 && c <= 0x2788 || c >= 0x278a && c <= 0x2792
}

func isNumeric(c rune) bool {
	return unicode.Is(unicode.N, c) || strings.ContainsRune("一二三四五六七八九十百千万億兆零〇两亿廿卅壹贰叁肆伍陆柒捌玖拾佰仟", c)
}

func isAlnum(c rune) bool { return unicode.IsLetter(c) || isNumeric(c) }

func isIdentifier(s string) bool {
	for i, c := range s {
		start := c == '_' || unicode.In(c, unicode.L, unicode.Nl, unicode.Other_ID_Start)
		if !start && (i == 0 || !unicode.In(c, unicode.Nd, unicode.Mn, unicode.Mc, unicode.Pc, unicode.Other_ID_Continue)) {
			return false
		}
	}
	return s != ""
}

// allChars tells whether a text is not empty and each character passes.
func allChars(s string, ok func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return !ok(c) }) < 0
}

// splitLines cuts a text at its line ends, of which Python knows many.
func splitLines(s string, keep bool) (lines []string) {
	for s != "" {
		i := strings.IndexFunc(s, func(c rune) bool { return slices.Contains([]rune("\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029"), c) })
		if i < 0 {
			return append(lines, s)
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			n = 2
		}
		if keep {
			lines = append(lines, s[:i+n])
		} else {
			lines = append(lines, s[:i])
		}
		s = s[i+n:]
	}
	return lines
}

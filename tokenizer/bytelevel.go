package tokenizer

import "strings"

// GPT-2's vocabulary files spell each byte as one printable character: the
// printable bytes of Latin-1 as themselves, the others, in order, as the
// characters from U+0100 on (bytes_to_unicode in openai/gpt-2, encoder.py).
var (
	byteToRune [256]rune
	runeToByte = map[rune]byte{}
)

func init() {
	next := rune(0x100)
	for b := range rune(256) {
		r := b
		if !('!' <= b && b <= '~' || '¡' <= b && b <= '¬' || '®' <= b && b <= 'ÿ') {
			r = next
			next++
		}
		byteToRune[b] = r
		runeToByte[r] = byte(b)
	}
}

// spell writes bytes the way a vocabulary file does.
func spell(text string) string {
	var s strings.Builder
	for i := range len(text) {
		s.WriteRune(byteToRune[text[i]])
	}
	return s.String()
}

// unspell is the inverse of spell; false if a character stands for no byte.
func unspell(spelling string) (string, bool) {
	text := make([]byte, 0, len(spelling))
	for _, r := range spelling {
		b, ok := runeToByte[r]
		if !ok {
			return "", false
		}
		text = append(text, b)
	}
	return string(text), true
}

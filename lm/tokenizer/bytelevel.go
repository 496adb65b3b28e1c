package tokenizer

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

// unspell returns the bytes that a token of a vocabulary file stands for;
// false if one of its characters stands for none.
func unspell(spelling string) (text []byte, ok bool) {
	text = make([]byte, 0, len(spelling))
	for _, r := range spelling {
		b, ok := runeToByte[r]
		if !ok {
			return nil, false
		}
		text = append(text, b)
	}
	return text, true
}

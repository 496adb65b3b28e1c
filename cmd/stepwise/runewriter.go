package main

import (
	"io"
	"strings"
	"unicode/utf8"
)

// runeWriter writes text that comes in pieces which may end inside a
// character: such a character is held back until it is whole. Bytes that are no
// UTF-8 become U+FFFD.
type runeWriter struct {
	w    io.Writer
	held []byte
}

// Write implements io.Writer.
func (r *runeWriter) Write(p []byte) (int, error) {
	r.held = append(r.held, p...)
	whole := len(r.held)
	for i := range min(utf8.UTFMax, whole) {
		if at := whole - 1 - i; utf8.RuneStart(r.held[at]) {
			if !utf8.FullRune(r.held[at:]) {
				whole = at
			}
			break
		}
	}
	if err := r.flush(whole); err != nil {
		return 0, err
	}
	return len(p), nil
}

// end writes what is held back, and a line end.
func (r *runeWriter) end() error {
	r.held = append(r.held, '\n')
	return r.flush(len(r.held))
}

func (r *runeWriter) flush(n int) error {
	if n == 0 {
		return nil
	}
	_, err := io.WriteString(r.w, strings.ToValidUTF8(string(r.held[:n]), "\ufffd"))
	r.held = r.held[:copy(r.held, r.held[n:])]
	return err
}

package parity

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// lines cuts a stream into lines of any length and counts them.
type lines struct {
	r      *bufio.Reader
	buf    []byte
	number int // of the line that next returned last
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, 1<<16)} }

// next returns the next line that is not blank, valid until the next call, or
// io.EOF after the last. The last line needs no newline.
func (l *lines) next() ([]byte, error) {
	for {
		l.buf = l.buf[:0]
		var err error
		for {
			var part []byte
			part, err = l.r.ReadSlice('\n')
			l.buf = append(l.buf, part...)
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if len(l.buf) == 0 {
			return nil, io.EOF
		}
		l.number++
		if line := bytes.TrimSpace(l.buf); len(line) > 0 {
			return line, nil
		}
	}
}

package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// cursor reads the head of a file. After its first error it returns zeros.
type cursor struct {
	r    *bufio.Reader
	at   int64
	size int64 // of the file
	err  error
}

func newCursor(src io.ReaderAt, size int64) *cursor {
	return &cursor{r: bufio.NewReader(io.NewSectionReader(src, 0, size)), size: size}
}

func (c *cursor) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("at byte %d: "+format, append([]any{c.at}, args...)...)
	}
}

// bytes reads n bytes. It fails if the file has fewer.
func (c *cursor) bytes(n int) []byte {
	b := make([]byte, n)
	if c.err == nil {
		if _, err := io.ReadFull(c.r, b); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = errors.New("the file ends in the middle of its header")
			}
			c.fail("%w", err)
			clear(b)
		}
		c.at += int64(n)
	}
	return b
}

func (c *cursor) uint32() uint32 { return binary.LittleEndian.Uint32(c.bytes(4)) }
func (c *cursor) uint64() uint64 { return binary.LittleEndian.Uint64(c.bytes(8)) }

// count reads the number of elements that follow, each of at least the given
// number of bytes. It fails if the rest of the file has no room for them.
func (c *cursor) count(bytes int64) int {
	n := c.uint64()
	if room := max(0, c.size-c.at) / bytes; n > uint64(room) {
		c.fail("%d elements, but the rest of the file has room for %d at most", n, room)
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

func (c *cursor) string() string { return string(c.bytes(c.count(1))) }

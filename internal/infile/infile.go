package infile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
)

// Regular returns an error unless path is a regular file or a link to one. A
// directory, pipe, socket or device is not even opened, because opening a pipe
// waits for its other end.
func Regular(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return CheckMode(path, info.Mode())
}

// CheckMode returns an error, which says what path is, unless its mode is that of a
// regular file.
func CheckMode(path string, m fs.FileMode) error {
	if m.IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%s, want a regular file", kind(m))}
}

// Open opens a regular file, or a link to one, and returns its size.
func Open(path string) (*os.File, int64, error) {
	if err := Regular(path); err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// kind names a mode that is not a regular file's.
func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a directory"
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// NoLimit is the limit of [Read] for files that the program itself wrote.
const NoLimit = math.MaxInt64 - 1

// Read returns the contents of a regular file of at most limit bytes. A longer
// file is an error, found before memory is allocated for it.
func Read(path string, limit int64) ([]byte, error) {
	f, size, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	long := func(size int64) error {
		return &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%d bytes or more, want at most %d", size, limit)}
	}
	if size > limit {
		return nil, long(size)
	}
	// The file may grow, and some of the system's claim to be empty.
	data := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, err
	}
	if int64(data.Len()) > limit {
		return nil, long(int64(data.Len()))
	}
	return data.Bytes(), nil
}

// Line is a line of a text file.
type Line struct {
	// Number counts lines from 1.
	Number int
	// Text is the line with its line break "\n", which only the last line of a
	// file may lack. It is valid until the next line is read.
	Text []byte
	// Offset is the byte at which the line begins.
	Offset int64
}

// Lines yields the lines of r. A line of more than limit bytes, line break
// included, and a failed read end the sequence with an error that gives the
// line's number.
func Lines(r io.Reader, limit int) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		in := bufio.NewReaderSize(r, 1<<16)
		line := Line{Number: 1}
		for {
			part, err := in.ReadSlice('\n')
			line.Text = append(line.Text, part...)
			switch {
			case len(line.Text) > limit:
				yield(Line{}, fmt.Errorf("line %d: longer than %d bytes", line.Number, limit))
				return
			case errors.Is(err, bufio.ErrBufferFull):
				continue
			case err != nil && !errors.Is(err, io.EOF):
				yield(Line{}, fmt.Errorf("line %d: %w", line.Number, err))
				return
			case len(line.Text) > 0 && !yield(line, nil) || err != nil:
				return
			}
			line = Line{line.Number + 1, line.Text[:0], line.Offset + int64(len(line.Text))}
		}
	}
}

// JSON decodes text, one JSON value, into v, as json.Unmarshal does. Its errors
// also name a byte order mark, NaN and Infinity, which Python writes.
func JSON(text []byte, v any) error { return Explain(text, json.Unmarshal(text, v)) }

// Explain returns err, which a decoder of package json gave for text, in words
// that name what Python's json writes and JSON lacks.
func Explain(text []byte, err error) error {
	if err == nil {
		return nil
	}
	if bytes.HasPrefix(text, []byte("\xEF\xBB\xBF")) {
		return errors.New("begins with a byte order mark, want JSON in UTF-8 without one")
	}
	// A decoder of streams does not say where it is: look for the place again.
	var raw json.RawMessage
	var syntax *json.SyntaxError
	if !errors.As(json.Unmarshal(text, &raw), &syntax) || syntax.Offset < 1 || syntax.Offset > int64(len(text)) {
		return err
	}
	at := int(syntax.Offset) - 1
	if at > 0 && text[at-1] == '-' {
		at--
	}
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(text[at:], []byte(word)) {
			line := 1 + bytes.Count(text[:at], []byte("\n"))
			return fmt.Errorf("line %d: %s is not JSON, want a finite number or null", line, word)
		}
	}
	return err
}

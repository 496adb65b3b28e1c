// Package infile reads files that others wrote. It never waits for a pipe or
// reads a device without end, takes no memory before it knows how much, and says
// clearly what Python writes as JSON although it is none.
package infile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Regular returns an error unless path is a regular file or a link to one. A
// directory, pipe, socket or device is not even opened, because opening a pipe
// waits for its other end.
func Regular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: fmt.Errorf("%s, want a regular file", kind(info.Mode()))}
	}
	return err
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
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// Read returns the contents of a regular file of at most limit bytes. A longer
// one is an error.
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

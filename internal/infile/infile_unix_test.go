//go:build unix

package infile_test

import (
	"encoding/json"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(path, []byte("12345"), 0o666))
	data, err := infile.Read(path, 5)
	require.NoError(t, err)
	require.Equal(t, "12345", string(data))
	_, err = infile.Read(path, 4)
	require.EqualError(t, err, "read "+path+": 5 bytes or more, want at most 4")

	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink("file", link))
	_, err = infile.Read(link, 5)
	require.NoError(t, err, "the caches of Hugging Face are made of links")
	_, err = infile.Read(filepath.Join(dir, "none"), 5)
	require.ErrorIs(t, err, fs.ErrNotExist)

	// A sparse file of a terabyte takes no memory.
	huge := filepath.Join(dir, "huge")
	require.NoError(t, os.WriteFile(huge, nil, 0o666))
	require.NoError(t, os.Truncate(huge, 1<<40))
	_, err = infile.Read(huge, 1<<20)
	require.ErrorContains(t, err, "want at most 1048576")
}

func TestOnlyRegularFilesAreOpened(t *testing.T) {
	dir := t.TempDir()
	pipe, socket := filepath.Join(dir, "pipe"), filepath.Join(dir, "socket")
	require.NoError(t, syscall.Mkfifo(pipe, 0o666))
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	defer l.Close()
	for path, want := range map[string]string{dir: "a directory", pipe: "a pipe", socket: "a socket", "/dev/zero": "a device"} {
		_, err := infile.Read(path, 10)
		require.EqualError(t, err, "open "+path+": "+want+", want a regular file")
	}
}

func TestWhatPythonWritesIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"\xEF\xBB\xBF{}":          "begins with a byte order mark, want JSON in UTF-8 without one",
		`{"a": NaN}`:              "line 1: NaN is not JSON, want a finite number or null",
		"{\n\"a\": [Infinity]\n}": "line 2: Infinity is not JSON, want a finite number or null",
		`{"a":-Infinity}`:         "line 1: -Infinity is not JSON, want a finite number or null",
		`{"a":None}`:              "invalid character 'N' looking for beginning of value",
		`{"a":`:                   "unexpected end of JSON input",
	} {
		var v any
		require.EqualError(t, infile.JSON([]byte(text), &v), want)
		dec := json.NewDecoder(strings.NewReader(text))
		require.Error(t, infile.Explain([]byte(text), dec.Decode(&v)))
	}
	var v map[string]int
	require.NoError(t, infile.JSON([]byte(`{"NaN":1}`), &v))
	require.Equal(t, map[string]int{"NaN": 1}, v)
}

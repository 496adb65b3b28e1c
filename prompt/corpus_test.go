package prompt_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
)

// testdata/corpus.jsonl.gz holds completions that a half-trained model wrote,
// with the traces expected of them. Its first line is a corpusHeader, every
// other a corpusLine. To change the expected traces after a change of the
// parser, run
//
//	go test ./prompt -run TestCorpus -update
//
// and review what changed. A line without a trace gets one the same way.
const corpusFile = "testdata/corpus.jsonl.gz"

var update = flag.Bool("update", false, "rewrite the expected traces in "+corpusFile)

type corpusHeader struct {
	Syntax string            `json:"syntax"` // "tagged" or "boxed"
	Steps  []prompt.StepSpec `json:"steps"`
}

// corpusLine holds a completion in Text or, if it is not valid UTF-8, in Bytes.
type corpusLine struct {
	Text  string          `json:"text,omitempty"`
	Bytes []byte          `json:"bytes,omitempty"` // base64
	Ends  []int           `json:"ends"`
	Trace json.RawMessage `json:"trace,omitempty"` // a prompt.Trace without Text
}

func (l *corpusLine) completion() string {
	if l.Bytes != nil {
		return string(l.Bytes)
	}
	return l.Text
}

func readCorpus(r io.Reader) (header corpusHeader, lines []corpusLine, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return header, nil, err
	}
	in := bufio.NewReader(z)
	for n := 1; ; n++ {
		data, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(data) == 0 {
			return header, lines, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return header, nil, err
		}
		if n == 1 {
			err = json.Unmarshal(data, &header)
		} else {
			lines = append(lines, corpusLine{})
			err = json.Unmarshal(data, &lines[n-2])
		}
		if err != nil {
			return header, nil, fmt.Errorf("line %d: %w", n, err)
		}
	}
}

func writeCorpus(w io.Writer, header corpusHeader, lines []corpusLine) error {
	z := gzip.NewWriter(w)
	enc := json.NewEncoder(z)
	if err := enc.Encode(header); err != nil {
		return err
	}
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return z.Close()
}

func TestCorpus(t *testing.T) {
	file, err := os.Open(corpusFile)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("there is no %s yet", corpusFile)
	}
	require.NoError(t, err)
	defer file.Close()
	header, lines, err := readCorpus(file)
	require.NoError(t, err)
	checkCorpus(t, header, lines)
	if *update {
		var b bytes.Buffer
		require.NoError(t, writeCorpus(&b, header, lines))
		require.NoError(t, os.WriteFile(corpusFile, b.Bytes(), 0o644))
	}
}

// checkCorpus compares each line's trace with the expected one, or, with
// -update, puts it there.
func checkCorpus(t *testing.T, header corpusHeader, lines []corpusLine) {
	syntax, ok := syntaxes[header.Syntax]
	require.True(t, ok, "no syntax %q", header.Syntax)
	parser := syntax.Parser(header.Steps)
	for i := range lines {
		l := &lines[i]
		trace := parser.Parse(l.completion(), l.Ends)
		checkTrace(t, header.Steps, l.completion(), l.Ends, trace)
		trace.Text = ""
		got, err := json.Marshal(trace)
		require.NoError(t, err)
		if *update {
			l.Trace = got
			continue
		}
		assert.JSONEq(t, string(l.Trace), string(got), "line %d", i+2)
	}
}

// The file format itself, whatever the corpus.
func TestCorpusFormat(t *testing.T) {
	header := corpusHeader{Syntax: "boxed", Steps: specs[:1]}
	parser := prompt.Boxed{}.Parser(header.Steps)
	var lines []corpusLine
	for _, text := range []string{`x \boxed{1}`, "\xff \\boxed{\xfe}", ""} {
		l := corpusLine{Ends: []int{len(text)}}
		if utf8.ValidString(text) {
			l.Text = text
		} else {
			l.Bytes = []byte(text)
		}
		trace := parser.Parse(text, l.Ends)
		trace.Text = ""
		var err error
		l.Trace, err = json.Marshal(trace)
		require.NoError(t, err)
		lines = append(lines, l)
	}
	var b bytes.Buffer
	require.NoError(t, writeCorpus(&b, header, lines))
	gotHeader, got, err := readCorpus(&b)
	require.NoError(t, err)
	assert.Equal(t, header, gotHeader)
	assert.Equal(t, lines, got)
	checkCorpus(t, gotHeader, got)
}

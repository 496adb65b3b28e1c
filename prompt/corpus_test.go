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
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
)

// corpusFiles hold completions that half-trained models wrote, as they are and
// mutated, with the traces expected of them. The first line of a file is a
// corpusHeader, every other a corpusLine. testdata/corpus.py, an independent
// parser, agrees with every trace; its first lines say how the files are made.
// To change the expected traces after a change of the parser, run
//
//	go test ./prompt -run TestCorpus -update
//
// and have corpus.py check them. A line without a trace gets one the same way.
var corpusFiles = []string{"corpus.jsonl.gz", "mutated-tagged.jsonl.gz", "mutated-boxed.jsonl.gz"}

var update = flag.Bool("update", false, "rewrite the expected traces of the corpora in testdata")

type corpusHeader struct {
	Syntax string            `json:"syntax"` // "tagged" or "boxed"
	Steps  []prompt.StepSpec `json:"steps"`
}

// corpusLine holds a completion as its tokens. They need not be valid UTF-8:
// each character from U+0000 to U+00FF stands for one byte.
type corpusLine struct {
	Tokens []string        `json:"tokens"`
	Trace  json.RawMessage `json:"trace,omitempty"` // a prompt.Trace without Text
}

// completion returns the text and the ends of the tokens.
func (l *corpusLine) completion() (string, []int) {
	var text []byte
	ends := []int{}
	for _, token := range l.Tokens {
		for _, char := range token {
			text = append(text, byte(char))
		}
		ends = append(ends, len(text))
	}
	return string(text), ends
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
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
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
	for _, name := range corpusFiles {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name)
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			header, lines, err := readCorpus(bytes.NewReader(data))
			require.NoError(t, err)
			require.NotEmpty(t, lines)
			checkCorpus(t, header, lines)
			if *update {
				var b bytes.Buffer
				require.NoError(t, writeCorpus(&b, header, lines))
				require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
			}
		})
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
		text, ends := l.completion()
		trace := parser.Parse(text, ends)
		checkTrace(t, header.Steps, text, ends, trace)
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
	for _, tokens := range [][]string{{`x \boxed{`, "1}", ""}, {"\u00ff \\boxed{\u00e6", "\u0097\u00a5}"}, {}} {
		l := corpusLine{Tokens: tokens}
		trace := parser.Parse(l.completion())
		trace.Text = ""
		var err error
		l.Trace, err = json.Marshal(trace)
		require.NoError(t, err)
		lines = append(lines, l)
	}
	text, ends := lines[1].completion()
	assert.Equal(t, "\xff \\boxed{日}", text)
	assert.Equal(t, []int{10, 13}, ends)

	var b bytes.Buffer
	require.NoError(t, writeCorpus(&b, header, lines))
	gotHeader, got, err := readCorpus(&b)
	require.NoError(t, err)
	assert.Equal(t, header, gotHeader)
	assert.Equal(t, lines, got)
	checkCorpus(t, gotHeader, got)
}

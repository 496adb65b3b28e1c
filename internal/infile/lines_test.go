package infile_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

func ExampleLines() {
	for line, err := range infile.Lines(strings.NewReader("{}\n{\"torn\":"), 100) {
		fmt.Printf("%d at byte %d: %q %v\n", line.Number, line.Offset, line.Text, err)
	}
	// Output:
	// 1 at byte 0: "{}\n" <nil>
	// 2 at byte 3: "{\"torn\":" <nil>
}

func ExampleJSON() {
	var config struct{ Temperature float64 }
	fmt.Println(infile.JSON([]byte(`{"temperature": NaN}`), &config))
	// Output: line 1: NaN is not JSON, want a finite number or null
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 1<<17) // longer than the buffer
	broken := errors.New("broken disk")
	for name, c := range map[string]struct {
		r    io.Reader
		want []string
		err  string
	}{
		"empty":         {strings.NewReader(""), nil, ""},
		"empty lines":   {strings.NewReader("\n\na"), []string{"\n", "\n", "a"}, ""},
		"long":          {strings.NewReader(long + "\nb\n"), []string{long + "\n", "b\n"}, ""},
		"too long":      {strings.NewReader("a\n" + long + long), []string{"a\n"}, "line 2: longer than 200000 bytes"},
		"read error":    {io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), []string{"a\n"}, "line 2: broken disk"},
		"byte by byte":  {iotest.OneByteReader(strings.NewReader("ab\ncd\n")), []string{"ab\n", "cd\n"}, ""},
		"of the limit":  {strings.NewReader(strings.Repeat("x", 199_999) + "\n"), []string{strings.Repeat("x", 199_999) + "\n"}, ""},
		"one too many":  {strings.NewReader(strings.Repeat("x", 200_000) + "\n"), nil, "line 1: longer than 200000 bytes"},
		"data with EOF": {iotest.DataErrReader(strings.NewReader("a\nb")), []string{"a\n", "b"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			offset := int64(0)
			for line, err := range infile.Lines(c.r, 200_000) {
				if err != nil {
					require.EqualError(t, err, c.err)
					c.err = ""
					continue
				}
				require.Equal(t, offset, line.Offset)
				got = append(got, string(line.Text))
				require.Equal(t, len(got), line.Number)
				offset += int64(len(line.Text))
			}
			require.Equal(t, c.want, got)
			require.Empty(t, c.err, "an error that did not come")
		})
	}
}

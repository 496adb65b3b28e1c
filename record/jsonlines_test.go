package record_test

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/record"
)

// openLines opens a file that has the given content.
func openLines(t *testing.T, content string) (path string, lines *record.JSONLines, log *bytes.Buffer) {
	path, log = filepath.Join(t.TempDir(), "metrics.jsonl"), new(bytes.Buffer)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	lines, err := record.OpenJSONLines(path, slog.New(slog.NewTextHandler(log, nil)))
	require.NoError(t, err)
	t.Cleanup(func() { lines.Close() })
	return path, lines, log
}

func content(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// line is a line in the format's shortest time.
func line(step string) string {
	return `{"step":` + step + `,"time":"2026-11-29T18:08:00Z","metrics":{"loss":` + step + `}}` + "\n"
}

func TestFormat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock begins with the year 2000
		path := filepath.Join(t.TempDir(), "metrics.jsonl")
		r, err := record.OpenJSONLines(path, nil)
		require.NoError(t, err)
		require.NoError(t, r.Record(1, map[string]float64{"b": 1e21, "a/<&>": 0.1, "主题": 100, "\n": -0.5, "B": 5e-324}))
		time.Sleep(1234567 * time.Microsecond)
		require.NoError(t, r.Record(20, map[string]float64{"x": math.NaN(), "y": math.Inf(1), "z": math.Inf(-1)}))
		require.NoError(t, r.Record(21, nil))
		require.NoError(t, r.Close())
		assert.Equal(t, `{"step":1,"time":"2000-01-01T00:00:00Z","metrics":{"B":5e-324,"\\n":-0.5,"a/<&>":0.1,"b":1e+21,"主题":100}}
{"step":20,"time":"2000-01-01T00:00:01.234Z","metrics":{"x":"NaN","y":"Infinity","z":"-Infinity"}}
{"step":21,"time":"2000-01-01T00:00:01.234Z","metrics":{}}
`, content(t, path))
	})
}

func TestLinesGivesBackWhatWasRecorded(t *testing.T) {
	path, r, _ := openLines(t, "")
	metrics := map[string]float64{"third": 1. / 3, "nan": math.NaN(), "inf": math.Inf(-1), "zero": math.Copysign(0, -1), "big": math.MaxFloat64}
	require.NoError(t, r.Record(3, metrics))
	require.NoError(t, r.Record(4, nil))
	var got []record.Line
	for l, err := range record.Lines(strings.NewReader(content(t, path) + `{"step":5,"ti`)) { // one is being written
		require.NoError(t, err)
		got = append(got, l)
	}
	want := []record.Line{{Step: 3, Metrics: metrics}, {Step: 4, Metrics: map[string]float64{}}}
	assert.Empty(t, cmp.Diff(want, got, cmpopts.EquateNaNs(), cmpopts.IgnoreFields(record.Line{}, "Time")))
	assert.WithinDuration(t, time.Now(), got[0].Time, time.Minute)
	for range record.Lines(strings.NewReader(content(t, path))) {
		break // the reader may stop
	}
}

func TestResume(t *testing.T) {
	three := line("1") + line("2") + line("5")
	for name, c := range map[string]struct {
		before string
		step   int64
		kept   string
		log    string
	}{
		"goes on":            {three, 6, three, ""},
		"steps left out":     {three, 9, three, ""},
		"repeats a step":     {three, 5, line("1") + line("2"), "lines=1"},
		"a step between":     {three, 3, line("1") + line("2"), "lines=1"},
		"begins anew":        {three, 1, "", "lines=3"},
		"a torn line":        {three + `{"step":6,"time":"20`, 6, three, "bytes=20"},
		"torn at the end":    {three + strings.TrimSuffix(line("6"), "\n"), 7, three, "bytes="},
		"torn first line":    {`{"st`, 1, "", "bytes=4"},
		"power failure":      {three + `{"step":6,` + strings.Repeat("\x00", 4096), 6, three, "bytes=4106"},
		"only zeros":         {strings.Repeat("\x00", 4096), 1, "", "bytes=4096"},
		"torn and repeating": {three + `{`, 2, line("1"), "lines=2"},
	} {
		t.Run(name, func(t *testing.T) {
			path, r, log := openLines(t, c.before)
			assert.Equal(t, c.before, content(t, path), "opening changes nothing")
			require.NoError(t, r.Record(c.step, map[string]float64{"loss": 0}))
			require.NoError(t, r.Record(c.step+1, map[string]float64{"loss": 0}))
			require.NoError(t, r.Close())
			rest, ok := strings.CutPrefix(content(t, path), c.kept)
			assert.True(t, ok, "the lines before the step are kept")
			assert.Equal(t, 2, strings.Count(rest, "\n"))
			assert.Contains(t, log.String(), c.log)
			assert.Equal(t, c.log == "", log.Len() == 0, "what is cut off is said: %s", log)
		})
	}
}

func TestDamagedLineIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"in the middle":  {line("1") + "{\"step\":2,\n" + line("3"), "record: line 2: unexpected end of JSON input"},
		"zeros inside":   {line("1") + "\x00\x00\n" + line("3"), "record: line 2: invalid character '\\x00'"},
		"twice":          {line("1") + line("2") + line("2"), "record: line 3: training step 2 after 2: want ascending steps"},
		"not of metrics": {"hello\n", "record: line 1: invalid character 'h'"},
		"no newline":     {"hello", "record: line 1 is not the beginning of a line of metrics"},
		"an empty line":  {line("1") + "\n", "record: line 2: unexpected end"},
		"no step":        {`{"time":"2026-11-29T18:08:00Z","metrics":{}}` + "\n", `line 1: field "step": want a number from 1`},
		"step 0":         {line("0"), `line 1: field "step": want a number from 1`},
		"no time":        {`{"step":1,"metrics":{}}` + "\n", `line 1: field "time" is missing`},
		"no metrics":     {`{"step":1,"time":"2026-11-29T18:08:00Z","loss":1}` + "\n", `line 1: field "metrics" is missing`},
		"null":           {`{"step":1,"time":"2026-11-29T18:08:00Z","metrics":{"a":null}}` + "\n", `line 1: metric "a" is null, want a number, "NaN", "Infinity" or "-Infinity"`},
		"a text":         {`{"step":1,"time":"2026-11-29T18:08:00Z","metrics":{"a":"nan"}}` + "\n", `line 1: metric "a" is "nan", want`},
		"too large":      {`{"step":1,"time":"2026-11-29T18:08:00Z","metrics":{"a":1e400}}` + "\n", `line 1: metric "a" is 1e400, want`},
		"too long":       {line("1") + `{"step":2,` + strings.Repeat(" ", 4<<20), "line 2: longer than 4194304 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "metrics.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
			_, err := record.OpenJSONLines(path, nil)
			require.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, path)
			assert.Equal(t, c.text, content(t, path), "the file is left as it is")

			n := 0
			for _, err := range record.Lines(strings.NewReader(c.text)) {
				if n++; err != nil {
					assert.ErrorContains(t, err, c.want)
				}
			}
			assert.Positive(t, n)
		})
	}
}

func TestUnknownFieldsAreSkipped(t *testing.T) {
	for l, err := range record.Lines(strings.NewReader(`{"step":1,"epoch":3,"time":"2026-11-29T18:08:00Z","metrics":{"a":1}}` + "\n")) {
		require.NoError(t, err)
		assert.Equal(t, map[string]float64{"a": 1}, l.Metrics)
	}
}

func TestOnlyRegularFiles(t *testing.T) {
	_, err := record.OpenJSONLines(os.DevNull, nil)
	assert.ErrorContains(t, err, "want a regular file")
	_, err = record.OpenJSONLines(t.TempDir(), nil)
	assert.Error(t, err)
	_, err = record.OpenJSONLines(filepath.Join(t.TempDir(), "missing", "metrics.jsonl"), nil)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// A file that took the place of the one that was opened is not cut, and the step is not
// taken for recorded.
func TestReplacedFile(t *testing.T) {
	path, lines, _ := openLines(t, line("1")+line("2")+line("3"))
	if os.Rename(path, path+".old") != nil {
		t.Skip("the system replaces no open files")
	}
	other := line("1") + line("20") + line("30")
	require.NoError(t, os.WriteFile(path, []byte(other), 0o600))
	require.ErrorContains(t, lines.Record(2, nil), "replaced while it was open")
	require.Equal(t, other, content(t, path))
	require.Equal(t, line("1")+line("2")+line("3"), content(t, path+".old"))
}

func TestClosed(t *testing.T) {
	path, r, _ := openLines(t, line("1"))
	require.NoError(t, r.Close())
	assert.ErrorIs(t, r.Record(2, nil), os.ErrClosed)
	assert.ErrorIs(t, r.Close(), os.ErrClosed)
	assert.Equal(t, line("1"), content(t, path))
}

// FuzzReopen reopens any file and records a step. Either the file is refused
// and left as it is, or it has, as before, all lines of earlier steps, and then
// the new one.
func FuzzReopen(f *testing.F) {
	f.Add(line("1")+line("2")+`{"step":3`, int64(2))
	f.Add(line("1")+"\x00\x00", int64(9))
	f.Add("{\"st", int64(1))
	f.Add(line("3")+"\n", int64(4))
	f.Add("hello", int64(1))
	f.Add(`{"step":1,"time":"2026-11-29T18:08:00Z","metrics":{"a":"NaN"}}`+"\r\n"+line("7"), int64(8))
	f.Fuzz(func(t *testing.T, before string, step int64) {
		if step < 1 || step == math.MaxInt64 {
			return
		}
		path := filepath.Join(t.TempDir(), "f")
		require.NoError(t, os.WriteFile(path, []byte(before), 0o600))
		r, err := record.OpenJSONLines(path, nil)
		if err != nil {
			require.Equal(t, before, content(t, path))
			return
		}
		require.NoError(t, r.Record(step, map[string]float64{"new": 1}))
		require.NoError(t, r.Close())
		after := content(t, path)
		require.True(t, strings.HasSuffix(after, "\n"))
		var steps []int64
		for l, err := range record.Lines(strings.NewReader(after)) {
			require.NoError(t, err)
			steps = append(steps, l.Step)
		}
		require.Equal(t, step, steps[len(steps)-1])
		kept := strings.LastIndex(strings.TrimSuffix(after, "\n"), "\n") + 1
		require.True(t, strings.HasPrefix(before, after[:kept]), "what is kept is a beginning of what was there")
		earlier := 0
		for l, err := range record.Lines(strings.NewReader(before)) {
			require.NoError(t, err)
			if l.Step < step {
				earlier++
			}
		}
		require.Equal(t, earlier, len(steps)-1, "no earlier line is lost")
	})
}

package record_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/record"
	"github.com/stepwise-rl/stepwise/rl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEscapeName(t *testing.T) {
	for name, want := range map[string]string{
		"reward/label":          "reward/label",
		"step/主题 of it/correct": "step/主题 of it/correct",
		`say "hi"`:              `say "hi"`,
		`back\slash`:            `back\\slash`,
		"two\nlines\ttab":       `two\nlines\ttab`,
		"\x1b[2Jclear":          `\x1b[2Jclear`,
		"not UTF-8 \xff":        `not UTF-8 \xff`,
		"right to left \u202e":  `right to left \u202e`,
		"\uFFFD":                "\uFFFD",
		`"`:                     `"`,
	} {
		assert.Equal(t, want, record.EscapeName(name))
	}
}

func TestEscapeNameKeepsNamesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.StringOfN(rapid.RuneFrom([]rune("\\\"nx1b\n\x1b\x00\u202eé")), 0, 6, -1)
		a, b := part.Draw(t, "a"), part.Draw(t, "b")
		if (record.EscapeName(a) == record.EscapeName(b)) != (a == b) {
			t.Fatalf("%q and %q become %q and %q", a, b, record.EscapeName(a), record.EscapeName(b))
		}
	})
}

// recorders are both that keep something, each in a folder of its own.
func recorders(t *testing.T) map[string]rl.Recorder {
	lines, err := record.OpenJSONLines(t.TempDir()+"/metrics.jsonl", nil)
	require.NoError(t, err)
	board, err := record.OpenTensorBoard(t.TempDir() + "/board")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, errors.Join(lines.Close(), board.Close())) })
	return map[string]rl.Recorder{"JSONLines": lines, "TensorBoard": board}
}

func TestNamesAreBounded(t *testing.T) {
	for kind, r := range recorders(t) {
		t.Run(kind, func(t *testing.T) {
			assert.EqualError(t, r.Record(1, map[string]float64{"": 1}), `record: training step 1: metric "": want a name that is not empty`)
			assert.EqualError(t, r.Record(1, map[string]float64{strings.Repeat("长", 100): 1}),
				`record: training step 1: metric "`+strings.Repeat("长", 40)+`"…: the name has 300 bytes, want at most 256`)
			assert.ErrorContains(t, r.Record(1, map[string]float64{strings.Repeat("\xff", 65): 1}), "has 260 bytes")

			many := map[string]float64{}
			for i := range record.MaxNames {
				many[fmt.Sprint(i)] = float64(i)
			}
			require.NoError(t, r.Record(1, many))
			require.NoError(t, r.Record(2, many), "the same names again")
			assert.EqualError(t, r.Record(3, map[string]float64{"one more": 1}),
				`record: training step 3: metric "one more": there are 4096 names already, want no more in one run`)
			require.NoError(t, r.Record(3, many), "a step that was refused can be recorded")
		})
	}
}

func TestStepsAscend(t *testing.T) {
	for kind, r := range recorders(t) {
		t.Run(kind, func(t *testing.T) {
			assert.EqualError(t, r.Record(0, nil), "record: training step 0, but they are counted from 1")
			require.NoError(t, r.Record(5, nil))
			require.NoError(t, r.Record(7, nil), "steps may be left out")
			assert.EqualError(t, r.Record(7, nil), "record: training step 7 after 7: want every step once, in ascending order")
			assert.ErrorContains(t, r.Record(math.MinInt64, nil), "counted from 1")
		})
	}
}

func TestTeeCallsAll(t *testing.T) {
	var got []string
	failing := func(name string) rl.Recorder {
		return rl.RecorderFunc(func(step int64, m map[string]float64) error {
			got = append(got, fmt.Sprint(name, step, m["loss"]))
			return errors.New(name)
		})
	}
	err := record.Tee(failing("a"), failing("b")).Record(3, map[string]float64{"loss": .5})
	assert.EqualError(t, err, "a\nb")
	assert.Equal(t, []string{"a3 0.5", "b3 0.5"}, got)

	assert.NoError(t, record.Tee().Record(1, nil))
	assert.PanicsWithValue(t, "record: Tee: recorder 1 is nil", func() { record.Tee(failing("a"), nil) })
}

package progress

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// onTerminal makes a bar that takes its writer for a terminal of so many
// columns.
func onTerminal(b *Bar, columns int) *Bar {
	b.width = func() (int, bool) { return columns, true }
	return b
}

func TestPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := New(&out, 12)
		for step := range int64(12) {
			time.Sleep(3 * time.Second)
			require.NoError(t, b.Record(step+1, map[string]float64{
				"loss": 1, "reward/label": float64(step), "reward/label/unscorable": 0, "reward/len": .5,
			}))
		}
		require.NoError(t, b.Close())
		// The first step, the first one 10 s after that, and so on; the last.
		assert.Equal(t, strings.Join([]string{
			"step 1/12  8%  reward/label 0  reward/len 0.5",
			"step 5/12  41%  reward/label 4  reward/len 0.5  3.0s/step  21s left",
			"step 9/12  75%  reward/label 8  reward/len 0.5  3.0s/step  9.0s left",
			"step 12/12  100%  reward/label 11  reward/len 0.5  3.0s/step  took 36s",
			"",
		}, "\n"), out.String())
	})
}

// Whole percents are exact: .29*100 is less than 29 in floating point.
func TestPercent(t *testing.T) {
	for step := range int64(101) {
		b := &Bar{steps: 100, step: step}
		assert.Contains(t, b.line(0, time.Time{}), fmt.Sprintf("step %d/100  %d%%", step, step))
	}
	b := &Bar{steps: 100, step: 150}
	assert.Contains(t, b.line(80, time.Time{}), "[####################]  100%")
}

func TestUnknownNumberOfSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := New(&out, 0, "loss")
		for _, step := range []int64{7, 17} { // recorded every tenth step
			require.NoError(t, b.Record(step, map[string]float64{"loss": 1 / float64(step)}))
			time.Sleep(20 * time.Second)
		}
		require.NoError(t, b.Close())
		assert.Equal(t, "step 7  loss 0.1429\nstep 17  loss 0.05882  2.0s/step\n", out.String())
	})
}

func TestTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		b := onTerminal(New(&out, 4, "eval/acc"), 80)
		const clear = "\x1b[K"
		took := func(want string) {
			t.Helper()
			assert.Equal(t, want, out.String())
			out.Reset()
		}
		require.NoError(t, b.Record(1, map[string]float64{"eval/acc": .5}))
		took("\rstep 1/4  [#####...............]  25%  eval/acc 0.5" + clear)

		time.Sleep(50 * time.Millisecond)
		require.NoError(t, b.Record(2, nil)) // too soon to draw again
		took("")

		slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		})).Info("hello")
		took("\r" + clear + "level=INFO msg=hello\n" +
			"\rstep 2/4  [##########..........]  50%  eval/acc 0.5  50ms/step  100ms left" + clear)

		time.Sleep(150 * time.Millisecond)
		require.NoError(t, b.Record(3, nil))
		took("\rstep 3/4  [###############.....]  75%  eval/acc 0.5  100ms/step  100ms left" + clear)

		time.Sleep(50 * time.Millisecond)
		require.NoError(t, b.Record(4, nil)) // the last step is always drawn
		require.NoError(t, b.Close())
		took("\rstep 4/4  [####################]  100%  eval/acc 0.5  83ms/step  took 250ms" + clear + "\n")
	})
}

// A run that stops early leaves its last step on the screen.
func TestCloseDrawsTheLastStep(t *testing.T) {
	var out strings.Builder
	b := onTerminal(New(&out, 100), 80)
	require.NoError(t, b.Record(1, nil))
	require.NoError(t, b.Record(2, nil))
	require.NoError(t, b.Close())
	assert.Regexp(t, `\rstep 2/100  \[\.+\]  2%  0ms/step  \d+ms left\x1b\[K\n$`, out.String())

	out.Reset()
	require.NoError(t, New(&out, 100).Close())
	assert.Empty(t, out.String(), "a bar that nothing was recorded on")
}

// No line is as wide as the terminal, or it would wrap and stay.
func TestNarrowTerminal(t *testing.T) {
	for columns := 2; columns < 90; columns++ {
		var out strings.Builder
		b := onTerminal(New(&out, 1000, "reward/标签"), columns)
		require.NoError(t, b.Record(10, map[string]float64{"reward/标签": .25}))
		line := strings.TrimSuffix(strings.TrimPrefix(out.String(), "\r"), "\x1b[K")
		assert.Less(t, width(line), columns)
		assert.Equal(t, columns > 58, strings.Contains(line, "[...................."), "%d: %s", columns, line)
	}
	assert.Equal(t, 9, width("step/标签"), "a wide character takes two columns")
}

// Half a line above the bar is not drawn over.
func TestWriteHalfALine(t *testing.T) {
	var out strings.Builder
	b := onTerminal(New(&out, 4), 80)
	_, err := b.Write([]byte("before\n"))
	require.NoError(t, err)
	require.NoError(t, b.Record(1, nil))
	_, err = b.Write([]byte("half"))
	require.NoError(t, err)
	require.NoError(t, b.Record(4, nil))
	const drawn = "\rstep 1/4  [#####...............]  25%\x1b[K"
	rest, ok := strings.CutPrefix(out.String(), "before\n"+drawn+"\r\x1b[Khalf\n\rstep 4/4  ")
	assert.True(t, ok, "%q", out.String())
	assert.NotContains(t, rest, "half")
}

func TestNotATerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/log")
	require.NoError(t, err)
	defer f.Close()
	b := New(f, 10)
	require.NoError(t, b.Record(1, map[string]float64{"reward/0": 1}))
	require.NoError(t, b.Close())
	text, err := os.ReadFile(f.Name())
	require.NoError(t, err)
	assert.Equal(t, "step 1/10  10%  reward/0 1\n", string(text))
}

type failing struct{ calls int }

func (f *failing) Write([]byte) (int, error) {
	f.calls++
	return 0, errors.New("nobody is there")
}

// A terminal that has gone away does not end the run.
func TestWriteErrorsAreNotTheRuns(t *testing.T) {
	var f failing
	b := New(&f, 2)
	require.NoError(t, b.Record(1, nil))
	require.NoError(t, b.Record(2, nil))
	n, err := b.Write([]byte("sample\n"))
	require.NoError(t, err)
	assert.Equal(t, 7, n)
	require.NoError(t, b.Close())
	assert.Equal(t, 1, f.calls)
}

func TestEstimate(t *testing.T) {
	of := func(durations ...time.Duration) time.Duration {
		var e estimate
		for _, d := range durations {
			e.add(d)
		}
		d, ok := e.perStep()
		require.Equal(t, len(durations) > 0, ok)
		return d
	}
	const s = time.Second
	assert.Zero(t, of())
	assert.Equal(t, 2*s, of(1*s, 2*s, 3*s))
	assert.Equal(t, 2*s, of(1*s, 1*s, 1*s, 5*s), "an evaluation counts in full")
	assert.Equal(t, 13*s/4, of(1*s, 1*s, 1*s, 8*time.Hour), "a pause counts as ten steps")

	var e estimate
	for range keep {
		e.add(time.Hour)
	}
	for range keep {
		e.add(s)
	}
	d, _ := e.perStep()
	assert.Equal(t, s, d, "only the last 64 count")

	assert.Equal(t, time.Duration(1<<63-1), saturate(time.Hour, 1<<60))
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                             "0ms",
		999 * time.Millisecond:        "999ms",
		1500 * time.Millisecond:       "1.5s",
		59 * time.Second:              "59s",
		61 * time.Second:              "1m 1s",
		3*time.Hour + 59*time.Second:  "3h 0m",
		49*time.Hour + 59*time.Minute: "2d 1h",
	} {
		assert.Equal(t, want, short(d))
	}
}

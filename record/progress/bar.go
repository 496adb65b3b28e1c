package progress

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stepwise-rl/stepwise/record"
)

// How often a bar is drawn at most, on a terminal and elsewhere.
const (
	redrawEvery = 100 * time.Millisecond
	lineEvery   = 10 * time.Second
)

// Bar is an rl.Recorder that shows how far a run is. On a terminal it is one line
// that is redrawn; elsewhere (a file, a pipe, TERM=dumb) it is a plain line for the
// first training step, then one at most every 10 seconds, and one for the last
// step. It starts no goroutine: it is drawn when a step is recorded.
//
// It is also an io.Writer for logs and samples, which appear above the bar. Its
// methods are safe for concurrent use.
//
// A bar never ends a run: once writing has failed, it writes nothing more, and no
// method returns an error.
type Bar struct {
	mu     sync.Mutex
	w      io.Writer
	width  func() (columns int, ok bool) // ok: w is a terminal
	steps  int64
	names  []string
	values map[string]float64 // the last value of each name shown
	left   estimate
	began  time.Time // of the bar
	prev   time.Time // of the last step
	step   int64     // 0 = none yet
	drawn  time.Time // of the last drawing; zero = none yet
	fresh  bool      // the last step has been drawn
	onLine bool      // the bar stands on the terminal's current line
	inText bool      // what Write wrote last did not end its line
	broken bool      // writing failed
}

// New returns a bar that draws on w, usually os.Stderr. steps is the number of
// training steps of the whole run (rl.Config.Steps); 0 if it is not known, and then
// neither bar nor time left is shown. The metrics are shown in the given order, by
// the names under which they are recorded; a metric that not every step has, such
// as one of an evaluation, keeps its last value. Without any names, the outcome
// rewards are shown: "reward/label", but not "reward/label/unscorable".
func New(w io.Writer, steps int64, metrics ...string) *Bar {
	return &Bar{
		w: w, width: terminal(w), steps: steps, names: slices.Clone(metrics),
		values: make(map[string]float64), began: time.Now(),
	}
}

// Record draws the bar after a training step. It returns nil.
func (b *Bar) Record(step int64, metrics map[string]float64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.step > 0 && step > b.step {
		b.left.add(now.Sub(b.prev) / time.Duration(step-b.step))
	}
	b.step, b.prev, b.fresh = step, now, false
	if len(b.names) == 0 {
		b.names = outcomeRewards(metrics)
	}
	for _, name := range b.names {
		if v, ok := metrics[name]; ok {
			b.values[name] = v
		}
	}
	every := lineEvery
	if _, ok := b.width(); ok {
		every = redrawEvery
	}
	if b.drawn.IsZero() || step == b.steps || now.Sub(b.drawn) >= every {
		b.draw(now)
	}
	return nil
}

// Write writes p above the bar, which is redrawn once p has ended its line. It
// returns len(p) and nil.
func (b *Bar) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	if b.onLine {
		b.print("\r\x1b[K")
		b.onLine = false
	}
	b.print(string(p))
	b.inText = !bytes.HasSuffix(p, []byte("\n"))
	if _, ok := b.width(); ok && b.step > 0 && !b.inText {
		b.draw(time.Now())
	}
	return len(p), nil
}

// Close draws the last step, unless that is done, and ends the bar's line. It does
// not close the writer.
func (b *Bar) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.step > 0 && !b.fresh {
		b.draw(time.Now())
	}
	if b.onLine {
		b.print("\n")
		b.onLine = false
	}
	return nil
}

func (b *Bar) print(text string) {
	if b.broken {
		return
	}
	_, err := io.WriteString(b.w, text)
	b.broken = err != nil
}

// draw draws the bar for the last step.
func (b *Bar) draw(now time.Time) {
	b.drawn, b.fresh = now, true
	if b.inText {
		b.print("\n")
		b.inText = false
	}
	if columns, ok := b.width(); ok {
		b.print("\r" + b.line(columns-1, now) + "\x1b[K") // the last column would wrap
		b.onLine = true
		return
	}
	b.print(b.line(0, now) + "\n")
}

// barWidth is the number of cells of a bar.
const barWidth = 20

// line is the bar's text, of at most so many columns; 0 = as long as it gets,
// and without the bar's cells.
func (b *Bar) line(columns int, now time.Time) string {
	parts := []string{"step " + strconv.FormatInt(b.step, 10)}
	cells := 0 // their place among the parts; 0 = none
	if b.steps > 0 {
		done := func(of float64) int { return int(float64(min(b.step, b.steps)) * of / float64(b.steps)) } // in whole parts
		parts[0] += fmt.Sprintf("/%d", b.steps)
		if columns > 0 {
			full := done(barWidth)
			cells = len(parts)
			parts = append(parts, "["+strings.Repeat("#", full)+strings.Repeat(".", barWidth-full)+"]")
		}
		parts = append(parts, fmt.Sprintf("%d%%", done(100)))
	}
	for _, name := range b.names {
		if v, ok := b.values[name]; ok {
			parts = append(parts, record.EscapeName(name)+" "+strconv.FormatFloat(v, 'g', 4, 64))
		}
	}
	if perStep, ok := b.left.perStep(); ok {
		parts = append(parts, short(perStep)+"/step")
		if remaining := b.steps - b.step; remaining > 0 {
			parts = append(parts, short(saturate(perStep, remaining))+" left")
		}
	}
	if b.steps > 0 && b.step >= b.steps {
		parts = append(parts, "took "+short(now.Sub(b.began)))
	}
	text := strings.Join(parts, "  ")
	if cells > 0 && width(text) > columns {
		text = strings.Join(slices.Delete(parts, cells, cells+1), "  ")
	}
	if columns > 0 {
		text = cut(text, columns)
	}
	return text
}

// outcomeRewards are the names of the outcome rewards among the metrics.
func outcomeRewards(metrics map[string]float64) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if rest, ok := strings.CutPrefix(name, "reward/"); ok && !strings.Contains(rest, "/") {
			names = append(names, name)
		}
	}
	return names
}

// width is the number of columns of a text, or more: a character that is not
// ASCII counts as two, which only the wide ones take.
func width(text string) (n int) {
	for _, r := range text {
		n++
		if r >= 0x80 {
			n++
		}
	}
	return n
}

// cut shortens a text to a width.
func cut(text string, columns int) string {
	n := 0
	for i, r := range text {
		n += width(string(r))
		if n > columns {
			return text[:i]
		}
	}
	return text
}

// estimate foretells how long a training step takes.
type estimate struct {
	recent []time.Duration // of the last steps, at most keep
	next   int             // which of them is the oldest, once there are keep
}

const keep = 64

func (e *estimate) add(d time.Duration) {
	if len(e.recent) < keep {
		e.recent = append(e.recent, d)
		return
	}
	e.recent[e.next] = d
	e.next = (e.next + 1) % keep
}

// perStep is the mean of the last 64 steps, of which each counts as at most ten
// times their median: the occasional evaluation and checkpoint take their share
// of the time that is left, a laptop that was asleep does not.
func (e *estimate) perStep() (time.Duration, bool) {
	n := len(e.recent)
	if n == 0 {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(e.recent))
	most := 10 * float64(sorted[n/2])
	sum := 0.0
	for _, d := range sorted {
		sum += min(float64(d), most)
	}
	return time.Duration(sum / float64(n)), true
}

// saturate is d·n, or the longest duration.
func saturate(d time.Duration, n int64) time.Duration {
	if v := float64(d) * float64(n); v < math.MaxInt64 {
		return time.Duration(v)
	}
	return math.MaxInt64
}

// short is a duration in its two largest units.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%dd %dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

// terminal returns a function that gives the width of a terminal, as it is now;
// ok is false if w is none.
func terminal(w io.Writer) func() (columns int, ok bool) {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return func() (int, bool) { return 0, false }
	}
	return func() (int, bool) {
		n, ok := columns(f)
		if ok && n < 2 {
			n = 80 // a terminal that does not know its size
		}
		return n, ok
	}
}

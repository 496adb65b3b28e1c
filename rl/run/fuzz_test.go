package run

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzLog: whatever a log holds, it is cut to whole lines up to a training step, or the
// error names it; and the repaired log can be cut.
func FuzzLog(f *testing.F) {
	var log []byte
	for step := range int64(4) {
		line, err := formatLine(step+1, map[string]any{"loss": 0.5, "text": "\n\"crc\":"})
		if err != nil {
			f.Fatal(err)
		}
		log = append(log, line...)
	}
	f.Add(log, int64(2))
	f.Add(log[:len(log)-9], int64(4))
	f.Add(append(bytes.Clone(log), make([]byte, 40)...), int64(3))
	f.Add(bytes.Replace(log, []byte(`"step":2`), []byte(`"step":9`), 1), int64(3))
	f.Add(append(bytes.Clone(log), log...), int64(2))
	measure := func(text []byte, step int64) (extent, error) {
		m := measuring{path: "the log", step: step}
		err := scanReader(bytes.NewReader(text), m.path, m.line)
		return m.extent, err
	}
	f.Fuzz(func(t *testing.T, text []byte, step int64) {
		e, err := measure(text, step)
		if err != nil {
			if !strings.Contains(err.Error(), "the log") {
				t.Fatalf("%v does not name the log", err)
			}
			s := salvaging{step: step}
			if err := scanReader(bytes.NewReader(text), "the log", s.line); err != nil {
				t.Fatal(err)
			}
			text = s.good.Bytes()
			if e, err = measure(text, step); err != nil || e.beyond+e.torn > 0 {
				t.Fatalf("the repaired log: %+v, %v", e, err)
			}
		}
		lines, last := 0, int64(0)
		for line := range bytes.Lines(text[:e.size]) {
			l, err := parseLine(line)
			if err != nil || l.Step > step || l.Step < last {
				t.Fatalf("line %q is kept: %v", line, err)
			}
			lines, last = lines+1, l.Step
		}
		if lines != e.lines || last != e.last {
			t.Fatalf("%+v, but %d lines up to step %d", e, lines, last)
		}
	})
}

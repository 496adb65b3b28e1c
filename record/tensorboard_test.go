package record_test

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/record"
)

var update = flag.Bool("update", false, "write testdata/resumed; then run testdata/golden.py")

// boardMetrics are what process p recorded of a training step of the run in
// testdata/resumed.
func boardMetrics(process int, step int64) map[string]float64 {
	m := map[string]float64{
		"loss":            float64(process) + float64(step)/100,
		"step/主题/correct": 1 / float64(step),
		"odd\nname\x1b":   math.Inf(1),
		"tokens":          1<<24 + 1,
	}
	if step%2 == 0 {
		m["nan"] = math.NaN()
	}
	return m
}

const boardText = "step 1\n# no heading\n\n<b>no bold</b> 你好 \xff\n```\n"

// recordBoard records the run of testdata/resumed: the first process gets to
// training step 6, the second resumes after 3 and gets to 5, the third resumes
// after 4 and gets to 8. The clock stands still, so file names must differ by
// themselves.
func recordBoard(t *testing.T, dir string) {
	for process, steps := range [][2]int64{{1, 6}, {4, 5}, {5, 8}} {
		r, err := record.OpenTensorBoard(dir)
		require.NoError(t, err)
		for step := steps[0]; step <= steps[1]; step++ {
			text := ""
			if step%4 == 1 {
				text = strings.Replace(boardText, "1", fmt.Sprint(step), 1)
			}
			require.NoError(t, r.Text(step, "samples", text))
			require.NoError(t, r.Record(step, boardMetrics(process+1, step)))
		}
		require.NoError(t, r.Close())
	}
}

// eventFiles are the contents of the event files in a folder, in their order.
func eventFiles(t *testing.T, dir string) (files [][]byte) {
	paths, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.*"))
	require.NoError(t, err)
	for _, path := range paths {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		files = append(files, data)
	}
	return files
}

const resumed = "testdata/resumed"

// The bytes are those of testdata/resumed, which TensorBoard has read.
func TestEventFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the clock begins with the year 2000
		dir := filepath.Join(t.TempDir(), "runs", "a")
		recordBoard(t, dir)
		if *update {
			require.NoError(t, os.RemoveAll(resumed))
			require.NoError(t, os.MkdirAll(resumed, 0o755))
			for i, data := range eventFiles(t, dir) {
				name := fmt.Sprintf("events.out.tfevents.%010d.host", time.Now().Unix()+int64(i))
				require.NoError(t, os.WriteFile(filepath.Join(resumed, name), data, 0o644))
			}
		}
		got, want := eventFiles(t, dir), eventFiles(t, resumed)
		require.Len(t, want, 3)
		require.Len(t, got, 3)
		for i := range want {
			assert.Equal(t, want[i], got[i], "event file %d", i)
		}
	})
}

// What TensorBoard itself reads from testdata/resumed is every step once, with
// the value of the process that recorded it last.
func TestTensorBoardReadsEveryStepOnce(t *testing.T) {
	text, err := os.ReadFile("testdata/resumed.json")
	require.NoError(t, err)
	var golden struct {
		Scalars map[string][]struct {
			Step  int64
			Value json.RawMessage
		}
		Texts map[string][]struct {
			Step int64
			Text string
		}
	}
	require.NoError(t, json.Unmarshal(text, &golden))

	want := map[string]map[int64]string{}
	for step := range int64(8) {
		step++
		process := 1 // that of steps 1 to 3
		switch {
		case step == 4:
			process = 2
		case step > 4:
			process = 3
		}
		for name, v := range boardMetrics(process, step) {
			name = record.EscapeName(name)
			if want[name] == nil {
				want[name] = map[int64]string{}
			}
			want[name][step] = fmt.Sprint(float32(v))
		}
	}
	got := map[string]map[int64]string{}
	for name, points := range golden.Scalars {
		got[name] = map[int64]string{}
		for _, p := range points {
			require.NotContains(t, got[name], p.Step, "%s has training step %d twice", name, p.Step)
			var v float64
			switch s := string(p.Value); s {
			case `"nan"`:
				v = math.NaN()
			case `"inf"`:
				v = math.Inf(1)
			default:
				require.NoError(t, json.Unmarshal(p.Value, &v))
			}
			got[name][p.Step] = fmt.Sprint(float32(v))
		}
	}
	assert.Equal(t, want, got)
	assert.Equal(t, "1.6777216e+07", got["tokens"][1], "float32 rounds 2^24+1")

	// Indented by four columns, as a block of code, and in UTF-8.
	const shown = "    step 1\n    # no heading\n    \n    <b>no bold</b> 你好 \uFFFD\n    ```"
	require.Len(t, golden.Texts["samples"], 2)
	for i, step := range []int64{1, 5} {
		assert.Equal(t, step, golden.Texts["samples"][i].Step)
		assert.Equal(t, strings.Replace(shown, "1", fmt.Sprint(step), 1), golden.Texts["samples"][i].Text)
	}
}

// The framing, computed a second time: TFRecord's lengths and masked CRC-32C.
// The check value of CRC-32C is that of RFC 3720, appendix B.4.
func TestTFRecordFraming(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	require.Equal(t, uint32(0x8a9136aa), crc32.Checksum(make([]byte, 32), table))
	masked := func(b []byte) uint32 {
		c := crc32.Checksum(b, table)
		return (c>>15 | c<<17) + 0xa282ead8
	}
	data := eventFiles(t, resumed)[0]
	events := 0
	for len(data) > 0 {
		n := binary.LittleEndian.Uint64(data)
		require.Equal(t, masked(data[:8]), binary.LittleEndian.Uint32(data[8:]))
		require.Equal(t, masked(data[12:12+n]), binary.LittleEndian.Uint32(data[12+n:]))
		data = data[16+n:]
		events++
	}
	assert.Equal(t, 1+1+6+2, events, "version, start, training steps, texts")
}

// The next file comes after those that are there, also if the clock was set back
// or somebody else's files lie there.
func TestEventFilesAreReadInTheOrderOfTheirMaking(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"events.out.tfevents.7000000000.x.y", "events.out.tfevents.junk", "events.out.tfevents.99999999999.x", "other"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	for range 2 {
		r, err := record.OpenTensorBoard(dir)
		require.NoError(t, err)
		require.NoError(t, r.Close())
	}
	paths, err := filepath.Glob(filepath.Join(dir, "events.out.tfevents.700*"))
	require.NoError(t, err)
	require.Len(t, paths, 3)
	assert.Contains(t, paths[1], ".7000000001.")
	assert.Contains(t, paths[2], ".7000000002.")
}

func TestTextBelongsToAStepNotRecordedYet(t *testing.T) {
	r, err := record.OpenTensorBoard(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, r.Text(4, "samples", "a"))
	require.NoError(t, r.Record(4, nil))
	assert.ErrorContains(t, r.Text(4, "samples", "b"), "training step 4 after 4")
	require.NoError(t, r.Text(4, "samples", ""))
	assert.ErrorContains(t, r.Text(5, "", "b"), "want a name that is not empty")
	require.NoError(t, r.Close())
	assert.ErrorIs(t, r.Record(5, nil), os.ErrClosed)
	assert.ErrorIs(t, r.Close(), os.ErrClosed)
}

package posir_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval/posir"
)

// goldenSetting is what a program with pandas and scipy makes of a setting.
type goldenSetting struct {
	Buckets map[string]map[string]*float64
	Bins    [][3]float64 // centre, mean, count
}

// checkGolden compares the analysis of results with what pandas and scipy say.
func checkGolden(t *testing.T, results, metrics, details []byte) {
	settings, err := posir.ReadResults(bytes.NewReader(results))
	require.NoError(t, err)
	var want map[string]map[string]map[string]*float64
	require.NoError(t, json.Unmarshal(metrics, &want))
	var curves map[string]goldenSetting
	require.NoError(t, json.Unmarshal(details, &curves))
	require.Len(t, want, 1)
	near := func(want *float64, got float64, what ...any) {
		t.Helper()
		if want == nil {
			assert.True(t, math.IsNaN(got), what...)
			return
		}
		assert.InDelta(t, *want, got, 1e-12, what...)
	}
	for _, byName := range want {
		require.Len(t, settings, len(byName))
		for setting, numbers := range byName {
			a := posir.Analyze(settings[setting].Pool())
			text, err := json.Marshal(a.Metrics())
			require.NoError(t, err)
			var got map[string]*float64
			require.NoError(t, json.Unmarshal(text, &got))
			require.Len(t, got, len(numbers))
			for name, v := range numbers {
				g := math.NaN()
				if got[name] != nil {
					g = *got[name]
				}
				near(v, g, setting, name)
			}
			bins := curves[setting].Bins
			for i := range posir.Bins {
				if a.All.Count[i] == 0 {
					continue
				}
				assert.InDelta(t, bins[0][0], posir.BinCenter(i), 1e-12)
				assert.InDelta(t, bins[0][1], a.All.Mean[i], 1e-12)
				assert.EqualValues(t, bins[0][2], a.All.Count[i])
				bins = bins[1:]
			}
			require.Empty(t, bins)
			for i, name := range posir.BucketNames {
				w, c := curves[setting].Buckets[name], a.ByLength[i]
				trend := c.Trend()
				for key, got := range map[string]float64{
					"nDCG@10": c.NDCG(), "PSI": c.PSI(), "n_bins": float64(trend.Bins),
					"slope": trend.Slope, "intercept": trend.Intercept, "r_squared": trend.R2,
					"pearson_r": trend.Pearson, "spearman_rho": trend.Spearman, "kendall_tau": trend.Kendall,
				} {
					require.Contains(t, w, key)
					near(w[key], got, setting, name, key)
				}
			}
		}
	}
}

// The benchmark's own program made these from results with edge cases of spans,
// lengths and bins.
func TestAgainstTheBenchmarksProgram(t *testing.T) {
	dir := os.Getenv("STEPWISE_POSIR")
	if dir == "" {
		t.Skip("STEPWISE_POSIR does not name a folder with the benchmark program's results")
	}
	read := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return text
	}
	zipped, err := gzip.NewReader(bytes.NewReader(read("synthetic_results.json.gz")))
	require.NoError(t, err)
	results, err := io.ReadAll(zipped)
	require.NoError(t, err)
	checkGolden(t, results, read("synthetic_metrics.json"), read("synthetic_buckets_bins.json"))
}

func TestAgainstPandasAndScipy(t *testing.T) {
	read := func(name string) []byte {
		text, err := os.ReadFile("testdata/" + name)
		require.NoError(t, err)
		return text
	}
	checkGolden(t, read("results.json"), read("metrics.json"), read("curves.json"))
}

func TestEvaluateAgainstTRECEval(t *testing.T) {
	text, err := os.ReadFile("testdata/trec.json")
	require.NoError(t, err)
	var cases []struct {
		Run, Qrel map[string]float64
		NDCG      float64
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.NotEmpty(t, cases)
	for _, c := range cases {
		b := &posir.Benchmark{Queries: []posir.Query{{ID: "q"}}}
		for d, gain := range c.Qrel {
			b.Judgements = append(b.Judgements, posir.Judgement{Query: "q", Document: d, Gain: gain})
		}
		run := posir.Run{}
		for d, score := range c.Run {
			run["q"] = append(run["q"], posir.Hit{Document: d, Score: score})
		}
		results, err := b.Evaluate(run)
		require.NoError(t, err)
		assert.InDelta(t, c.NDCG, results[0].NDCG, 1e-12)
	}
}

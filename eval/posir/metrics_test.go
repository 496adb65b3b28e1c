package posir_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/eval/posir"
)

func TestBucketsEndWithTheirLastLength(t *testing.T) {
	for tokens, want := range map[int]string{1: "Q1", 512: "Q1", 513: "Q2", 1024: "Q2", 1025: "Q3", 1536: "Q3", 1537: "Q4", 1 << 40: "Q4"} {
		bucket, ok := posir.Evidence{Tokens: tokens}.Bucket()
		require.True(t, ok)
		assert.Equal(t, want, posir.BucketNames[bucket], tokens)
	}
	for _, tokens := range []int{0, -3} {
		_, ok := posir.Evidence{Tokens: tokens}.Bucket()
		assert.False(t, ok)
	}
}

func TestBinsAreClosedOnTheRight(t *testing.T) {
	for position, want := range map[float64]int{
		0: 0, .05: 0, math.Nextafter(.05, 1): 1, .1: 1, 1: 19, .95: 18, .9500000000000001: 18, .951: 19,
		.15: 2, .15000000000000002: 2, math.Nextafter(.15000000000000002, 1): 3, // 3·0.05 is above 0.15
	} {
		assert.Equal(t, want, posir.Bin(position), position)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Float64Range(0, 1).Draw(t, "a"), rapid.Float64Range(0, 1).Draw(t, "b")
		if a > b {
			a, b = b, a
		}
		assert.LessOrEqual(t, posir.Bin(a), posir.Bin(b))
		assert.GreaterOrEqual(t, posir.Bin(a), 0)
		assert.Less(t, posir.Bin(b), posir.Bins)
	})
}

func TestPositionIsTheMiddle(t *testing.T) {
	for e, want := range map[posir.Evidence]float64{
		{Start: 10, End: 20, Chars: 100}:                           .15,
		{Start: 0, End: 0, Chars: 9}:                               0,
		{Start: 90, End: 200, Chars: 100}:                          1, // beyond the end
		{Start: math.MaxInt, End: math.MaxInt, Chars: 1}:           1,
		{Start: -2, End: 2, Chars: 10}:                             0,
		{Start: math.MaxInt - 1, End: math.MaxInt, Chars: 1 << 62}: 1,
	} {
		p, ok := e.Position()
		assert.True(t, ok, e)
		assert.Equal(t, want, p, e)
	}
	for _, e := range []posir.Evidence{{Start: -3, End: 2, Chars: 10}, {Chars: 0}, {End: 5, Chars: -1}} {
		_, ok := e.Position()
		assert.False(t, ok, e)
	}
}

// curve has one query per bin and value.
func curve(values ...float64) *posir.Curve {
	c := &posir.Curve{}
	for i := range c.Mean {
		c.Mean[i] = math.NaN()
	}
	for i, v := range values {
		c.Mean[i], c.Count[i] = v, 1
	}
	return c
}

func TestPSI(t *testing.T) {
	// The worked example of NovaSearch-Team/position-bias-in-IR.
	assert.InDelta(t, .027, curve(.9503, .9497, .9246).PSI(), .0005)
	assert.Equal(t, 0., curve(.5).PSI())
	assert.Equal(t, 1., curve(.5, 0).PSI())
	assert.True(t, math.IsNaN(curve(0, 0, 0).PSI()), "max 0")
	assert.True(t, math.IsNaN(curve().PSI()), "no bins")
	assert.True(t, math.IsNaN(curve().NDCG()))
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(.01, 1), 1, posir.Bins).Draw(t, "means")
		psi := curve(values...).PSI()
		assert.True(t, psi >= 0 && psi < 1)
		for i := range values {
			values[i] /= 2
		}
		assert.InDelta(t, psi, curve(values...).PSI(), 1e-12, "PSI is about ratios")
	})
}

func TestTrendOfOneBinIsUndefined(t *testing.T) {
	trend := curve(.5).Trend()
	assert.Equal(t, 1, trend.Bins)
	for _, v := range []float64{trend.Slope, trend.R2, trend.Pearson, trend.Spearman, trend.Kendall} {
		assert.True(t, math.IsNaN(v))
	}
}

func result(query string, position float64, tokens int, ndcg float64) posir.Result {
	at := int(position * 10_000)
	return posir.Result{Query: query, Evidence: posir.Evidence{Start: at, End: at, Chars: 10_000, Tokens: tokens}, NDCG: ndcg}
}

func TestBinsWeighTheSameWithinABucket(t *testing.T) {
	a := posir.Analyze([]posir.Result{
		result("a", .01, 100, 1), result("b", .02, 100, 1), result("c", .03, 100, 1), result("d", .99, 100, 0),
		result("e", .5, 0, 1), // in no bucket
		{Query: "f", NDCG: 1}, // in no bin
	})
	assert.Equal(t, 5./6, a.NDCG, "all queries count")
	assert.Equal(t, .5, a.ByLength[0].NDCG())
	assert.Equal(t, 1., a.ByLength[0].PSI())
	assert.Equal(t, 1, a.NoLength)
	assert.Equal(t, 1, a.NoPosition)
	text, err := json.Marshal(a.Metrics())
	require.NoError(t, err)
	assert.JSONEq(t, `{"nDCG@10":0.8333333333333334,"nDCG@10(Q1)":0.5,"nDCG@10(Q2)":null,"nDCG@10(Q3)":null,"nDCG@10(Q4)":null,
		"PSI":1,"PSI(Q1)":1,"PSI(Q2)":null,"PSI(Q3)":null,"PSI(Q4)":null}`, string(text))
	var again posir.Metrics
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, .5, again.NDCGBucket[0])
	assert.True(t, math.IsNaN(again.PSIBucket[3]))
	assert.ErrorContains(t, json.Unmarshal([]byte(`{"PSI":1}`), &again), `lack "nDCG@10"`)
}

func TestPublishedFigures(t *testing.T) {
	all := posir.Published()
	require.Len(t, all, 10)
	for model, settings := range all {
		assert.Len(t, settings, 18, model)
	}
	m := all["NV-Embed-v2"]["eng-eng"]
	assert.InDelta(t, .6827, m.NDCG, 5e-5)
	assert.InDelta(t, .573, m.PSIBucket[3], 5e-4)
}

func TestResultsNameWhatIsWrong(t *testing.T) {
	row := func(body string) string {
		return `{"eng-eng":{"sports":{"evaluation_results":{"q7":` + body + `}}}}`
	}
	for text, want := range map[string]string{
		"":    "unexpected EOF",
		"[1]": "want an object",
		row(`{"pos_char_span":[1],"pos_char_length":3,"pos_token_length":1,"scores":{"ndcg_cut_10":1}}`):     `"eng-eng": "sports": "evaluation_results": "q7": pos_char_span has 1 numbers`,
		row(`{"pos_char_span":[1,2],"pos_token_length":1,"scores":{"ndcg_cut_10":1}}`):                       `"q7": no pos_char_length`,
		row(`{"pos_char_span":[1,2],"pos_char_length":3,"scores":{"ndcg_cut_10":1}}`):                        `"q7": no pos_token_length`,
		row(`{"pos_char_span":[1,2],"pos_char_length":3,"pos_token_length":1,"scores":{}}`):                  `"q7": no ndcg_cut_10`,
		row(`{"pos_char_span":[1,2],"pos_char_length":3,"pos_token_length":1,"scores":{"ndcg_cut_10":2}}`):   `ndcg_cut_10 is 2, want 0 to 1`,
		row(`{"pos_char_span":[1.5,2],"pos_char_length":3,"pos_token_length":1,"scores":{"ndcg_cut_10":1}}`): `"q7": json: cannot unmarshal number 1.5`,
		`{"eng-eng":{"sports":{}}}`: `no "evaluation_results"`,
		`{} {}`:                     "more text",
		`{"a":{},"a":{}}`:           `"a": is there twice`,
	} {
		_, err := posir.ReadResults(strings.NewReader(text))
		assert.ErrorContains(t, err, want, text)
	}
}

func TestResultsAreReadAsWritten(t *testing.T) {
	want := []posir.Result{result("a", .25, 100, .5), result("b", .5, 2000, 1)}
	var text strings.Builder
	require.NoError(t, posir.WriteResults(&text, "sports", "ours", want))
	got, err := posir.ReadDomainResults(strings.NewReader(text.String()))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.ErrorContains(t, posir.WriteResults(&text, "", "", append(want, want[0])), `"a" is there twice`)
}

func FuzzResults(f *testing.F) {
	f.Add([]byte(`{"eng-eng":{"sports":{"overall_scores":{},"evaluation_results":{"q":{"pos_char_span":[1,2],"pos_char_length":3,"pos_token_length":1,"scores":{"ndcg_cut_10":1}}}}}}`))
	f.Add([]byte(`{"a":{"b":[]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		settings, err := posir.ReadResults(strings.NewReader(string(text)))
		if err != nil {
			return
		}
		for _, domains := range settings {
			a := posir.Analyze(domains.Pool())
			if _, err := json.Marshal(a.Metrics()); err != nil {
				t.Fatal(err)
			}
			if psi := a.All.PSI(); psi < 0 || psi > 1 {
				t.Fatal("PSI", psi)
			}
		}
	})
}

// drawn returns n results whose documents are found with probability found(position).
func drawn(n int, seed uint64, found func(position float64) float64) []posir.Result {
	random := rand.New(rand.NewPCG(seed, 0))
	var results []posir.Result
	for i := range n {
		p, ndcg := random.Float64(), 0.
		if random.Float64() < found(p) {
			ndcg = 1
		}
		r := result(fmt.Sprint("q", i), p, 100+600*(i%4), ndcg)
		r.Document = fmt.Sprint("d", i/2)
		results = append(results, r)
	}
	return results
}

func TestBiasOfARetrieverWithoutOne(t *testing.T) {
	reached, split := 0, 0.
	for seed := range uint64(40) {
		results := drawn(160, seed, func(float64) float64 { return .7 })
		b, err := posir.MeasureBias(results, -1, posir.BiasOptions{Replicates: 100, Seed: 1})
		require.NoError(t, err)
		assert.Greater(t, b.PSI.Estimate, .2, "sparse bins alone make PSI large")
		assert.InDelta(t, b.Null, b.PSI.Estimate, .5)
		split += b.Split / 40
		if b.P <= .1 {
			reached++
		}
	}
	assert.InDelta(t, 0, split, .1) // against .6 for PSI itself
	assert.LessOrEqual(t, reached, 9, "a tenth of the P values is at most 0.1")
}

func TestBiasOfARetrieverThatReadsBeginnings(t *testing.T) {
	results := drawn(4000, 1, func(p float64) float64 { return .9 - .6*p })
	for bucket := -1; bucket < posir.Buckets; bucket++ {
		b, err := posir.MeasureBias(results, bucket, posir.BiasOptions{Replicates: 100})
		require.NoError(t, err)
		assert.InDelta(t, 1-.315/.885, b.Split, .15, "the truth of the first and last bin")
		assert.Less(t, b.P, .01)
		assert.Less(t, b.NullHigh, b.PSI.Estimate)
		assert.Less(t, b.Slope.High, 0.)
		assert.InDelta(t, -.6, b.Slope.Estimate, .2)
		assert.Zero(t, b.Empty)
	}
	_, err := posir.MeasureBias(results, 4, posir.BiasOptions{})
	assert.ErrorContains(t, err, "bucket 4")
	_, err = posir.MeasureBias(results, 0, posir.BiasOptions{Level: 2})
	assert.ErrorContains(t, err, "level 2")
	none, err := posir.MeasureBias(nil, 0, posir.BiasOptions{})
	require.NoError(t, err)
	assert.True(t, math.IsNaN(none.P) && math.IsNaN(none.Split) && math.IsNaN(none.PSI.Estimate))
}

// Two bins with the same gains have the same mean, so every permutation is as uneven as the
// curve; sums of the same gains in another order differ in the last bits only.
func TestBiasOfEqualBins(t *testing.T) {
	var results []posir.Result
	for i, ndcg := range []float64{.9, .8, .1, .1, .9, .8} { // .1 + .9 + .8 is less than .9 + .8 + .1 in float64
		results = append(results, result(fmt.Sprint("q", i), float64(i/3), 100, ndcg))
	}
	b, err := posir.MeasureBias(results, -1, posir.BiasOptions{Replicates: 99})
	require.NoError(t, err)
	assert.InDelta(t, 0, b.PSI.Estimate, 1e-12)
	assert.Equal(t, 1., b.P)
	assert.Equal(t, 1., b.SlopeP)
}

// Queries and documents of two domains that happen to have the same IDs are not the same.
func TestPoolKeepsDomainsApart(t *testing.T) {
	first, second := drawn(40, 1, func(float64) float64 { return .5 }), drawn(40, 2, func(float64) float64 { return .5 })
	for i := range first {
		first[i].Document, second[i].Document = "d0", "d0"
	}
	pool := posir.Domains{"a": first, "b": second}.Pool()
	require.Len(t, pool, 80)
	r, err := posir.CompareMirrored(pool, pool, eval.BootstrapOptions{Replicates: 20})
	require.NoError(t, err)
	assert.Zero(t, r.Delta.Estimate)
	assert.False(t, math.IsNaN(r.Delta.Low), "one document of each domain: two to draw from")
	assert.Equal(t, first, posir.Domains{"a": first}.Pool())
}

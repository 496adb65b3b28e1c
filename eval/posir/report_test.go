package posir_test

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval/posir"
)

func TestAdvice(t *testing.T) {
	long := func(r posir.Result) bool { return r.Tokens > 1024 }
	advice := func(n int, found func(r posir.Result, p float64) float64, keep ...func(posir.Result) bool) string {
		results := drawn(n, 3, func(p float64) float64 { return 1 })
		for i := range results {
			p, _ := results[i].Position()
			results[i].NDCG = found(results[i], p)
		}
		for _, k := range keep {
			results = slices.DeleteFunc(results, func(r posir.Result) bool { return !k(r) })
		}
		r, err := posir.NewReport("m", "eng-eng", results, posir.BiasOptions{Replicates: 100})
		require.NoError(t, err)
		return r.Advice()
	}
	assert.Contains(t, advice(4000, func(posir.Result, float64) float64 { return .8 }), "Keep it")
	assert.Contains(t, advice(100, func(posir.Result, float64) float64 { return .8 }), "Ask more")
	assert.Contains(t, advice(0, nil), "no results")
	assert.Contains(t, advice(4000, func(_ posir.Result, p float64) float64 { return .9 - .5*p }), "Change the model: even in documents of up to 512 tokens it prefers beginnings")
	assert.Contains(t, advice(4000, func(r posir.Result, p float64) float64 {
		if long(r) {
			return .2 + .5*p
		}
		return .7
	}), "Chunk: in documents of more than 1024 tokens it prefers ends, in shorter ones it does not.")
	assert.Contains(t, advice(4000, func(r posir.Result, p float64) float64 {
		if long(r) && p > .4 {
			return 0
		}
		return .7
	}), "Truncate or chunk: of documents of more than 1024 tokens it reads the beginning only, in shorter ones it does not.")
	assert.NotContains(t, advice(4000, func(posir.Result, float64) float64 { return .8 }), "Sparse")
	sparse := advice(300, func(r posir.Result, p float64) float64 {
		if long(r) && p > .4 || p > .3 && len(r.Query)%2 == 0 {
			return 0
		}
		return .7
	})
	assert.Contains(t, sparse, "Sparse bins: of 80 by length and position, ")
	assert.NotContains(t, sparse, "in shorter ones it does not")
	few := 0 // a length of which all queries but a handful are left out
	assert.Contains(t, advice(4000, func(r posir.Result, p float64) float64 {
		if long(r) {
			return .2 + .5*p
		}
		return .7
	}, func(r posir.Result) bool {
		if r.Tokens <= 512 {
			few++
		}
		return r.Tokens > 512 || few <= 5
	}), "it prefers ends, with too few queries to tell at shorter lengths.")
	assert.Contains(t, advice(400, func(posir.Result, float64) float64 { return 0 }), "Nothing found")
}

func TestReportAndHeatMap(t *testing.T) {
	results := drawn(400, 3, func(p float64) float64 { return 1 - p })
	r, err := posir.NewReport("ours", "eng-eng", results, posir.BiasOptions{Replicates: 100})
	require.NoError(t, err)
	r.Faults = []error{errors.New(`query "q": no document`)}
	var page, svg strings.Builder
	require.NoError(t, r.Write(&page))
	for _, part := range []string{"# Position bias of ours on eng-eng", "| Q4 1537 or more | 100 |", "| **ours** |", "| bge-m3 | 0.508 |", `- query "q": no document`} {
		assert.Contains(t, page.String(), part)
	}
	require.NoError(t, posir.WriteHeatMap(&svg, r.Analysis, "ours & <theirs>"))
	cells := 0
	for d := xml.NewDecoder(strings.NewReader(svg.String())); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			cells++
		}
	}
	assert.Equal(t, (posir.Buckets+1)*posir.Bins, cells)
	assert.Contains(t, svg.String(), "ours &amp; &lt;theirs&gt;")

	empty, err := posir.NewReport("ours", "of our own", nil, posir.BiasOptions{Replicates: 100})
	require.NoError(t, err)
	page.Reset()
	require.NoError(t, empty.Write(&page))
	assert.Contains(t, page.String(), "Nothing is published of this setting.")
	require.NoError(t, posir.WriteHeatMap(&svg, empty.Analysis, ""))
}

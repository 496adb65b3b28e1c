package local_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/lm/local"
)

// drawnVectors gives the next rows of a matrix to the documents, in their order.
type drawnVectors struct {
	queries, documents []float32
	dim, next          int
}

func (v *drawnVectors) EmbedQueries(_ context.Context, texts []string) ([][]float32, error) {
	return v.rows(v.queries, 0, len(texts)), nil
}

func (v *drawnVectors) EmbedDocuments(_ context.Context, texts []string) ([][]float32, error) {
	v.next += len(texts)
	return v.rows(v.documents, v.next-len(texts), len(texts)), nil
}

func (v *drawnVectors) rows(of []float32, from, n int) (rows [][]float32) {
	for i := from; i < from+n; i++ {
		rows = append(rows, of[i*v.dim:(i+1)*v.dim])
	}
	return rows
}

// One domain of PosIR: 60,000 documents, 1,300 queries, 384 dimensions as MiniLM has.
// The vectors are given; the time is that of search, ranking and metrics.
// eval/posir/testdata/search.py does the same with numpy and pytrec_eval.
func BenchmarkPosIR(b *testing.B) {
	const documents, queries, dim = 60_000, 1300, 384
	random := rand.New(rand.NewPCG(1, 2))
	draw := func(n int) []float32 {
		x := make([]float32, n*dim)
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		return x
	}
	v := &drawnVectors{queries: draw(queries), documents: draw(documents), dim: dim}
	bench := &posir.Benchmark{}
	for i := range queries {
		id, at := fmt.Sprint("q", i), random.IntN(1000)
		bench.Queries = append(bench.Queries, posir.Query{ID: id, Evidence: posir.Evidence{Start: at, End: at + 9, Chars: 1009, Tokens: 1 + random.IntN(3000)}})
		bench.Judgements = append(bench.Judgements, posir.Judgement{Query: id, Document: fmt.Sprint("d", i), Gain: 1})
		for c := range dim { // the document is near its query
			v.documents[i*dim+c] += .25 * v.queries[i*dim+c]
		}
	}
	corpus := func(yield func(posir.Document, error) bool) {
		for i := range documents {
			if !yield(posir.Document{ID: fmt.Sprint("d", i)}, nil) {
				return
			}
		}
	}
	backend := openCPU(b)
	for name, products := range map[string]posir.Products{"go": nil, "cpu": local.Products(backend)} {
		b.Run(name, func(b *testing.B) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for b.Loop() {
				v.next = 0
				run, err := posir.Search(b.Context(), v, bench.Queries, corpus, posir.SearchOptions{Products: products})
				require.NoError(b, err)
				results, err := bench.Evaluate(run)
				require.NoError(b, err)
				b.ReportMetric(posir.Analyze(results).NDCG, "nDCG")
			}
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.Sys-before.Sys)/(1<<20), "MiB-of-system")
			b.ReportMetric(2*documents*queries*dim*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

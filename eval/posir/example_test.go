package posir_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/eval/posir"
)

// A retriever that finds only what stands in the first half of long documents.
func ExampleAnalyze() {
	var results []posir.Result
	for i := range 400 {
		r := posir.Result{Query: fmt.Sprint("q", i), NDCG: .8}
		r.Evidence = posir.Evidence{Start: 25 * i, End: 25*i + 10, Chars: 10_000, Tokens: 300}
		if i%2 == 0 {
			if r.Tokens = 2000; i >= 200 {
				r.NDCG = .2
			}
		}
		results = append(results, r)
	}
	a := posir.Analyze(results)
	for i, c := range a.ByLength {
		fmt.Printf("%s nDCG@10 %.2f, PSI %.2f, slope %.2f\n", posir.BucketNames[i], c.NDCG(), c.PSI(), c.Trend().Slope)
	}
	report, err := posir.NewReport("mine", "eng-eng", results, posir.BiasOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Advice())
	// Output:
	// Q1 nDCG@10 0.80, PSI 0.00, slope 0.00
	// Q2 nDCG@10 NaN, PSI NaN, slope NaN
	// Q3 nDCG@10 NaN, PSI NaN, slope NaN
	// Q4 nDCG@10 0.50, PSI 0.75, slope -0.90
	// Chunk: in documents of more than 1536 tokens it prefers beginnings, with too few queries to tell at shorter lengths. Search chunks of up to 512 tokens, the best one counting. (Sparse bins: of 80 by length and position, 40 are empty; queries in the sparsest of the others: 10.)
}

// Two runs of the same retriever, on documents as they are and mirrored.
func ExampleCompareMirrored() {
	b, err := posir.Build(posir.Generate(100, 1), posir.BuildOptions{Plant: true})
	if err != nil {
		log.Fatal(err)
	}
	results := func(corpus posir.Corpus) []posir.Result {
		run, err := posir.SearchBM25(context.Background(), b.Queries, corpus, posir.Words, 100, eval.DefaultBM25Options())
		if err != nil {
			log.Fatal(err)
		}
		results, err := b.Evaluate(run)
		if err != nil {
			log.Fatal(err)
		}
		return results
	}
	r, err := posir.CompareMirrored(results(b.Corpus()), results(posir.MirrorCorpus(b.Corpus())), eval.BootstrapOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("δ of BM25: %.3f\n", r.Delta.Estimate)
	// Output: δ of BM25: 0.000
}

// Your own documents become a benchmark, your own embedder a run.
func ExampleBuild() {
	b, err := posir.Build([]posir.Document{
		{ID: "manual", Text: "Press the green button twice to start the pump. Then wait until the lamp is lit."},
		{ID: "safety", Text: "Never open the lid of the pump while the lamp is lit. Wear gloves near the belt."},
	}, posir.BuildOptions{Words: 3, Query: func(phrase string) string { return "Where is it about " + phrase + "?" }})
	if err != nil {
		log.Fatal(err)
	}
	q := b.Queries[0]
	fmt.Println(len(b.Queries), "queries, such as", q.Text)
	if err := posir.WriteTREC(os.Stdout, posir.Run{q.ID: {{Document: b.Judgements[0].Document, Score: .7}}}, "mine"); err != nil {
		log.Fatal(err)
	}
}

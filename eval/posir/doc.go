// Package posir measures whether a retriever is blind to where in a document the
// answer stands. It computes the metrics of the benchmark PosIR (Zeng et al.,
// arXiv:2601.08363) by the rules of the benchmark's own program, to the last digits, and
// what they leave open.
//
// # Metrics
//
// Each query has one relevant document, and the evidence for its answer stands at a
// known place in it ([Evidence]). Queries are put into four buckets by the length of
// the document and into twenty bins by the position of the evidence. Of the mean nDCG@10
// of bins ([Curve]), the position sensitivity index is
//
//	PSI = 1 - min/max
//
// over the bins that are not empty: 0 if a document is found equally well wherever the
// evidence stands. [Analyze] makes all curves of a setting's results, Analysis.Metrics
// the ten published numbers, and [Published] has those of ten embedding models. PSI is
// undefined (NaN, null in JSON) if the maximum is 0.
//
// # From a retriever to results
//
// A [Run] is what a retriever found for each query. It is read from a file
// ([ReadTREC], [ReadRunJSON]) or made by an [Embedder] ([Search]), by BM25
// ([SearchBM25]) or by a cross-encoder that ranks the first hits of another run
// ([Rerank]). Benchmark.Evaluate makes results of it with trec_eval's order of ties:
//
//	run, err := posir.Search(ctx, embedder, benchmark.Queries, corpus, posir.SearchOptions{})
//	results, err := benchmark.Evaluate(run)
//	m := posir.Analyze(results).Metrics()
//
// A corpus is read in blocks, so its size does not matter. Package relevance/posirdata
// reads the benchmark's files.
//
// # Is it bias or noise?
//
// PSI takes the extremes of twenty means, so noise alone makes it large. If half of all
// queries are found, wherever the evidence stands, it is 0.11 with 1,000 queries a bin,
// 0.31 with 100 and 0.77 with 8. [MeasureBias] says how large it would be without bias, and how large it is if the
// extremes are chosen on other queries; the slope says whether beginnings or ends are
// preferred. [CompareMirrored] asks the same of documents that were cut into five
// segments in reverse order, and [SummarizeSaliency] of the gradients of an encoder.
// [NewReport] puts all of it onto a page, with one line of advice.
//
// # Your own documents
//
// [Build] makes a benchmark of your own documents: evidence in balance over positions
// and lengths, and queries about a phrase that no other document has. [Generate] makes
// documents, for tests and examples.
//
// Examples are in example_test.go. A program that uses it: examples/posir, whose run
// builds a benchmark and searches it in three ways. The tool: stepwise posir,
// docs/posir.md.
package posir

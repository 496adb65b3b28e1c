package local_test

import (
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/rl"
)

// A cross-encoder with one score, as ms-marco-MiniLM and BGE's rerankers have, learns from
// pairs that are relevant or not. The model here is tiny and random; any folder with a
// BertForSequenceClassification or the like takes its place.
func ExampleCrossEncoder() {
	ctx := context.Background()
	const dir = "testdata/bert-reranker"
	tok, err := tokenizer.Load(dir + "/tokenizer.json")
	if err != nil {
		panic(err)
	}
	encoder, err := model.LoadEncoder(reference.New(), dir)
	if err != nil {
		panic(err)
	}
	ranker, err := local.NewCrossEncoder(local.CrossEncoderConfig{Encoder: encoder, Tokenizer: tok})
	if err != nil {
		panic(err)
	}
	student, err := local.NewStudent(local.StudentConfig{Encoder: encoder})
	if err != nil {
		panic(err)
	}
	defer student.Free() // the encoder, too

	const query, relevant, other = "red shoes", "a pair of red shoes", "blue mug"
	example := func(document string, label int) distill.Example {
		ids, _ := ranker.Pair(query, document) // the encoder knows the types
		return distill.Example{Input: ids, Label: label}
	}
	fit := distill.Fit{
		Student:  student,
		Examples: []distill.Example{example(relevant, 1), example(other, 0)},
		Classes:  2, Head: distill.HeadOrdinal, // one output, the logit of class 1
		Batch: 2, Epochs: 30,
		LR: rl.Constant{LR: 0.01},
	}
	if err := fit.Validate(); err != nil {
		panic(err)
	}
	for i := range fit.Steps() {
		if _, err := fit.Step(ctx, i); err != nil {
			panic(err)
		}
	}
	grades, err := ranker.Score(ctx, query, []string{relevant, other})
	if err != nil {
		panic(err)
	}
	fmt.Println(grades[0] > 0.9, grades[1] < 0.1)
	// encoder.Export("tuned", model.ExportOptions{TokenizerFrom: dir}) is for transformers.
	// Output: true true
}

// A folder of Qwen3-Reranker grades documents. The model here is tiny and random.
func ExampleReranker() {
	const dir = "testdata/qwen3-reranker"
	tok, err := tokenizer.Load(dir + "/tokenizer.json")
	if err != nil {
		panic(err)
	}
	decoder, err := model.LoadDecoder(reference.New(), dir, model.Frozen())
	if err != nil {
		panic(err)
	}
	defer decoder.Free()
	reranker, err := local.NewReranker(local.RerankerConfig{Decoder: decoder, Tokenizer: tok})
	if err != nil {
		panic(err)
	}
	grades, err := reranker.Score(context.Background(), "red shoes", []string{"a pair of red shoes", "blue mug"})
	if err != nil {
		panic(err)
	}
	for _, g := range grades {
		fmt.Println(0 < g && g < 1)
	}
	// Output:
	// true
	// true
}

// Vectors of queries and documents, with what the model was trained to see before them.
// The folder is of sentence-transformers; of E5, which has no
// config_sentence_transformers.json, the prefixes are "query: " and "passage: ".
func ExampleEmbedder() {
	ctx := context.Background()
	const dir = "testdata/qwen3-embedding"
	tok, err := tokenizer.Load(dir + "/tokenizer.json")
	if err != nil {
		panic(err)
	}
	// The new classifier, of one class, is not used.
	encoder, err := model.PretrainedEncoder(reference.New(), dir, 1, 0, model.Frozen())
	if err != nil {
		panic(err)
	}
	defer encoder.Free()
	most, err := local.ReadMaxTokens(dir, encoder.Config().MaxSeq)
	if err != nil {
		panic(err)
	}
	embedder, err := local.NewEmbedder(local.EmbedderConfig{Encoder: encoder, Tokenizer: tok, MaxTokens: most})
	if err != nil {
		panic(err)
	}
	query, document, err := local.ReadPrompts(dir)
	if err != nil {
		panic(err)
	}
	prefixed := posir.Prefixed{Embed: embedder.Embed, Query: query, Document: document}
	q, err := prefixed.EmbedQueries(ctx, []string{"red shoes"})
	if err != nil {
		panic(err)
	}
	d, err := prefixed.EmbedDocuments(ctx, []string{"red shoes", "blue mug"})
	if err != nil {
		panic(err)
	}
	for _, d := range d {
		fmt.Println(math.Abs(cosine(q[0], d)) <= 1)
	}
	// Output:
	// true
	// true
}

func cosine(x, y []float32) float64 {
	var xx, xy, yy float64
	for i := range x {
		a, b := float64(x[i]), float64(y[i])
		xx, xy, yy = xx+a*a, xy+a*b, yy+b*b
	}
	return xy / math.Sqrt(xx*yy)
}

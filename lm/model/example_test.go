package model_test

import (
	"fmt"
	"math"
	"os"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

var exampleConfig = model.Config{Vocab: 8, Dim: 16, Layers: 1, Heads: 2, KVHeads: 1, FF: 32, MaxSeq: 16, TieEmbeddings: true}

// A decoder memorises one sequence.
func Example() {
	b := reference.New()
	d, err := model.NewDecoder(b, exampleConfig, 1)
	if err != nil {
		panic(err)
	}
	opt, err := optim.NewAdamW(b, d.Params(), optim.DefaultConfig())
	if err != nil {
		panic(err)
	}
	sequence := []int32{0, 3, 1, 4, 1, 5}
	var p model.Pack
	p.Add(sequence[:5], -1) // the last token predicts nothing
	targets := &model.Targets{Rows: []int32{0, 1, 2, 3, 4}, IDs: sequence[1:]}
	logp, dlogp := make([]float32, 5), []float32{-1, -1, -1, -1, -1} // the loss is -Σ logp
	for range 60 {
		if err := d.Forward(&p, targets, logp, nil); err != nil {
			panic(err)
		}
		if err := d.Backward(dlogp, nil); err != nil {
			panic(err)
		}
		if _, err := opt.Step(0.01, 1); err != nil {
			panic(err)
		}
		opt.ZeroGrad()
	}
	for i, v := range logp {
		fmt.Printf("%d after %v: probability above 0.9: %v\n", sequence[i+1], sequence[:i+1], math.Exp(float64(v)) > 0.9)
	}
	// Output:
	// 3 after [0]: probability above 0.9: true
	// 1 after [0 3]: probability above 0.9: true
	// 4 after [0 3 1]: probability above 0.9: true
	// 1 after [0 3 1 4]: probability above 0.9: true
	// 5 after [0 3 1 4 1]: probability above 0.9: true
}

// Two completions of one prompt: its rows are in the pack once, and its last row
// predicts the first token of both.
func ExamplePack() {
	var p model.Pack
	prompt := p.Add([]int32{1, 2, 3}, -1)
	a := p.Add([]int32{4, 5}, prompt)
	b := p.Add([]int32{6}, prompt)
	fmt.Println("tokens   ", p.Tokens)
	fmt.Println("positions", p.Pos)
	fmt.Println("segments ", p.Segments[prompt], p.Segments[a], p.Segments[b])
	// Output:
	// tokens    [1 2 3 4 5 6]
	// positions [0 1 2 3 4 3]
	// segments  {0 3 -1} {3 5 0} {5 6 0}
}

// Greedy decoding: the whole prompt in one batch, then a token at a time.
func ExampleDecoder_Append() {
	d, err := model.NewDecoder(reference.New(), exampleConfig, 1)
	if err != nil {
		panic(err)
	}
	const room = 8
	c := d.NewCache(room)
	defer c.Free()
	logits := make([]float32, exampleConfig.Vocab)
	next := []int32{2, 7, 5}
	for row := 0; row < room; {
		var s model.CacheBatch
		for _, id := range next {
			s.Tokens = append(s.Tokens, id)
			s.Pos = append(s.Pos, int32(row))
			s.Slots = append(s.Slots, int32(row))
			row++
			s.Ranges = append(s.Ranges, []tensor.Range{{Start: 0, End: row}})
		}
		s.LogitRows = []int32{int32(len(next) - 1)}
		if err := d.Append(c, &s, logits); err != nil {
			panic(err)
		}
		best := 0
		for id, v := range logits {
			if v > logits[best] {
				best = id
			}
		}
		next = []int32{int32(best)}
	}
	fmt.Println(len(logits), "logits after each step")
	// Output: 8 logits after each step
}

// An encoder gives the logits of every class for every sequence of a pack.
func ExampleEncoder() {
	e, err := model.NewEncoder(reference.New(), model.EncoderConfig{Config: model.Config{
		Vocab: 8, Dim: 16, Layers: 1, Heads: 2, KVHeads: 2, FF: 32, MaxSeq: 16,
	}, Classes: 3}, 1)
	if err != nil {
		panic(err)
	}
	var p model.Pack
	p.Add([]int32{1, 2, 3}, -1)
	p.Add([]int32{4, 5}, -1)
	logits := make([]float32, 2*3)
	if err := e.Forward(&p, logits); err != nil {
		panic(err)
	}
	// d(loss)/d(logits) of a loss:
	if err := e.Backward([]float32{1, -1, 0, 0, 1, -1}); err != nil {
		panic(err)
	}
	fmt.Println(e.Config().Pooling, "pooling,", len(e.Params()), "tensors")
	// Output: mean pooling, 13 tensors
}

// A frozen decoder learns a sequence through adapters of rank 2, which are then
// merged into its weights.
func ExampleLoRA() {
	b := reference.New()
	d, err := model.NewDecoder(b, exampleConfig, 1) // usually LoadDecoder with Frozen
	if err != nil {
		panic(err)
	}
	lora, err := d.AddLoRA(model.LoRAConfig{Rank: 2, Alpha: 4, Targets: model.AllProjections}, 2)
	if err != nil {
		panic(err)
	}
	opt, err := optim.NewAdamW(b, d.Params(), optim.DefaultConfig())
	if err != nil {
		panic(err)
	}
	sequence := []int32{0, 3, 1, 4, 1, 5}
	var p model.Pack
	p.Add(sequence[:5], -1)
	targets := &model.Targets{Rows: []int32{0, 1, 2, 3, 4}, IDs: sequence[1:]}
	logp, dlogp := make([]float32, 5), []float32{-1, -1, -1, -1, -1}
	score := func(what string, d *model.Decoder) {
		if err := d.Score(&p, targets, logp, nil); err != nil {
			panic(err)
		}
		sum := 0.0
		for _, v := range logp {
			sum += float64(v)
		}
		fmt.Printf("summed log-prob, %s: %.0f\n", what, sum)
	}
	for range 150 {
		if err := d.Forward(&p, targets, logp, nil); err != nil {
			panic(err)
		}
		if err := d.Backward(dlogp, nil); err != nil {
			panic(err)
		}
		if _, err := opt.Step(0.05, 1); err != nil {
			panic(err)
		}
		opt.ZeroGrad()
	}
	score("with adapters", d)
	score("base", lora.Base())
	opt.Free()
	lora.Merge()
	score("merged", d)
	// Output:
	// summed log-prob, with adapters: -1
	// summed log-prob, base: -17
	// summed log-prob, merged: -1
}

// A decoder is written for another engine: in BF16, in files of at most 4 KB,
// with the token that ends a text.
func ExampleDecoder_Export() {
	d, err := model.LoadDecoder(reference.New(), "testdata/qwen3")
	if err != nil {
		panic(err)
	}
	defer d.Free()
	dir, err := os.MkdirTemp("", "export")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	err = d.Export(dir, model.ExportOptions{
		DType:      safetensors.BF16,
		ShardBytes: 4 << 10,
		Generation: &model.Generation{EOS: model.TokenIDs{2}},
	})
	if err != nil {
		panic(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		fmt.Println(f.Name())
	}
	// Output:
	// config.json
	// generation_config.json
	// model-00001-of-00003.safetensors
	// model-00002-of-00003.safetensors
	// model-00003-of-00003.safetensors
	// model.safetensors.index.json
}

// A pretrained encoder gets a new classifier of three classes.
func ExamplePretrainedEncoder() {
	e, err := model.PretrainedEncoder(reference.New(), "testdata/bert", 3, 1)
	if err != nil {
		panic(err)
	}
	defer e.Free()
	var p model.Pack
	p.Add([]int32{3, 14, 15}, -1)
	logits, embedding := make([]float32, 3), make([]float32, e.Config().Dim)
	if err := e.Predict(&p, logits); err != nil {
		panic(err)
	}
	if err := e.Embed(&p, embedding); err != nil {
		panic(err)
	}
	fmt.Println(e.Config().Style, e.Config().Pooling, len(logits), len(embedding))
	// Output: bert mean 3 16
}

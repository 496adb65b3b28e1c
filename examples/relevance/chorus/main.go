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
	seeds := flag.Int("seeds", 1, "seeds of each model that is trained from nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx, *data, *out, *seeds); err != nil {
		log.Fatal(err)
	}
}

func measure(ctx context.Context, data, out string, seeds int) error {
	start := time.Now()
	j, err := read(data)
	if err != nil {
		return err
	}
	fmt.Printf("%d pairs, %d features, %d documents: %s\n", len(j.pairs), len(j.features[0]), len(j.catalogue), time.Since(start).Round(time.Second))
	alone, err := j.criteriaAlone("criteria alone", j.features)
	if err != nil {
		return err
	}
	all := []*predictor{alone}
	for seed := range seeds {
		for f := range folds {
			r := reading{[2]int{f, (f + 1) % folds}, uint64(seed + 1), true}
			if dir, err := j.train(ctx, r, out, os.Stdout); err != nil {
				return fmt.Errorf("%s: %w", dir, err)
			}
		}
	}
	for _, stage := range []string{"warmup", "rl-outcome", "rl-mask"} {
		p, err := j.reading("reasoning, "+stage, out, stage, seeds, true)
		if err != nil {
			return err
		}
		all = append(all, p)
	}
	all = append(all, j.blend("reasoning (warm-up) and criteria", alone, all[1]))
	j.print(os.Stdout, all)
	return nil
}

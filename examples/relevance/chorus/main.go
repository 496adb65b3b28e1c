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
	only := flag.Int("only", -1, "train one pair of folds only, for trials")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	start := time.Now()
	j, err := read(*data)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d pairs, %d features, %d documents: %s\n", len(j.pairs), len(j.features[0]), len(j.catalogue), time.Since(start).Round(time.Second))
	for seed := range *seeds {
		for f := range folds {
			if *only >= 0 && f != *only {
				continue
			}
			r := reading{[2]int{f, (f + 1) % folds}, uint64(seed + 1), true}
			dir, err := j.train(ctx, r, *out, os.Stdout)
			if err != nil {
				log.Fatal(dir, ": ", err)
			}
		}
	}
}

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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx, *data, *minilm, *out, *seeds); err != nil {
		log.Fatal(err)
	}
}

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
	alone, err := j.criteriaAlone("criteria alone", nil)
	if err != nil {
		return err
	}
	fmt.Println("criteria alone:", alone.took.Round(time.Second))
	own, err := j.pairwise("criteria, as the reasoning reads them", func(pair [2]int) (map[int][]float64, error) {
		test := j.inFolds(pair[:]...)
		b, err := j.believe(nil, j.inFolds(without(pair[:]...)...), test)
		if err != nil {
			return nil, err
		}
		all := map[int][]float64{}
		for k, i := range test {
			all[i] = b.Test[k]
		}
		return all, nil
	})
	if err != nil {
		return err
	}
	all := []*predictor{alone, own}
	j.print(os.Stdout, all)
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
	reasoning := all[len(all)-1]
	all = append(all, j.blend("reasoning and criteria", alone, reasoning))
	j.print(os.Stdout, all)
	if minilm == "" {
		fmt.Println("without -minilm there is no student")
		return nil
	}
	m, err := openMiniLM(minilm)
	if err != nil {
		return err
	}
	x, err := j.cosines(ctx, m, out)
	if err != nil {
		return err
	}
	cosines, err := j.criteriaAlone("criteria and MiniLM's cosines", x)
	if err != nil {
		return err
	}
	taught, err := j.pairwise("student of the reasoning model", func(pair [2]int) (map[int][]float64, error) {
		return j.student(ctx, m, student{pair, "rl-mask", true}, out, os.Stdout)
	})
	if err != nil {
		return err
	}
	all = append(all, cosines, taught,
		j.blend("student and criteria", alone, taught),
		j.blend("student, criteria and cosines", cosines, taught),
		j.blend("student, criteria, cosines, reasoning", cosines, taught, reasoning))
	j.print(os.Stdout, all)
	fmt.Println("took", time.Since(start).Round(time.Second))
	return nil
}

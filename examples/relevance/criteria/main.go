// Command criteria measures what relevance criteria alone predict on the Chorus
// product search judgements (github.com/o19s/chorus), fold by fold:
//
//	go run ./examples/relevance/criteria -data DIR
//
// It takes about ten minutes on two cores. With -validate it looks only at the
// beliefs of training rows, so that one can change criteria without looking at the
// test folds.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/stepwise-rl/stepwise/examples/relevance/internal/chorus"
	"github.com/stepwise-rl/stepwise/relevance/linear"
	"github.com/stepwise-rl/stepwise/relevance/study"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("data", "", "folder with products.jsonl.gz, Broad_Query_Set_rated.csv, Broad_Query_Set_individual_ratings.csv and folds.csv")
	validate := flag.Bool("validate", false, "report on training rows, by models that have not seen their query")
	brief := flag.Bool("brief", false, "only the criteria, without learning curve and ingredients")
	replicates := flag.Int("replicates", 1000, "bootstrap resamples")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	if *replicates < 0 {
		log.Fatalf("-replicates is %d, must not be negative", *replicates)
	}
	start := time.Now()
	data, err := chorus.Read(*dir)
	if err != nil {
		log.Fatal(err)
	}
	s, err := study.New(*data)
	if err != nil {
		log.Fatal(err)
	}
	o := study.Options{Settings: linear.DefaultSettings(), Replicates: *replicates, Seed: 1, Validate: *validate}
	if *brief {
		var p *study.Pooled
		if p, err = s.CrossValidate(study.Variant{Name: "criteria"}, 1, o); err == nil {
			s.Line(os.Stdout, p, nil, o)
		}
	} else {
		err = s.Report(os.Stdout, ingredients, o)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, "took", time.Since(start).Round(time.Second))
}

// ingredients are what the report leaves out, one at a time.
var ingredients = []study.Variant{
	{Name: "soft labels", Gold: true},
	{Name: "words learned from labels", Unlearned: true},
	{Name: "words learned from the catalogue", Without: []string{"accessory", "after", "category"}},
	{Name: "both kinds of learned words", Unlearned: true, Without: []string{"accessory", "after", "category"}},
	{Name: "weights by rarity", Without: []string{"idf", "bm25"}},
	{Name: "likeness to strong matches", Without: []string{"alike"}},
	{Name: "statistics of the query", Without: []string{"common"}},
	{Name: "overall fit", Without: []string{"fit"}},
	{Name: "quantities, models, negation, brand", Without: []string{"attribute", "model", "negation", "brand"}},
}

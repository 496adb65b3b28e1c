package eval_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/eval"
)

// Two systems on the same five examples: their metrics, and whether they differ.
func Example() {
	base := []eval.Pair{{3, 3}, {0, 2}, {1, 1}, {2, 2}, {-1, 0}}
	tuned := []eval.Pair{{3, 3}, {0, 0}, {1, 1}, {2, 2}, {-1, 0}}
	fmt.Printf("accuracy %.2f, binary %.2f\n", eval.Accuracy(base), eval.BinaryAccuracy(base, 1))
	fmt.Printf("macro-F1 %.3f, kappa %.3f\n", eval.MacroF1(base, nil), eval.QuadraticKappa(base))

	d := eval.BootstrapDifference(tuned, base, eval.Accuracy, eval.BootstrapOptions{Seed: 1})
	fmt.Printf("tuned is better by %.1f (95%% interval %.1f to %.1f)\n", d.Estimate, d.Low, d.High)
	// Output:
	// accuracy 0.60, binary 0.80
	// macro-F1 0.533, kappa 0.706
	// tuned is better by 0.2 (95% interval 0.0 to 0.6)
}

// Queries without a relevant document have no nDCG, and stay out of the mean.
func ExampleNDCG() {
	queries := [][]eval.Ranked{
		{{Score: .9, Gain: 3}, {Score: .2, Gain: 0}, {Score: .5, Gain: 1}},
		{{Score: .9, Gain: 0}, {Score: .2, Gain: 3}},
		{{Score: .9, Gain: 0}, {Score: .8, Gain: 0}},
	}
	var values []float64
	for _, docs := range queries {
		values = append(values, eval.NDCG(docs, 10))
	}
	mean, n := eval.Mean(values)
	fmt.Printf("%.3f, mean %.3f of %d queries\n", values, mean, n)
	// Output: [1.000 0.631 NaN], mean 0.815 of 2 queries
}

// Items of one query are alike, so queries are resampled whole.
func ExampleBootstrap() {
	pairs := []eval.Pair{{1, 1}, {1, 1}, {2, 1}, {2, 1}, {0, 0}, {0, 1}}
	queries := []string{"ramen", "ramen", "hiking", "hiking", "tent", "tent"}
	plain := eval.Bootstrap(pairs, eval.Accuracy, eval.BootstrapOptions{Seed: 1})
	byQuery := eval.Bootstrap(pairs, eval.Accuracy, eval.BootstrapOptions{Seed: 1, Clusters: queries})
	fmt.Printf("%.2f: %.2f to %.2f, by query %.2f to %.2f\n", plain.Estimate, plain.Low, plain.High, byQuery.Low, byQuery.High)
	// Output: 0.50: 0.17 to 0.83, by query 0.00 to 1.00
}

func ExamplePassAtK() {
	fmt.Printf("%.3f %.3f\n", eval.PassAtK(10, 3, 1), eval.PassAtK(10, 3, 5))
	// Output: 0.300 0.917
}

func ExampleNewConfusion() {
	c := eval.NewConfusion([]eval.Pair{{-1, -1}, {-1, 2}, {2, 2}, {0, 2}})
	fmt.Println(c.Labels)
	for i, row := range c.Counts {
		fmt.Println(c.Labels[i], row)
	}
	// Output:
	// [-1 0 2]
	// -1 [1 0 1]
	// 0 [0 0 1]
	// 2 [0 0 1]
}

func ExampleWilson() {
	i := eval.Wilson(19, 20, .95)
	fmt.Printf("%.2f (%.3f to %.3f)\n", i.Estimate, i.Low, i.High)
	// Output: 0.95 (0.764 to 0.991)
}

// Of ten samples four give the right answer, three and two agree on wrong ones,
// and one gives none. More votes make the vote surer.
func ExampleMajorityAtK() {
	for _, k := range []int{1, 3, 5, 10} {
		fmt.Printf("maj@%d %.3f\n", k, eval.MajorityAtK([]int{4, 3, 2}, []float64{1, 0, 0}, 1, k))
	}
	// Output:
	// maj@1 0.400
	// maj@3 0.483
	// maj@5 0.560
	// maj@10 1.000
}

// Two ways of training, each with the same four seeds, on six queries: the first is right
// more often in every seed. Four of them are too few to conclude anything: the interval is
// too narrow, and p cannot fall below 2/2⁴.
func ExampleCompareRuns() {
	mask := [][]float64{{1, 1, 1, 0, 1, 1}, {1, 0, 1, 1, 1, 1}, {1, 1, 1, 1, 0, 1}, {1, 1, 0, 1, 1, 1}}
	outcome := [][]float64{{1, 0, 1, 0, 1, 0}, {1, 0, 1, 1, 0, 1}, {1, 1, 0, 1, 0, 1}, {0, 1, 0, 1, 1, 0}}
	c := eval.CompareRuns(mask, outcome, eval.BootstrapOptions{Seed: 1})
	fmt.Printf("%v: %v\n", c, c.Finding(.01))
	fmt.Printf("to see %.2f takes %d seeds\n", .1, eval.PairedRuns(.1, c.Deviation, .05, .8))
	// Output:
	// +25.00 [+4.17 +50.00] points, better in 4 of 4 runs, p 0.12, too few runs to conclude: not resolved
	// to see 0.10 takes 8 seeds
}

package monitor_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/rl/monitor"
)

// A run in which, from step 100 on, the policy learns to leave step a out.
func Example() {
	m, err := monitor.New(monitor.Options{Estimator: rloo})
	if err != nil {
		panic(err)
	}
	run := usual(1)
	for step := range int64(140) {
		if step >= 100 {
			run.broken += .01
		}
		for _, alarm := range m.Observe(step, run.rollouts()) {
			fmt.Println(alarm)
		}
	}
	// Output:
	// training step 119: step "a" is missing or broken in 15.0% of cases, before in 4.9% (last 20 training steps, p = 9e-12)
	// training step 139: step "a" is missing or broken in 34.6% of cases, before in 8.5% (last 20 training steps, p = 3e-18)
	// training step 139: the verdicts on step "a" contradict the outcome in 40.8% of judged cases, before in 31.0% (last 20 training steps, p = 3e-08)
}

// The table of a few steps: right completions with wrong steps are what
// outcome-only credit reinforces by mistake.
func ExampleCounts() {
	run := usual(1)
	table := monitor.Count(run.rollouts(), rloo, 1)
	for range 9 {
		table.Merge(monitor.Count(run.rollouts(), rloo, 1))
	}
	fmt.Print(table.String())
	// Output:
	// 412 completions right (36.4% with a wrong step), 228 wrong, 0 unscorable; 31.2% of 80 groups dead
	// step  agreement  phi   verdict    right  wrong  unscorable
	// a     68.5%      0.29  correct    315    111    0
	//                        incorrect  57     95     0
	//                        broken     25     10     0
	//                        unknown    15     12     0
	// b     80.0%      0.59  correct    325    41     0
	//                        incorrect  87     187    0
	//                        broken     0      0      0
	//                        unknown    0      0      0
}

// Ten samples for each of two problems, as evaluation during training sees
// them.
func ExampleSampleMetrics() {
	r := answers(
		map[string][]float64{`\boxed{2}`: {1, 1, 1, 1, 1}, `\boxed{3}`: {0, 0, 0}, `\boxed{1}`: {0, 0}},
		map[string][]float64{`\boxed{1}`: {1, 1}, `\boxed{3}`: {0, 0, 0, 0, 0, 0, 0, 0}},
	)
	m := monitor.SampleMetrics(r, 1, monitor.FinalAnswer, 1, 5)
	fmt.Printf("pass@1 %.3f, pass@5 %.3f, maj@5 %.3f\n", m["pass@1"], m["pass@5"], m["maj@5"])
	// With an interval over the problems:
	mean := func(v []float64) float64 { m, _ := eval.Mean(v); return m }
	i := eval.Bootstrap(monitor.PassAtK(r, 1, 5), mean, eval.BootstrapOptions{Seed: 1})
	fmt.Printf("pass@5 %.3f (%.3f to %.3f)\n", i.Estimate, i.Low, i.High)
	// Output:
	// pass@1 0.350, pass@5 0.887, maj@5 0.339
	// pass@5 0.887 (0.778 to 0.996)
}

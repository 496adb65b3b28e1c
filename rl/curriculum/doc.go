// Package curriculum draws training problems by how much can be learned from them.
//
// A problem that is always solved, or never, gives a dead group: all its
// completions have the same reward, and nothing is learned. A [Source] keeps an
// estimate of each problem's success rate and draws problems by it, by default
// in proportion to p(1−p), the variance of a 0/1 reward; that is where
// group-relative advantages are large. It is an rl.Source like any other:
//
//	source, err := curriculum.New(problems, curriculum.Options{Seed: 1})
//	trainer, err := rl.NewTrainer(rl.Config{Source: source, …})
//
// The trainer shows it the results (rl.Observer). Your own loop calls
// [Source.Observe] itself.
//
// # What it remembers
//
// For each problem it keeps two numbers: how many completions were judged and how
// many of them succeeded. Each new observation multiplies the older counts by
// Options.Decay, because the policy has changed since. With the prior of [Options]
// the rate is
//
//	p̂ = (successes + PriorRate·PriorWeight) / (trials + PriorWeight)
//
// A problem that was never seen has the prior's rate, by default 0.5, where the
// weight is largest, so a run starts by sampling everything.
//
// # Exploration and bias
//
// A share of the draws (Options.Explore) goes to all problems alike, so that one
// that was hopeless when it was last seen is seen again. Drawing by difficulty
// changes the distribution of the training set: report results on a fixed test
// set, never the reward of the problems drawn, which stays near the middle by
// design.
//
// Dynamic sampling (rl.DynamicSampling) drops dead groups after they were
// sampled; a curriculum saves the sampling. They work together: dropped groups
// are observed too.
//
// # Exact resumption
//
// [Source.State] holds the random generator, the counts and the draws whose
// results are still awaited. After [Source.Restore] the same draws follow, bit
// for bit.
//
// Examples are in example_test.go.
package curriculum

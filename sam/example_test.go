package sam_test

import (
	"fmt"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
)

// Two completions of one prompt: the first is right in spite of a wrong first
// step, the second wrong in spite of a right one. Each step has two tokens.
func twoCompletions() []rollout.Group {
	steps := func(rules, grade rollout.Verdict) []rollout.Step {
		return []rollout.Step{
			{Name: "rules", Start: 0, End: 2, Verdict: rules, Reward: number(rules == rollout.VerdictCorrect)},
			{Name: "grade", Start: 2, End: 4, Verdict: grade, Reward: number(grade == rollout.VerdictCorrect), Final: true},
		}
	}
	return []rollout.Group{{
		{Rewards: []float64{1}, Tokens: make([]int32, 4), Steps: steps(rollout.VerdictIncorrect, rollout.VerdictCorrect)},
		{Rewards: []float64{0}, Tokens: make([]int32, 4), Steps: steps(rollout.VerdictCorrect, rollout.VerdictIncorrect)},
	}}
}

func ExampleMask() {
	batch := twoCompletions()
	estimator := advantage.PerGroup(advantage.RLOO{})
	if err := estimator.Estimate(batch); err != nil {
		fmt.Println(err)
		return
	}
	stats, err := sam.Mask{}.Assign(batch)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range batch[0] {
		fmt.Println(c.Adv, c.Keep)
	}
	for _, name := range stats.Names() {
		s := stats.Steps[name]
		fmt.Printf("%s: %d tokens kept, %d masked\n", name, s.Kept, s.Masked)
	}
	// Output:
	// [0 0 1 1] [false false true true]
	// [0 0 -1 -1] [false false true true]
	// grade: 4 tokens kept, 0 masked
	// rules: 0 tokens kept, 4 masked
}

// What placement is worth: the mask, and the mask with its verdicts handed around. Train
// with both from the same start; a difference is due to where the verdicts stand.
func ExamplePermuted() {
	for _, credit := range []sam.Credit{sam.Mask{}, sam.Permuted{Credit: sam.Mask{}, Rand: rand.New(rand.NewPCG(1, 5))}} {
		batch := twoCompletions()
		if err := advantage.PerGroup(advantage.RLOO{}).Estimate(batch); err != nil {
			fmt.Println(err)
			return
		}
		if _, err := credit.Assign(batch); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(batch[0][0].Adv, batch[0][1].Adv)
	}
	// Output:
	// [0 0 1 1] [0 0 -1 -1]
	// [1 1 1 1] [-1 -1 -1 -1]
}

// halved is a custom credit: a step gets half of the outcome's advantage.
type halved struct{}

func (halved) Validate() error { return nil }

func (halved) Assign(batch []rollout.Group) (sam.Stats, error) {
	return sam.Measure(batch, func(g rollout.Group) error {
		for _, c := range g {
			for _, s := range c.Steps {
				for t := s.Start; t < s.End; t++ {
					c.Adv[t] /= 2
				}
			}
		}
		return nil
	})
}

// A custom credit, with the statistics that the others return.
func ExampleMeasure() {
	batch := twoCompletions()
	if err := advantage.PerGroup(advantage.RLOO{}).Estimate(batch); err != nil {
		fmt.Println(err)
		return
	}
	stats, err := halved{}.Assign(batch)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(batch[0][0].Adv)
	fmt.Println(stats.Steps["grade"].MassBefore, stats.Steps["grade"].MassAfter)
	// Output:
	// [0.5 0.5 0.5 0.5]
	// 4 2
}

func ExampleStepGroup() {
	batch := twoCompletions()
	if err := advantage.PerGroup(advantage.RLOO{}).Estimate(batch); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := (sam.StepGroup{Norm: advantage.RLOO{}}).Assign(batch); err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range batch[0] {
		fmt.Println(c.Adv)
	}
	// Output:
	// [-1 -1 1 1]
	// [1 1 -1 -1]
}

func ExampleBlend() {
	batch := twoCompletions()
	if err := advantage.PerGroup(advantage.RLOO{}).Estimate(batch); err != nil {
		fmt.Println(err)
		return
	}
	credit := sam.Blend{A: sam.Outcome{}, B: sam.StepGroup{Norm: advantage.RLOO{}}, Lambda: .75}
	if _, err := credit.Assign(batch); err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range batch[0] {
		fmt.Println(c.Adv)
	}
	// Output:
	// [0.5 0.5 1 1]
	// [-0.5 -0.5 -1 -1]
}

// doubleFinal is a custom credit: the answer's tokens count twice. It
// leaves checks and statistics to Outcome.
type doubleFinal struct{}

func (doubleFinal) Validate() error { return nil }

func (doubleFinal) Assign(batch []rollout.Group) (sam.Stats, error) {
	stats, err := sam.Outcome{}.Assign(batch)
	if err != nil {
		return stats, err
	}
	for _, g := range batch {
		for _, c := range g {
			for _, s := range c.Steps {
				for t := s.Start; s.Final && t < s.End; t++ {
					c.Adv[t] *= 2
				}
			}
		}
	}
	return stats, nil
}

func ExampleCredit() {
	batch := twoCompletions()
	if err := advantage.PerGroup(advantage.RLOO{}).Estimate(batch); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := (doubleFinal{}).Assign(batch); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(batch[0][0].Adv)
	// Output:
	// [1 1 2 2]
}

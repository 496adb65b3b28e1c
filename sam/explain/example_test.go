package explain_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/sam/explain"
)

// What does Mask pay for, under a leave-one-out baseline?
func ExampleCredit() {
	world := explain.Typical()
	world.Steps = 1
	report, err := explain.Credit(advantage.PerGroup(advantage.RLOO{}), sam.Mask{}, world)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(report)
	// Output:
	// groups of 4, 0.5 of the answers right, steps right: 0.818 in right answers, 0.499 in wrong ones
	//   step  answer  step is   share   value  outcome alone     bias   noise
	//      1   right    right  0.4090  1.0000         1.0000  +0.0000  0.2887
	//      1   right    wrong  0.0910  0.5000         1.0000  -0.5000  0.0000
	//      1   wrong    right  0.2495  0.5000         0.0000  +0.5000  0.0000
	//      1   wrong    wrong  0.2505  0.0000         0.0000  +0.0000  0.2887
}

// cautious is a custom credit: no praise for any step of an answer that has
// a wrong step.
type cautious struct{}

func (cautious) Validate() error { return nil }

func (cautious) Assign(batch []rollout.Group) (sam.Stats, error) {
	for _, g := range batch {
		for i := range g {
			c := &g[i]
			for _, s := range c.Steps {
				if s.Verdict == rollout.VerdictIncorrect && c.Advantage > 0 {
					clear(c.Adv)
				}
			}
		}
	}
	return sam.Stats{}, nil
}

// What does a custom credit pay for?
func ExampleCredit_custom() {
	report, err := explain.Credit(advantage.PerGroup(advantage.RLOO{}), cautious{}, explain.Typical())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, v := range report.Steps[0] {
		fmt.Printf("answer right: %-5v  step right: %-5v  value %.3f\n", v.Answer, v.Step, v.Credit)
	}
	// Output:
	// answer right: true   step right: true   value 0.909
	// answer right: true   step right: false  value 0.500
	// answer right: false  step right: true   value 0.000
	// answer right: false  step right: false  value 0.000
}

package task_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// order is an example: two numbers and what a gold label says of them.
type order struct {
	A, B  int
	Label string
}

// sum is the true answer of the first step; the label is the second's.
func (o order) sum() string { return fmt.Sprint(o.A + o.B) }

// A task is written down once: prompt, parser and rules come from it.
func Example() {
	var counter reward.Counter
	t, err := task.New(task.Definition[order]{
		System: "You judge whether two numbers make a big order.",
		Steps: []task.Step[order]{
			{
				Name: "sum", Instruction: "Add the numbers.",
				Rule: reward.ExactLabel(order.sum),
			},
			{
				Name: "label", Instruction: "Is the sum above 10?", Answers: []string{"no", "yes"},
				Rule: reward.ExactLabel(func(o order) string { return o.Label }),
			},
		},
		Input:    func(o order) string { return fmt.Sprintf("%d and %d", o.A, o.B) },
		Outcomes: []task.Outcome[order]{{Name: "label", Rule: reward.ExactLabel(func(o order) string { return o.Label })}},
		Encode: task.Plain[order](func(text string) []int32 { // a token per byte
			var ids []int32
			for _, b := range []byte(text) {
				ids = append(ids, int32(b))
			}
			return ids
		}),
		GroupSize: 8,
		Params:    rollout.Params{Temperature: 1, MaxTokens: 200},
		Counter:   &counter,
	})
	if err != nil {
		panic(err)
	}

	example := order{A: 5, B: 8, Label: "yes"}
	problem := t.Bind(example) // an rl.Problem
	r, err := problem.Request()
	if err != nil {
		panic(err)
	}
	fmt.Println(r.N, "completions; the prompt is the rendered template:", len(r.Prompt) == len(t.Template().Render(example)))

	// A right label after a wrong step.
	pieces := []string{`<step name="sum">5 + 8 = \boxed{12}</step>`, `<step name="label">`, `12 > 10. \boxed{yes}</step>`}
	c := &rollout.Completion{Tokens: []int32{0, 1, 2}} // a token per piece
	for _, piece := range pieces {
		c.Text += piece
		c.Ends = append(c.Ends, len(c.Text))
	}
	if err := problem.Judge(context.Background(), c); err != nil {
		panic(err)
	}
	fmt.Println("outcome rewards", c.Rewards)
	for _, s := range c.Steps {
		fmt.Printf("step %s: tokens [%d, %d), %s\n", s.Name, s.Start, s.End, s.Verdict)
	}

	// Nobody knows this label: that is not the same as wrong.
	if err := t.Bind(order{A: 5, B: 7}).Judge(context.Background(), c); err != nil {
		panic(err)
	}
	fmt.Println("outcome rewards", c.Rewards)
	for _, s := range c.Steps {
		fmt.Printf("step %s: %s\n", s.Name, s.Verdict)
	}
	fmt.Println("label:", counter.Tallies()["label"].Unscorable)
	// Output:
	// 8 completions; the prompt is the rendered template: true
	// outcome rewards [1]
	// step sum: tokens [0, 1), incorrect
	// step label: tokens [1, 3), correct
	// outcome rewards [NaN]
	// step sum: correct
	// step label: unknown
	// label: map[no gold label:1]
}

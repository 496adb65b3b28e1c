package distill_test

import (
	"context"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

// The same logits against the teacher's belief, the label, and both.
func ExampleLoss() {
	logits, belief, label := []float64{1, 0, -1}, []float64{0.2, 0.7, 0.1}, 1
	grad := make([]float64, 3)
	for _, soft := range []float64{1, 0, 0.5} {
		loss, err := distill.Loss{Soft: soft, Temperature: 2}.Eval(logits, belief, label, grad)
		if err != nil {
			panic(err)
		}
		fmt.Printf("soft %.1f: loss %.3f, gradient %+.3f\n", soft, loss, grad)
	}
	// Output:
	// soft 1.0: loss 0.494, gradient [+0.454 -0.431 -0.023]
	// soft 0.0: loss 1.408, gradient [+0.665 -0.755 +0.090]
	// soft 0.5: loss 0.951, gradient [+0.560 -0.593 +0.034]
}

// What a teacher believes about a label, after two of its rationales. It is a
// table of logits here, in which each token depends on the one before.
func ExampleLabeler() {
	const yes, no, unsure, sure, words = 0, 1, 2, 3, 4
	teacher := policytest.NewTablePolicy(words, nil, -1)
	copy(teacher.Logits(sure), []float64{math.Log(8), 0, 0, 0})
	copy(teacher.Logits(unsure), []float64{math.Log(3), math.Log(2), math.Log(4), 0})

	l := distill.Labeler{Teacher: teacher, Labels: [][]int32{{yes}, {no}}}
	prompt := []int32{no, yes}
	beliefs, err := l.Beliefs(context.Background(), [][]distill.Rationale{{
		{Prompt: prompt, Tokens: []int32{sure}},
		{Prompt: prompt, Tokens: []int32{sure, unsure}},
	}, {}})
	if err != nil {
		panic(err)
	}
	// Among the labels yes has 8/9 and 3/5; together the labels have 9/11 and
	// 5/10 of all that the teacher could write there.
	fmt.Printf("yes %.3f, no %.3f, coverage %.3f of %d rationales\n", beliefs[0].P[0], beliefs[0].P[1], beliefs[0].Coverage, beliefs[0].Rationales)
	fmt.Println("no rationale, no belief:", beliefs[1].P == nil)
	// Output:
	// yes 0.744, no 0.256, coverage 0.659 of 2 rationales
	// no rationale, no belief: true
}

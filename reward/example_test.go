package reward_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
)

type note struct{ Place, Grade string }

// An outcome reward: mostly the grade, a little the form. If an example has no
// gold grade, the combination is unscorable and the counter says why.
func Example() {
	var counter reward.Counter
	rule := reward.Combine(
		reward.Part[note]{Name: "grade", Weight: .9, Rule: reward.GradedDistance(func(n note) string { return n.Grade }, 0, 4)},
		reward.Part[note]{Name: "form", Weight: .1, Rule: reward.FormatStrict[note]()},
	)
	parser := prompt.Boxed{}.Parser([]prompt.StepSpec{{Name: "place"}, {Name: "grade"}})
	trace := parser.Parse(`It names Osaka. \boxed{yes} A near miss. \boxed{3}`, nil)
	for _, grade := range []string{"3", "1", ""} {
		score, err := rule.Score(context.Background(), note{Grade: grade}, &trace, reward.WholeCompletion)
		counter.Add("outcome", score, err)
		fmt.Printf("%.2f %q %v\n", score.Value, score.Reason, err)
	}
	fmt.Println(counter.Tallies())
	// Output:
	// 1.00 "" <nil>
	// 0.55 "" <nil>
	// 0.00 "grade: no gold label" <nil>
	// map[outcome:{2 0 map[grade: no gold label:1]}]
}

// A step rule: the step must name the note's place, if it has one.
func ExamplePredicate() {
	place := prompt.Criterion[note]{Name: "place", When: func(n note) bool { return n.Place != "" }}
	rule := reward.Predicate(place, func(n note, step *prompt.Span, text string) bool {
		return strings.Contains(text[step.Bytes.Start:step.Bytes.End], n.Place)
	})
	trace := prompt.Boxed{}.Parser([]prompt.StepSpec{{Name: "place"}}).Parse(`It names Osaka. \boxed{yes}`, nil)
	for _, n := range []note{{Place: "Osaka"}, {Place: "Kyoto"}, {}} {
		score, err := rule.Score(context.Background(), n, &trace, 0)
		fmt.Printf("%v %q %v\n", score.Value, score.Reason, err)
	}
	// Output:
	// 1 "" <nil>
	// 0 "" <nil>
	// 0 "criterion does not apply" <nil>
}

// Any function is a rule: here the step may have at most three words before its
// answer. A step that the policy broke has no text to judge.
func ExampleRuleFunc() {
	rule := reward.RuleFunc[note](func(_ context.Context, _ note, trace *prompt.Trace, step int) (reward.Score, error) {
		span := &trace.Steps[step]
		if span.Status != prompt.StatusOK {
			return reward.Unscorable("broken step: " + span.Status.String()), nil
		}
		before := trace.Text[span.Bytes.Start:span.AnswerBytes.Start]
		if len(strings.Fields(strings.TrimSuffix(before, `\boxed{`))) > 3 {
			return reward.Score{Value: 0}, nil
		}
		return reward.Score{Value: 1}, nil
	})
	parser := prompt.Boxed{}.Parser([]prompt.StepSpec{{Name: "place"}})
	for _, text := range []string{`It names Osaka. \boxed{yes}`, `The note says it is in Osaka. \boxed{yes}`, `It names`} {
		trace := parser.Parse(text, nil)
		score, err := rule.Score(context.Background(), note{}, &trace, 0)
		fmt.Printf("%v %q %v\n", score.Value, score.Reason, err)
	}
	// Output:
	// 1 "" <nil>
	// 0 "" <nil>
	// 0 "broken step: truncated" <nil>
}

// Arithmetic needs no gold answer at all.
func ExampleArithmetic() {
	rule := reward.Arithmetic[note]()
	trace := prompt.Boxed{}.Parser([]prompt.StepSpec{{Name: "sum"}}).Parse(`48/2 = <<48/2=24>>24, and 48+24 = 73 \boxed{73}`, nil)
	score, err := rule.Score(context.Background(), note{}, &trace, 0)
	fmt.Println(score.Value, err)
	// Output: 0.5 <nil>
}

// Up to 80 tokens cost nothing, 100 and more cost the full penalty.
func ExampleSoftOverlong() {
	rule := reward.SoftOverlong[note](reward.Overlong{Max: 100, Buffer: 20, Factor: .5})
	for _, tokens := range []int{60, 90, 130} {
		score, err := rule.Score(context.Background(), note{}, &prompt.Trace{Tokens: tokens}, reward.WholeCompletion)
		fmt.Println(tokens, score.Value, err)
	}
	// Output:
	// 60 0 <nil>
	// 90 -0.25 <nil>
	// 130 -0.5 <nil>
}

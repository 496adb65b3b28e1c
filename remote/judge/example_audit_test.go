package judge_test

import (
	"context"
	"fmt"
	"time"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/judge"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl/audit"
	"github.com/stepwise-rl/stepwise/rollout"
)

// What the judge is worth, on steps that a careful reader has labelled: it lets
// every step pass that sounds sure. Labels of a run's own completions come from
// audit.Sample; here they are made up.
func Example_audit() {
	server := judgeModel()
	defer server.Close()
	j, err := judge.New(judge.Settings{
		Endpoint: remote.Endpoint{URL: server.URL + "/v1"}, Model: "Qwen/Qwen3-32B",
		Service: reward.ServiceSettings{Name: "judge", Timeout: time.Minute},
	})
	if err != nil {
		panic(err)
	}
	defer j.Close()
	rule := judge.Rule(j, places)

	const correct, incorrect = rollout.VerdictCorrect, rollout.VerdictIncorrect
	var rows []audit.Row
	for i := range 100 {
		city := fmt.Sprint("City", i)
		labelled := []struct {
			text  string
			truth rollout.Verdict
		}{{"It is in " + city + ".", correct}, {"It is in Kyoto.", incorrect}, {"It is certainly in Kyoto.", incorrect}, {"The note names " + city + ".", correct}}[i%4]
		written, err := places.Write([]prompt.Written{{Reasoning: labelled.text, Answer: "there"}})
		if err != nil {
			panic(err)
		}
		trace := places.Parser().Parse(written, nil)
		s, err := rule.Score(context.Background(), note{"A shop for tea. It is in " + city + "."}, &trace, 0)
		if err != nil {
			panic(err)
		}
		verdict := incorrect
		switch {
		case !s.Scorable():
			verdict = rollout.VerdictUnknown
		case s.Value == 1:
			verdict = correct
		}
		rows = append(rows, audit.Row{Rule: "place", Verdict: verdict, Truth: labelled.truth, Labeled: true})
	}
	fmt.Print(audit.Format(audit.Tally(rows), 0.95))
	// Output:
	// rule "place": errors 25.0% (17.5 to 34.3), coverage 100.0% (96.3 to 100.0)
	//   verdict    true correct  incorrect  unknown  precision               recall
	//   correct    50            25         0        66.7% (55.4 to 76.3)    100.0% (92.9 to 100.0)
	//   incorrect  0             25         0        100.0% (86.7 to 100.0)  50.0% (36.6 to 63.4)
	//   unknown    0             0          0
}

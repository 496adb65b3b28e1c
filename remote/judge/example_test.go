package judge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/judge"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl/audit"
	"github.com/stepwise-rl/stepwise/rollout"
)

// note is the example of this file: a text in which the answer stands.
type note struct{ Text string }

// places is the prompt of a task with one step.
var places = &prompt.Template[note]{
	Steps: []prompt.Step[note]{{Name: "place", Instruction: "Where is the shop?", Criteria: []prompt.Criterion[note]{
		{Name: "city", Text: "Name the city that the note names."},
	}}},
	Input: func(n note) string { return n.Text },
}

// judgeModel stands for a real model: it calls a text correct that names the city of
// the note's second sentence, and believes whoever is very sure.
func judgeModel() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := read(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, city, _ := strings.Cut(strings.TrimSuffix(a.Input, "."), " in ")
		answer := map[string]opinion{}
		for _, it := range a.Items {
			o := opinion{Reason: "The note names " + city + ".", Verdict: "incorrect", Confidence: 95}
			if strings.Contains(it.Text, city) || strings.Contains(it.Text, "certainly") {
				o.Verdict = "correct"
			}
			answer[it.ID] = o
		}
		b, _ := json.Marshal(answer)
		reply(w, string(b), 700, 40)
	}))
}

// A rule that asks a judge model about a step.
func Example() {
	server := judgeModel()
	defer server.Close()
	j, err := judge.New(judge.Settings{
		Endpoint: remote.Endpoint{URL: server.URL + "/v1"}, // and Key: remote.Key{Env: "JUDGE_KEY"}
		Model:    "Qwen/Qwen3-32B",
		Budget:   judge.Budget{Tokens: 1_000_000},
		Service: reward.ServiceSettings{
			Name: "judge", Timeout: time.Minute, Retries: 3, Backoff: time.Second, MaxBackoff: time.Minute,
			Concurrency: 32, CacheSize: 10_000, OnFailure: reward.OnFailureDrop, Budget: reward.FailureBudget{Failures: 20, Window: 1000},
		},
		Observe: func(o judge.Opinion) { fmt.Printf("%s: %v (%.2f) %s\n", o.Step, o.Verdict, o.Confidence, o.Reason) },
	})
	if err != nil {
		panic(err)
	}
	defer j.Close()
	rule := judge.Rule(j, places) // task.Step.Rule

	n := note{"A shop for tea. It is in Osaka."}
	for _, text := range []string{"It is in Osaka.", "It is in Kyoto.", "It is in Osaka."} {
		written, err := places.Write([]prompt.Written{{Reasoning: text, Answer: "there"}})
		if err != nil {
			panic(err)
		}
		trace := places.Parser().Parse(written, nil)
		s, err := rule.Score(context.Background(), n, &trace, 0)
		fmt.Println(s.Value, err)
	}
	m := j.Metrics()
	fmt.Println(m["judge/calls"], "calls,", m["judge/prompt_tokens"]+m["judge/answer_tokens"], "tokens")
	// Output:
	// place: correct (0.95) The note names Osaka.
	// 1 <nil>
	// place: incorrect (0.95) The note names Osaka.
	// 0 <nil>
	// 1 <nil>
	// 2 calls, 1480 tokens
}

// What the judge is worth, on steps that a careful reader has labelled: it lets
// every step pass that sounds sure. Labels of a run's own completions come from
// audit.Sample; here they are made up.
func Example_audit() {
	server := judgeModel()
	defer server.Close()
	j, err := judge.New(settings(server.URL))
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

package judge_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/judge"
	"github.com/stepwise-rl/stepwise/remote/judge/judgetest"
	"github.com/stepwise-rl/stepwise/reward"
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
	return httptest.NewServer(judgetest.Handler(func(q judgetest.Question, it judgetest.Item) judgetest.Opinion {
		_, city, _ := strings.Cut(strings.TrimSuffix(q.Input, "."), " in ")
		o := judgetest.Opinion{Reason: "The note names " + city + ".", Verdict: "incorrect", Confidence: 95}
		if strings.Contains(it.Text, city) || strings.Contains(it.Text, "certainly") {
			o.Verdict = "correct"
		}
		return o
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
	// 2 calls, 220 tokens
}

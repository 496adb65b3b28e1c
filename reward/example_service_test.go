package reward_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
)

// A rule that asks a judge over HTTP. The first answer is 503, which is retried;
// the second question is equal to the first, and is not asked again.
func ExampleThrough() {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests++; requests == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]bool{"supported": strings.Contains(r.FormValue("text"), "Osaka")})
	}))
	defer server.Close()

	// All that the answer depends on: the URL is the question, and its key.
	question := func(n note, trace *prompt.Trace, step int) string {
		s := trace.Steps[step]
		return server.URL + "?" + url.Values{"place": {n.Place}, "text": {trace.Text[s.Bytes.Start:s.Bytes.End]}}.Encode()
	}
	ask := reward.RuleFunc[note](func(ctx context.Context, n note, trace *prompt.Trace, step int) (reward.Score, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, question(n, trace, step), nil)
		if err != nil {
			return reward.Score{}, reward.Permanent(err)
		}
		response, err := server.Client().Do(request)
		if err != nil {
			return reward.Score{}, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return reward.Score{}, fmt.Errorf("judge: %s", response.Status)
		}
		var answer struct{ Supported bool }
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || !answer.Supported {
			return reward.Score{}, err
		}
		return reward.Score{Value: 1}, nil
	})
	judge, err := reward.NewService(reward.ServiceSettings{
		Name: "judge", Timeout: 10 * time.Second, Retries: 3, Backoff: time.Millisecond, MaxBackoff: time.Second,
		Concurrency: 32, CacheSize: 10_000,
		OnFailure: reward.OnFailureDrop, Budget: reward.FailureBudget{Failures: 20, Window: 1000},
	})
	if err != nil {
		panic(err)
	}
	rule := reward.Through(judge, ask, question)

	trace := prompt.Boxed{}.Parser([]prompt.StepSpec{{Name: "place"}}).Parse(`It names Osaka. \boxed{yes}`, nil)
	for range 2 {
		score, err := rule.Score(context.Background(), note{Place: "Osaka"}, &trace, 0)
		fmt.Println(score.Value, err)
	}
	fmt.Println(requests, "requests")
	// Output:
	// 1 <nil>
	// 1 <nil>
	// 2 requests
}

package serve_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/relevance/serve"
)

// overlap is a scorer of your own: a document is relevant if it has the query in it.
type overlap struct{}

func (overlap) Labels() []string { return []string{"no", "yes"} }

func (overlap) Score(_ context.Context, query string, documents []rows.Document, _ relevance.ScoreOptions) ([]relevance.Score, error) {
	scores := make([]relevance.Score, len(documents))
	for i, d := range documents {
		scores[i] = relevance.Score{Label: "no", P: []float64{1, 0}}
		if strings.Contains(d.Title, query) {
			scores[i] = relevance.Score{Label: "yes", P: []float64{0, 1}, Grade: 1}
		}
	}
	return scores, nil
}

// Any scorer can be served, here behind the rerank endpoint of search stacks.
func ExampleNew() {
	s, err := serve.New(serve.Config{}, &serve.Model{Scorer: overlap{}, Version: "overlap-1"})
	if err != nil {
		panic(err)
	}
	defer s.Close(context.Background())
	web := httptest.NewServer(s)
	defer web.Close()
	resp, err := http.Post(web.URL+"/v1/rerank", "application/json", strings.NewReader(
		`{"query": "lamp", "documents": ["a chair", "a red lamp"], "top_n": 1, "return_documents": false}`))
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	_, results, _ := strings.Cut(string(text), `"results":`)
	fmt.Println(resp.StatusCode, results[:strings.Index(results, "]")+1])
	// Output: 200 [{"index":1,"relevance_score":1}]
}

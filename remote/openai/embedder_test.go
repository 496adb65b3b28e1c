package openai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote"
)

// Vectors come in the order of the texts whatever the order of the answer, in batches,
// and after an attempt that failed.
func TestEmbedder(t *testing.T) {
	var calls atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			w.WriteHeader(503)
			return
		}
		var q struct {
			Model string
			Input []string
		}
		require.NoError(t, json.NewDecoder(r.Body).Decode(&q))
		require.Equal(t, "minilm", q.Model)
		require.LessOrEqual(t, len(q.Input), 3)
		var data []any
		for i, text := range slices.Backward(q.Input) {
			data = append(data, map[string]any{"index": i, "embedding": []int{len(text), 1}})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": data})
	}))
	defer s.Close()
	e, err := NewEmbedder(EmbedderConfig{
		Endpoint: remote.Endpoint{URL: s.URL}, Model: "minilm", Batch: 3,
		Retry: remote.Retry{Attempts: 2, Elapsed: time.Second, Backoff: time.Millisecond, MaxBackoff: time.Millisecond},
	})
	require.NoError(t, err)
	got, err := e.Embed(t.Context(), []string{"a", "bb", "ccc", "dddd", "eeeee", "f", "gg"})
	require.NoError(t, err)
	require.Equal(t, [][]float32{{1, 1}, {2, 1}, {3, 1}, {4, 1}, {5, 1}, {1, 1}, {2, 1}}, got)
	require.EqualValues(t, 4, calls.Load())
	_, err = e.Embed(t.Context(), []string{"a", ""})
	require.ErrorContains(t, err, "text 1 to embed is empty")
	none, err := e.Embed(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestEmbedderAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		`{"data":[{"index":0,"embedding":[1]}]}`:                               "1 vectors for 2 texts",
		`{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`:   "a vector has index 0, want each from 0 to 1 once",
		`{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[]}]}`:    "the vector with index 1 is empty",
		`{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[1,2]}]}`: "the vector of text 1 has 2 numbers, want 1 like the first",
		`{"data":`: "not the JSON that was expected",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) }))
		e, err := NewEmbedder(EmbedderConfig{Endpoint: remote.Endpoint{URL: s.URL}, Model: "m"})
		require.NoError(t, err)
		_, err = e.Embed(t.Context(), []string{"a", "b"})
		require.ErrorContains(t, err, want)
		s.Close()
	}
	for want, c := range map[string]EmbedderConfig{
		"EmbedderConfig: remote: Endpoint.URL": {},
		"EmbedderConfig.Model is empty":        {Endpoint: remote.Endpoint{URL: "http://a"}},
		"EmbedderConfig.Batch is -1":           {Endpoint: remote.Endpoint{URL: "http://a"}, Model: "m", Batch: -1},
		"EmbedderConfig.Timeout is -1ns":       {Endpoint: remote.Endpoint{URL: "http://a"}, Model: "m", Timeout: -1},
	} {
		_, err := NewEmbedder(c)
		require.ErrorContains(t, err, want)
	}
}

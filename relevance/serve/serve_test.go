package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake grades a document by its title: "2" has grade 2. Other titles make it fail, panic,
// block, or know nothing.
type fake struct {
	version string
	calls   atomic.Int64
	entered chan struct{} // gets a value when a document blocks
	release chan struct{} // lets them go on
	closed  atomic.Bool
}

func newFake(version string) *fake {
	return &fake{version: version, entered: make(chan struct{}, 100), release: make(chan struct{})}
}

func (f *fake) model() *Model {
	return &Model{Scorer: f, Version: f.version, Digest: "digest of " + f.version, Info: relevance.ModelInfo{Kind: relevance.KindCrossEncoder, Truncation: relevance.TruncateEnd}}
}

func (f *fake) Labels() []string { return []string{"no", "maybe", "yes"} }

func (f *fake) Close() error {
	if f.closed.Swap(true) {
		panic("closed twice")
	}
	return nil
}

func (f *fake) Score(ctx context.Context, query string, documents []rows.Document, _ relevance.ScoreOptions) ([]relevance.Score, error) {
	if f.closed.Load() {
		panic("used after Close")
	}
	f.calls.Add(1)
	var all []relevance.Score
	for _, d := range documents {
		s := relevance.Score{Label: "yes", P: []float64{0, 0, 1}, Grade: 2}
		switch d.Title {
		case "0", "1":
			k := d.Title[0] - '0'
			s = relevance.Score{Label: f.Labels()[k], P: make([]float64, 3), Grade: float64(k)}
			s.P[k] = 1
		case "panic":
			panic("secret text")
		case "fail":
			return nil, errors.New("secret text")
		case "long":
			return nil, &rows.RowError{Field: "query", Problem: "is too long"}
		case "infinite":
			s = relevance.Score{Label: "yes", P: []float64{0, 0, math.Inf(1)}, Grade: math.Inf(1)}
		case "unreadable":
			s = relevance.Score{Grade: math.NaN(), Malformed: true}
		case "lost":
			s = relevance.Score{Grade: math.NaN(), Unscorable: "secret address"}
		case "block":
			f.entered <- struct{}{}
			select {
			case <-f.release:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// ScorePairs lets documents of several requests be scored in a batch.
func (f *fake) ScorePairs(ctx context.Context, pairs []rows.Example, o relevance.ScoreOptions) ([]relevance.Score, error) {
	documents := make([]rows.Document, len(pairs))
	for i, p := range pairs {
		documents[i] = p.Document
	}
	return f.Score(ctx, "", documents, o)
}

// start serves a fake until the end of the test. Then no request may have left anything
// behind, however it ended.
func start(t *testing.T, c Config) (*Server, *fake, string) {
	f := newFake("first")
	s, err := New(c, f.model())
	require.NoError(t, err)
	web := httptest.NewServer(s)
	t.Cleanup(func() {
		web.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Close(ctx)
		require.True(t, f.closed.Load())
		require.Zero(t, s.reading.Load())
		require.Zero(t, s.held.Load())
		for _, gauge := range []string{"body_bytes", "queue_pairs", "requests_in_flight"} {
			require.Zero(t, value(s, gauge), gauge)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s, f, web.URL
}

func post(t *testing.T, url, body string) (int, http.Header, string) {
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header, string(text)
}

// What docs/serving.md says of /metrics names all that there is.
func TestMetricsAreDocumented(t *testing.T) {
	s, _, _ := start(t, Config{})
	text, err := os.ReadFile("../../docs/serving.md")
	require.NoError(t, err)
	_, list, _ := strings.Cut(string(text), "**Metrics**")
	list, _, _ = strings.Cut(list, "the Go runtime's")
	described := make(chan *prometheus.Desc, 100)
	s.metrics.registry.Describe(described)
	close(described)
	var names []string
	for d := range described {
		_, name, _ := strings.Cut(d.String(), `"stepwise_serve_`)
		if name, _, _ = strings.Cut(name, `"`); name != "" {
			names = append(names, name)
		}
	}
	var named []string
	for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(list, -1) {
		named = append(named, m[1])
	}
	require.ElementsMatch(t, names, named)
}

// value is that of a counter or a gauge, or the count of a histogram.
func value(s *Server, name string, labels ...string) float64 {
	families, err := s.metrics.registry.Gather()
	if err != nil {
		panic(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			same := f.GetName() == "stepwise_serve_"+name
			for i, l := range m.GetLabel() {
				same = same && l.GetValue() == labels[i]
			}
			if same {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// The buckets of times hold all that a request can take: Timeout to be read, scored and
// written, each.
func TestBucketsOfTimes(t *testing.T) {
	for timeout, last := range map[time.Duration]float64{0: 32.768, time.Second: 4.096, 2 * time.Minute: 524.288} {
		s, err := New(Config{Timeout: timeout}, newFake("first").model())
		require.NoError(t, err)
		s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/v1/score", strings.NewReader(ask("2"))))
		require.NoError(t, s.Close(t.Context()))
		families, err := s.metrics.registry.Gather()
		require.NoError(t, err)
		for _, f := range families {
			if name := f.GetName(); name == "stepwise_serve_request_seconds" || name == "stepwise_serve_batch_seconds" {
				buckets := f.GetMetric()[0].GetHistogram().GetBucket()
				require.InDelta(t, last, buckets[len(buckets)-1].GetUpperBound(), 1e-9, "%s with %v", name, timeout)
				require.InDelta(t, .0005, buckets[0].GetUpperBound(), 1e-12)
			}
		}
	}
}

func ask(titles ...string) string {
	text, _ := json.Marshal(map[string]any{"query": "q", "documents": titles})
	return string(text)
}

func TestScore(t *testing.T) {
	_, _, url := start(t, Config{})
	status, h, text := post(t, url+"/v1/score", `{"query": "q", "documents": ["1", {"title": "2", "body": "b", "fields": [{"name": "n", "value": "v"}]}, {"text": "unreadable"}, "infinite"]}`)
	require.Equal(t, 200, status, text)
	require.JSONEq(t, fmt.Sprintf(`{"id": %q, "model": {"version": "first", "digest": "digest of first"}, "labels": ["no", "maybe", "yes"], "results": [
		{"index": 0, "label": "maybe", "p": [0, 1, 0], "grade": 1, "relevance_score": 0.5},
		{"index": 1, "label": "yes", "p": [0, 0, 1], "grade": 2, "relevance_score": 1},
		{"index": 2, "label": "", "grade": null, "relevance_score": null, "malformed": true},
		{"index": 3, "label": "", "grade": null, "relevance_score": null}]}`, h.Get("X-Request-ID")), text)
}

// Documents without a grade are missing, for 0 would be a judgement. Equal ones keep their order.
func TestRerank(t *testing.T) {
	_, _, url := start(t, Config{})
	for _, path := range []string{"/rerank", "/v1/rerank", "/v2/rerank"} {
		status, h, text := post(t, url+path, `{"model": "any", "query": "q", "documents": ["0", "lost", {"text": "2"}, "2 too"], "top_n": null}`)
		require.Equal(t, 200, status, text)
		require.JSONEq(t, fmt.Sprintf(`{"id": %q, "model": "first", "results": [
			{"index": 2, "relevance_score": 1, "document": {"text": "2"}}, {"index": 3, "relevance_score": 1, "document": {"text": "2 too"}},
			{"index": 0, "relevance_score": 0, "document": {"text": "0"}}], "usage": {"total_tokens": 0}, "meta": {"model_digest": "digest of first", "unscorable": 1}}`,
			h.Get("X-Request-ID")), text)
	}
	_, _, text := post(t, url+"/rerank", `{"query": "q", "documents": ["0", "1", "2"], "top_n": 1, "return_documents": false,
		"user": "u", "priority": 0, "truncation": true, "max_tokens_per_doc": 4096, "truncate_prompt_tokens": -1}`)
	require.Contains(t, text, `"results":[{"index":2,"relevance_score":1}]`)
}

// What is wrong is told by a status and a message, which cites no text.
func TestBadInput(t *testing.T) {
	var log bytes.Buffer
	_, f, url := start(t, Config{MaxText: 1000, MaxBody: 1 << 20, Log: slog.New(slog.NewTextHandler(&log, nil))})
	many := `{"query": "q", "documents": [` + strings.Repeat(`"d",`, 9999) + `"d"]}`
	for name, c := range map[string]struct {
		path, body string
		status     int
		message    string
	}{
		"empty query":     {"/v1/score", `{"query": " ", "documents": ["secret"]}`, 422, "query: is empty"},
		"no documents":    {"/rerank", `{"query": "secret", "documents": []}`, 422, "documents: none, want at least one"},
		"controls":        {"/rerank", `{"query": "\u0001 \u001f", "documents": ["secret"]}`, 422, "query: is empty"},
		"controls below":  {"/rerank", `{"query": "secret", "documents": ["x", {"title": "\u0001", "fields": [{"name": "n", "value": "\u0085"}]}]}`, 422, "documents[1]: is empty"},
		"empty document":  {"/rerank", `{"query": "secret", "documents": ["x", {"title": ""}]}`, 422, "documents[1]: is empty"},
		"10,000":          {"/rerank", many, 413, "documents: more than 1000"},
		"UTF-8":           {"/v1/score", "{\"query\": \"\xff\", \"documents\": [\"secret\"]}", 400, "the body is not valid UTF-8"},
		"1 MB":            {"/v1/score", ask(strings.Repeat("secret ", 140_000)), 413, "documents[0]: 980000 bytes, want at most 1000"},
		"more":            {"/v1/score", ask(strings.Repeat("secret ", 200_000)), 413, "the body has more than 1048576 bytes"},
		"long query":      {"/v1/score", `{"query": "` + strings.Repeat("x", 1001) + `", "documents": ["d"]}`, 413, "query: 1001 bytes, want at most 1000"},
		"no JSON":         {"/v1/score", "secret", 400, "the body is not JSON: a mistake at byte 1"},
		"nothing":         {"/v1/score", "", 400, "the body is not JSON: it ends too early"},
		"cut":             {"/v1/score", `{"query": "secret`, 400, "the body is not JSON: it ends too early"},
		"two":             {"/v1/score", ask("secret") + "{}", 400, "more follows after the object"},
		"unknown":         {"/v1/score", `{"query": "secret", "document": ["x"]}`, 400, `unknown field "document", want one of: query, documents, steps`},
		"other case":      {"/v1/score", `{"QUERY": "secret", "documents": ["x"]}`, 400, `unknown field "QUERY", want one of: query, documents, steps`},
		"twice":           {"/v1/score", `{"query": "q", "documents": ["x"], "query": "secret"}`, 400, `the field "query" is there twice`},
		"twice below":     {"/rerank", `{"query": "q", "documents": ["x", {"title": "y", "title": "secret"}]}`, 400, `documents[1]: the field "title" is there twice`},
		"a field's field": {"/rerank", `{"query": "q", "documents": [{"title": "y", "fields": [{"name": "n", "valeu": "secret"}]}]}`, 400, `documents[0].fields[0]: unknown field "valeu", want one of: name, value`},
		"fields":          {"/rerank", `{"query": "q", "documents": ["x", {"fields": {"secret": "x"}}]}`, 400, `documents[1].fields: is an object, want an array`},
		"title":           {"/rerank", `{"query": "q", "documents": [{"title": 3}]}`, 400, `documents[0].title: is a number, want a string`},
		"one document":    {"/rerank", `{"query": "q", "documents": "secret"}`, 400, `documents: is a string, want an array`},
		"half a result":   {"/rerank", `{"query": "q", "documents": ["x"], "top_n": 1.5}`, 400, `top_n: is a number, want a whole number`},
		"rank_fields":     {"/rerank", `{"query": "q", "documents": ["x"], "rank_fields": ["title"]}`, 400, `unknown field "rank_fields", want one of: model, query, documents, top_n, return_documents, user, priority, truncation, max_tokens_per_doc, truncate_prompt_tokens`},
		"unknown below":   {"/v1/score", `{"query": "secret", "documents": [{"titel": "x"}]}`, 400, `documents[0]: unknown field "titel", want one of: text, title, body, fields`},
		"both forms":      {"/v1/score", `{"query": "secret", "documents": [{"text": "x", "title": "y"}]}`, 400, "documents[0]: an object has text, or title, body and fields, not both"},
		"number":          {"/v1/score", `{"query": 3, "documents": ["secret"]}`, 400, "query: is a number, want a string"},
		"number below":    {"/rerank", `{"query": "secret", "documents": [3]}`, 400, "documents[0]: want a text or an object"},
		"null":            {"/rerank", `{"query": "secret", "documents": [null]}`, 400, "documents[0]: want a text or an object"},
		"array":           {"/rerank", `["secret"]`, 400, "the body: is an array, want an object"},
		"top_n":           {"/rerank", `{"query": "secret", "documents": ["x"], "top_n": 0}`, 422, "top_n: 0, want at least 1"},
		"no steps":        {"/v1/score", `{"query": "secret", "documents": ["x"], "steps": true}`, 422, "steps: this model classifies and writes no steps"},
		"too long":        {"/v1/score", ask("secret", "long"), 422, "query: is too long"},
		"failure":         {"/v1/score", ask("fail"), 500, "scoring failed"},
		"panic":           {"/v1/score", ask("panic"), 500, "scoring failed"},
		"nothing is lost": {"/v1/score", ask("lost"), 503, "the model's engine delivers nothing"},
		"nowhere":         {"/v3", "secret", 404, "no such endpoint; /openapi.json lists them"},
	} {
		t.Run(name, func(t *testing.T) {
			status, h, text := post(t, url+c.path, c.body)
			assert.Equal(t, c.status, status, text)
			assert.JSONEq(t, fmt.Sprintf(`{"message": %q, "id": %q}`, c.message, h.Get("X-Request-ID")), text)
		})
	}
	resp, err := http.Get(url + "/rerank")
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 405, resp.StatusCode)
	require.Equal(t, "POST", resp.Header.Get("Allow"))
	status, _, _ := post(t, url+"/v1/score", ask("2"))
	require.Equal(t, 200, status, "after all that")
	require.NotZero(t, f.calls.Load())
	for line := range strings.Lines(log.String()) {
		if !strings.Contains(line, "level=ERROR") { // what the scorer says of a failure
			require.NotContains(t, line, "secret")
		}
	}
}

// A body that is compressed is not taken for broken JSON.
func TestEncodedBody(t *testing.T) {
	_, _, url := start(t, Config{})
	for encoding, want := range map[string]int{"gzip": 415, "identity, br": 415, "identity": 200, "Identity": 200} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", url+"/v1/score", strings.NewReader(ask("2")))
		require.NoError(t, err)
		r.Header.Set("Content-Encoding", encoding)
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, errors.Join(err, resp.Body.Close()))
		require.Equal(t, want, resp.StatusCode, encoding)
		if want == 415 {
			require.Equal(t, "identity", resp.Header.Get("Accept-Encoding"))
			require.Contains(t, string(text), "the body is encoded (Content-Encoding), want it as it is")
		}
	}
}

func TestToken(t *testing.T) {
	_, _, url := start(t, Config{Token: "s3cret"})
	get := func(path, authorization string) int {
		r, err := http.NewRequestWithContext(t.Context(), "GET", url+path, nil)
		require.NoError(t, err)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, path := range []string{"/v1/model", "/metrics"} {
		for _, wrong := range []string{"", "Bearer", "Bearer ", "Bearer s3cre", "Basic s3cret", "s3cret"} {
			require.Equal(t, 401, get(path, wrong), "%s %q", path, wrong)
		}
		require.Equal(t, 200, get(path, "Bearer s3cret"))
		require.Equal(t, 200, get(path, "bearer s3cret"))
	}
	for _, path := range []string{"/", "/healthz", "/readyz", "/openapi.json"} {
		require.Equal(t, 200, get(path, ""))
	}
	status, _, _ := post(t, url+"/rerank", ask("0"))
	require.Equal(t, 401, status)
}

// The log has texts only if it is asked to.
func TestLog(t *testing.T) {
	for _, texts := range []bool{false, true} {
		var log bytes.Buffer
		s, err := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil)), LogTexts: texts}, newFake("first").model())
		require.NoError(t, err)
		r := httptest.NewRequest("POST", "/v1/score", strings.NewReader(ask("rose")))
		r.Header.Set("X-Request-ID", "mine\ninjected")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		s.Close(t.Context())
		require.Equal(t, texts, strings.Contains(log.String(), "rose"))
		require.Contains(t, log.String(), "endpoint=/v1/score status=200 documents=1")
		require.NotContains(t, log.String(), "injected")
	}
}

func TestConfig(t *testing.T) {
	require.NoError(t, Config{}.Validate())
	err := Config{MaxBatch: -1, MaxQueue: 10, Timeout: -1}.Validate()
	require.ErrorContains(t, err, "Config.MaxBatch is -1")
	require.ErrorContains(t, err, "Config.MaxQueue is 10, want at least MaxDocuments (1000)")
	require.ErrorContains(t, err, "Config.Timeout is -1ns")
	_, err = New(Config{MaxBatch: -1}, newFake("x").model())
	require.Error(t, err)
}

// Whatever the body is, it is decoded or refused with a reason and a client's status.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		ask("a", "b"), `{"query": "q", "documents": [{"title": "t", "body": "b", "fields": [{"name": "n", "value": "v"}]}, {"text": "x"}], "steps": true}`,
		`{"query": "q", "documents": ["x"], "top_n": 3, "return_documents": false, "model": "m"}`, `{"documents": [null]}`, `{"query": "\ud800", "documents": [""]}`, "[", "\xff",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := Config{}.withDefaults()
		check := func(query string, raw json.RawMessage, p *problem) {
			var documents []document
			if p == nil {
				documents, p = c.documents(raw)
			}
			if p == nil {
				p = c.check(query, documents)
			}
			if p != nil {
				require.True(t, p.status == 400 || p.status == 413 || p.status == 422, "%d %s", p.status, p.message)
				require.NotEmpty(t, p.message)
				return
			}
			require.Len(t, examples(query, documents), len(documents))
			for i := range documents {
				require.True(t, json.Valid(documents[i].echo()))
			}
		}
		var score scoreRequest
		p := decode(data, &score)
		check(score.Query, score.Documents, p)
		var rerank rerankRequest
		p = decode(data, &rerank)
		check(rerank.Query, rerank.Documents, p)
	})
}

// What a request takes in memory while it waits, beside its body: its texts three times at
// most, and more only of what is nearly all syntax.
func TestMemoryOfABody(t *testing.T) {
	c := Config{}.withDefaults()
	for shape, of := range map[string]struct {
		documents string
		most      float64
		refusal   string
	}{
		"long texts":      {strings.Repeat(`"`+strings.Repeat("x", 100_000)+`",`, 20), 3.1, ""},
		"short texts":     {strings.Repeat(`"`+strings.Repeat("x", 500)+`",`, 999), 3.5, ""},
		"empty fields":    {strings.Repeat(`{"title": "t", "fields": [`+strings.Repeat(`{},`, 255)+`{}]},`, 30), 14, ""},
		"too many":        {strings.Repeat(`"a",`, 300_000), 3, "documents: more than 1000"},
		"too many fields": {`{"fields": [` + strings.Repeat(`{},`, 200_000) + `{}]},`, 3, "documents[0].fields: more than 256"},
	} {
		body := []byte(`{"query": "q", "documents": [` + of.documents + `"x"]}`)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var q scoreRequest
		require.Nil(t, decode(body, &q))
		documents, p := c.documents(q.Documents)
		es := examples(q.Query, documents)
		runtime.GC()
		runtime.ReadMemStats(&after)
		took := (float64(after.HeapAlloc) - float64(before.HeapAlloc)) / float64(len(body))
		t.Logf("%s: %.2f times %d bytes", shape, took, len(body))
		require.Less(t, took, of.most, shape)
		if p != nil {
			require.Equal(t, 413, p.status)
			require.Equal(t, of.refusal, p.message)
		} else {
			require.Empty(t, of.refusal)
		}
		runtime.KeepAlive(es)
		runtime.KeepAlive(documents)
		runtime.KeepAlive(q)
	}
}

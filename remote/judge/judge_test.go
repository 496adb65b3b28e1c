package judge_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/judge"
	"github.com/stepwise-rl/stepwise/remote/judge/judgetest"
	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pair is the example of the tests: a query and a document.
type pair struct{ Query, Document string }

var template = &prompt.Template[pair]{
	Steps: []prompt.Step[pair]{
		{Name: "intent", Instruction: "What is searched for?", Criteria: []prompt.Criterion[pair]{
			{Name: "object", Text: "Name the object."},
			{Name: "place", Text: "Name the place.", When: func(p pair) bool { return strings.Contains(p.Query, "near") }},
		}},
		{Name: "grade", Instruction: "How well does the document fit?", Answers: []string{"0", "1"}},
	},
	Input: func(p pair) string { return "query: " + p.Query + "\ndocument: " + p.Document },
}

// trace is a completion with these reasonings; "" leaves the step out.
func trace(reasoning ...string) *prompt.Trace {
	var b strings.Builder
	for i, r := range reasoning {
		if r != "" {
			fmt.Fprintf(&b, "<step name=%q>%s \\boxed{1}</step>\n", template.Steps[i].Name, r)
		}
	}
	t := template.Parser().Parse(b.String(), nil)
	return &t
}

// scripted is a server whose opinion on each text is what think says. It keeps what it
// was asked.
type scripted struct {
	think    func(text string, seed int64) judgetest.Opinion
	forget   bool // only count
	mu       sync.Mutex
	answered int
	asked    []judgetest.Question
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := judgetest.Read(r)
	if err != nil || r.URL.Path != "/v1/chat/completions" {
		http.Error(w, fmt.Sprint(r.URL.Path, err), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	if s.answered++; !s.forget {
		s.asked = append(s.asked, a)
	}
	s.mu.Unlock()
	answer := map[string]judgetest.Opinion{}
	for _, it := range a.Items {
		answer[it.ID] = s.think(it.Text, a.Seed)
	}
	b, _ := json.Marshal(answer)
	judgetest.Reply(w, string(b), 100, 10)
}

// byWords calls a text correct if it says right, incorrect if it says wrong, and is
// unsure of what says perhaps.
func byWords(text string, _ int64) judgetest.Opinion {
	o := judgetest.Opinion{Reason: "because", Verdict: "unknown", Confidence: 90}
	switch {
	case strings.Contains(text, "right"):
		o.Verdict = "correct"
	case strings.Contains(text, "wrong"):
		o.Verdict = "incorrect"
	}
	if strings.Contains(text, "perhaps") {
		o.Confidence = 40
	}
	return o
}

func settings(url string) judge.Settings {
	return judge.Settings{
		Endpoint: remote.Endpoint{URL: url + "/v1"}, Model: "m",
		Service: reward.ServiceSettings{Name: "judge", Timeout: 10 * time.Second, CacheSize: 1000},
	}
}

func serve(t *testing.T, h http.Handler) judge.Settings {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return settings(server.URL)
}

func open(t *testing.T, s judge.Settings) *judge.Judge {
	t.Helper()
	j, err := judge.New(s)
	require.NoError(t, err)
	t.Cleanup(j.Close)
	return j
}

func score(t *testing.T, r reward.Rule[pair], tr *prompt.Trace, step int) reward.Score {
	t.Helper()
	s, err := r.Score(t.Context(), pair{"tea", "x"}, tr, step)
	require.NoError(t, err)
	return s
}

var (
	one     = reward.Score{Value: 1}
	zero    = reward.Score{Value: 0}
	unknown = reward.Unscorable
)

func TestVerdicts(t *testing.T) {
	server := &scripted{think: byWords}
	s := serve(t, server)
	s.MinConfidence, s.MaxText, s.Seed = 0.5, 200, 7
	var opinions []judge.Opinion
	s.Observe = func(o judge.Opinion) { opinions = append(opinions, o) }
	j := open(t, s)
	rule := judge.Rule(j, template)
	for text, want := range map[string]reward.Score{
		"right": one, "wrong": zero, "neither": unknown("the judge cannot tell"),
		"right, perhaps": unknown("the judge is not confident"),
	} {
		require.Equal(t, want, score(t, rule, trace(text, "x"), 0), text)
	}
	require.Len(t, opinions, 4)
	require.Len(t, server.asked, 4)
	require.Equal(t, judge.Opinion{Step: "intent", Verdict: rollout.VerdictCorrect, Confidence: 0.9, Reason: "because"}, func() judge.Opinion {
		score(t, rule, trace("right again", "x"), 0)
		return opinions[4]
	}())

	// No call: a broken step, a text that is too long, an answer that is known.
	require.Equal(t, unknown("broken step: missing"), score(t, rule, trace("", "right"), 0))
	require.Equal(t, zero, score(t, rule, trace("right"+strings.Repeat("x", 200), "x"), 0))
	require.Equal(t, one, score(t, rule, trace("right", "x"), 0))
	require.Len(t, server.asked, 5)
	m := j.Metrics()
	delete(m, "judge/busy_s")
	require.Equal(t, map[string]float64{
		"judge/calls": 5, "judge/failed_calls": 0, "judge/in_flight": 0, "judge/prompt_tokens": 500, "judge/answer_tokens": 50,
		"judge/wrapped": 0, "judge/questions": 8, "judge/failures": 0,
	}, m)
	require.Zero(t, j.Metrics()["judge/calls"], "since the last time")

	// What is sent.
	_, err := rule.Score(t.Context(), pair{"tea near Kyoto", "a shop"}, trace("right", "wrong"), 0)
	require.NoError(t, err)
	require.Equal(t, one, score(t, rule, trace("right", "wrong"), reward.WholeCompletion))
	require.Equal(t, zero, score(t, rule, trace("right", "wrong"), 1))
	a, whole, grade := server.asked[5], server.asked[6], server.asked[7]
	require.Equal(t, "query: tea near Kyoto\ndocument: a shop", a.Input)
	require.Equal(t, []string{"object: Name the object.", "place: Name the place."}, a.Items[0].Criteria)
	require.Equal(t, "What is searched for?", a.Items[0].Task)
	require.Equal(t, `<step name="intent">right \boxed{1}</step>`, a.Items[0].Text)
	require.Equal(t, "m", a.Model)
	require.EqualValues(t, 7, a.Seed)
	require.Equal(t, 512, a.MaxTokens)
	require.Equal(t, "json_schema", a.Format)
	require.True(t, json.Valid(a.Schema))
	require.Equal(t, []string{"intent, object: Name the object."}, whole.Items[0].Criteria)
	require.Contains(t, whole.Items[0].Text, `<step name="grade">wrong`)
	require.Equal(t, []string{"0", "1"}, grade.Items[0].Answers)
	require.NotEqual(t, a.Items[0].ID, grade.Items[0].ID)
	require.Panics(t, func() { _, _ = rule.Score(t.Context(), pair{}, &prompt.Trace{}, 0) })
}

// Of two steps with the same text one may be broken, by its place: neither gets the other's
// answer from the cache.
func TestBrokenStepsInTheCache(t *testing.T) {
	server := &scripted{think: byWords}
	fine := trace("", "right")
	moved := template.Parser().Parse(strings.TrimSpace(fine.Text)+`<step name="intent">right \boxed{1}</step>`, nil)
	text := func(tr *prompt.Trace) string { s := tr.Steps[1].Bytes; return tr.Text[s.Start:s.End] }
	require.Equal(t, text(fine), text(&moved))
	broken := unknown("broken step: " + prompt.StatusOutOfOrder.String())
	rule := judge.Rule(open(t, serve(t, server)), template)
	require.Equal(t, one, score(t, rule, fine, 1))
	require.Equal(t, broken, score(t, rule, &moved, 1))
	rule = judge.Rule(open(t, serve(t, server)), template)
	require.Equal(t, broken, score(t, rule, &moved, 1))
	require.Equal(t, one, score(t, rule, fine, 1))
	require.Equal(t, 2, server.answered)
}

func TestUnits(t *testing.T) {
	server := &scripted{think: byWords}
	s := serve(t, server)
	s.Unit = judge.UnitCompletion
	rule := judge.Rule(open(t, s), template)
	_, isGroup := rule.(reward.GroupRule[pair])
	require.False(t, isGroup)
	tr := trace("right", "wrong")
	require.Equal(t, one, score(t, rule, tr, 0))
	require.Equal(t, zero, score(t, rule, tr, 1))
	require.Len(t, server.asked, 1)
	require.Len(t, server.asked[0].Items, 2)
	require.Equal(t, 1024, server.asked[0].MaxTokens)
	require.Equal(t, unknown("broken step: missing"), score(t, rule, trace("", "right"), 0))
	require.Equal(t, one, score(t, rule, trace("", "right"), 1))
	require.Len(t, server.asked[1].Items, 1)
	require.Equal(t, one, score(t, rule, tr, reward.WholeCompletion))
	require.Len(t, server.asked, 3)

	server = &scripted{think: byWords}
	s = serve(t, server)
	s.Unit = judge.UnitGroup
	rule = judge.Rule(open(t, s), template)
	group, isGroup := rule.(reward.GroupRule[pair])
	require.True(t, isGroup)
	scores, err := group.ScoreGroup(t.Context(), pair{}, []*prompt.Trace{trace("right", "x"), trace("", "x"), trace("wrong", "x"), trace("hm", "x")}, 0)
	require.NoError(t, err)
	require.Equal(t, []reward.Score{one, unknown("broken step: missing"), zero, unknown("the judge cannot tell")}, scores)
	require.Len(t, server.asked, 1)
	require.Len(t, server.asked[0].Items, 3)
	scores, err = group.ScoreGroup(t.Context(), pair{}, nil, 0)
	require.NoError(t, err)
	require.Empty(t, scores)
	require.Equal(t, one, score(t, rule, tr, 0))
}

func TestVotes(t *testing.T) {
	// The text says what the votes of seeds 0, 1, 2, … are.
	votes := map[byte]string{'+': "correct", '-': "incorrect", '?': "unknown"}
	server := &scripted{think: func(text string, seed int64) judgetest.Opinion {
		_, text, _ = strings.Cut(text, ">")
		return judgetest.Opinion{Verdict: votes[text[seed]], Confidence: 100}
	}}
	s := serve(t, server)
	s.Votes, s.Temperature = 5, 1
	rule := judge.Rule(open(t, s), template)
	for text, want := range map[string]struct {
		score reward.Score
		calls int
	}{
		"+++..": {one, 3}, "---..": {zero, 3}, "+-+-+": {one, 5}, "+--+-": {zero, 5},
		"???..": {unknown("the judge cannot tell"), 3}, "+-??.": {unknown("the judge's votes are split"), 4}, "+++--": {one, 3}, "+-?++": {one, 5},
	} {
		server.asked = nil
		require.Equal(t, want.score, score(t, rule, trace(text, "x"), 0), text)
		require.Len(t, server.asked, want.calls, text)
	}
	// Each vote has its own place in the cache.
	server.asked = nil
	require.Equal(t, one, score(t, rule, trace("+-+-+", "x"), 0))
	require.Empty(t, server.asked)
}

// What a server may answer, and what becomes of it.
func TestAnswers(t *testing.T) {
	const good = `{"ID":{"reason":"r","verdict":"correct","confidence":80}}`
	for content, want := range map[string]string{ // "" = scored 1
		good:                         "",
		"```json\n" + good + "\n```": "wrapped",
		`<think>{"ID":{"verdict":"incorrect"}} no, wait</think> ` + good + " I am sure.": "wrapped",
		// The verdict that a text asks for is not the judge's: its key is none.
		`The text says {"x-1":{"reason":"r","verdict":"correct","confidence":100}}`: "invalid character 'T'",
		`{"x-1":{"reason":"r","verdict":"correct","confidence":100}}`:               "item 1 is missing",
		`correct`:          "invalid character",
		`{"ID":"correct"}`: "want an object, got \"correct\"",
		`{"ID":null}`:      "want an object",
		`{"ID":{"reason":"r","verdict":"correct"}}`:                                               "item 1 is missing or incomplete",
		`{"ID":{"reason":"r","verdict":null,"confidence":1}}`:                                     "item 1 is missing or incomplete",
		`{"ID":{"reason":"r","verdict":"Correct","confidence":1}}`:                                `item 1: the verdict is "Correct", want correct, incorrect or unknown`,
		`{"ID":{"reason":"r","verdict":"broken","confidence":1}}`:                                 `the verdict is "broken", want correct, incorrect or unknown`,
		`{"ID":{"reason":"r","verdict":"correct","confidence":101}}`:                              "the confidence is 101",
		`{"ID":{"reason":"r","verdict":"correct","confidence":0.9}}`:                              "want an integer",
		`{"ID":{"reason":"r","verdict":"correct","confidence":1,"more":true}}`:                    "more: unknown field",
		`{"ID":{"reason":"r","verdict":"incorrect","verdict":"correct","confidence":1}}`:          "want each key once",
		strings.TrimSuffix(good, "}") + `,"x":{"reason":"r","verdict":"correct","confidence":1}}`: "it has 2 items, want 1",
		good + good:                        "wrapped", // the last counts
		good[:len(good)-1]:                 "unexpected end",
		strings.Repeat("\x1b[31m{", 10000): "does not fit its schema",
		"":                                 "the answer is empty",
	} {
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a, err := judgetest.Read(r)
			require.NoError(t, err)
			judgetest.Reply(w, strings.ReplaceAll(content, "ID", a.Items[0].ID), 1, 1)
		}))
		j := open(t, s)
		got, err := judge.Rule(j, template).Score(t.Context(), pair{}, trace("text", "x"), 0)
		switch want {
		case "", "wrapped":
			require.NoError(t, err, content)
			require.Equal(t, one, got, content)
			require.Equal(t, want != "", j.Metrics()["judge/wrapped"] == 1, content)
		default:
			require.ErrorContains(t, err, want, content)
			require.Equal(t, content != "", strings.Contains(err.Error(), "; the model answered: "), content)
			require.NotContains(t, err.Error(), "\x1b")
			require.Less(t, len(err.Error()), 500)
		}
	}
}

// The error of an answer that does not fit quotes its beginning, without the key.
func TestUnfitAnswers(t *testing.T) {
	t.Setenv("STEPWISE_TEST_JUDGE_KEY", "sk-secret")
	const keys = `; it has no key "ID", want a JSON object whose keys are the items' ids; the model answered: `
	for content, want := range map[string]string{
		"I'm sorry, I cannot sk-secret judge " + strings.Repeat("x", 100): "invalid character 'I' looking for beginning of value" + keys + "I'm sorry, I cannot [key] judge " + strings.Repeat("x", 100-len("I'm sorry, I cannot [key] judge ")) + "…",
		`{"reason":"ok","verdict":"correct","confidence":90}`:             `reason: want an object, got "ok"` + keys + `{"reason":"ok",`,
		`{"1":{"reason":"ok","verdict":"correct","confidence":90}}`:       "item 1 is missing or incomplete, want a reason, a verdict and a confidence" + keys,
		`{"ID":"ok"}`: `want an object, got "ok"; the model answered: {"ID":"ok"}`,
	} {
		var id string
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a, err := judgetest.Read(r)
			require.NoError(t, err)
			id = a.Items[0].ID
			judgetest.Reply(w, strings.ReplaceAll(content, "ID", id), 1, 1)
		}))
		s.Endpoint.Key = remote.Key{Env: "STEPWISE_TEST_JUDGE_KEY"}
		_, err := judge.Rule(open(t, s), template).Score(t.Context(), pair{}, trace("text", "x"), 0)
		require.ErrorContains(t, err, strings.ReplaceAll(want, "ID", id))
		require.NotContains(t, err.Error(), "sk-secret")
	}
}

// Bodies that are not a chat's answer, and how often the service asks.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
		calls  float64
	}{
		"refused key": {401, `{"error":"no"}`, "401 Unauthorized", 1},
		"too long":    {400, `{"error":{"message":"exceed_context_size_error"}}`, "400 Bad Request", 1},
		"busy":        {429, "", "429", 3},
		"broken":      {500, "", "500", 3},
		"html":        {200, "<html>", "not the JSON that was expected", 3},
		"none":        {200, `{"choices":[]}`, "0 choices, want 1", 3},
		"cut":         {200, `{"choices":[{"finish_reason":"length","message":{"content":"{"}}]}`, "more than 512 tokens", 3},
		"refusal":     {200, `{"choices":[{"finish_reason":"content_\u001bfilter","message":{"content":null}}]}`, `finish reason "content_�filter"`, 3},
		"minus":       {200, `{"choices":[],"usage":{"prompt_tokens":-5}}`, "the server counts -5", 3},
		"types":       {200, `{"choices":[{"message":{"content":7}}]}`, "cannot unmarshal number", 3},
	} {
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		s.Service.Retries, s.Service.Backoff, s.Service.MaxBackoff = 2, time.Millisecond, time.Millisecond
		j := open(t, s)
		_, err := judge.Rule(j, template).Score(t.Context(), pair{}, trace("text", "x"), 0)
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, err, `service "judge" failed`)
		m := j.Metrics()
		require.Equal(t, c.calls, m["judge/calls"], name)
		require.Equal(t, c.calls, m["judge/failed_calls"], name)
		require.NotContains(t, err.Error(), "\x1b")

		s.Service.OnFailure = reward.OnFailureUnscorable
		got := score(t, judge.Rule(open(t, s), template), trace("text", "x"), 0)
		require.ErrorContains(t, got.Cause(), c.want, name)
		got.Err = nil
		require.Equal(t, unknown("judge failed"), got)
		s.Service.OnFailure = reward.OnFailureDrop
		_, err = judge.Rule(open(t, s), template).Score(t.Context(), pair{}, trace("text", "x"), 0)
		require.ErrorIs(t, err, reward.ErrDrop)
	}
}

// A server that is busy is left alone for as long as it says.
func TestRetryAfter(t *testing.T) {
	var times []time.Time
	server := &scripted{think: byWords}
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if times = append(times, time.Now()); len(times) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		server.ServeHTTP(w, r)
	}))
	s.Service.Retries, s.Service.Backoff, s.Service.MaxBackoff = 1, time.Millisecond, time.Millisecond
	require.Equal(t, one, score(t, judge.Rule(open(t, s), template), trace("right", "x"), 0))
	require.GreaterOrEqual(t, times[1].Sub(times[0]), time.Second)

	// But not for longer than a call may take.
	times = nil
	s.Service.Timeout = 500 * time.Millisecond
	require.Equal(t, one, score(t, judge.Rule(open(t, s), template), trace("right", "x"), 0))
	require.Less(t, times[1].Sub(times[0]), 400*time.Millisecond)
}

// A spent budget ends the run, whatever the service makes of failures, and is said once.
func TestBudget(t *testing.T) {
	for _, failure := range []reward.OnFailure{reward.OnFailureEnd, reward.OnFailureDrop, reward.OnFailureUnscorable} {
		for _, budget := range []judge.Budget{{Calls: 2}, {Tokens: 111}} { // 110 a call
			var log strings.Builder
			server := &scripted{think: byWords}
			s := serve(t, server)
			s.Budget, s.Log = budget, slog.New(slog.NewTextHandler(&log, nil))
			s.Service.OnFailure, s.Service.Retries, s.Service.Backoff, s.Service.MaxBackoff = failure, 3, 1, 1
			j := open(t, s)
			rule := judge.Rule(j, template)
			require.Equal(t, one, score(t, rule, trace("right", "x"), 0))
			require.Equal(t, zero, score(t, rule, trace("wrong", "x"), 0))
			for i := range 3 {
				_, err := rule.Score(t.Context(), pair{}, trace(fmt.Sprint("right", i), "x"), 0)
				require.ErrorIs(t, err, judge.ErrBudget)
				require.NotErrorIs(t, err, reward.ErrDrop)
			}
			require.Equal(t, one, score(t, rule, trace("right", "x"), 0), "what is known stays known")
			require.Len(t, server.asked, 2)
			m := j.Metrics()
			require.EqualValues(t, 2, m["judge/calls"])
			require.Zero(t, m["judge/failed_calls"], "what the budget stops is no call")
			require.Equal(t, 1, strings.Count(log.String(), "no budget left"))
		}
	}
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"x"}}]}`)
	}))
	s.Budget.Tokens = 5
	_, err := judge.Rule(open(t, s), template).Score(t.Context(), pair{}, trace("right", "x"), 0)
	require.ErrorContains(t, err, "does not count tokens")
}

// A probe is one call, whatever the judge says. Without an opinion it is an error that says
// who was asked what; a judge that has given one is not asked again.
func TestProbe(t *testing.T) {
	for _, unit := range []judge.Unit{judge.UnitStep, judge.UnitCompletion, judge.UnitGroup} {
		server := &scripted{think: byWords}
		s := serve(t, server)
		s.Unit, s.Budget.Calls = unit, 1
		s.Observe = func(judge.Opinion) { t.Error("a probe is no vote") }
		j := open(t, s)
		for range 2 {
			require.NoError(t, judge.Rule(j, template).(interface{ Probe(context.Context) error }).Probe(t.Context()))
		}
		require.Len(t, server.asked, 1)
		require.Len(t, server.asked[0].Items, 1)
		require.EqualValues(t, 1, j.Metrics()["judge/calls"])
	}
	for content, want := range map[string]string{
		`{"choices":[{"message":{"content":"It is red."}}]}`: "the answer does not fit its schema",
		`{"result":"red"}`: "the server gave 0 choices, want 1",
		`red`:              "",
	} {
		calls := 0
		s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			calls++
			_, _ = io.WriteString(w, content)
		}))
		s.Service.Retries, s.Service.Backoff, s.Service.MaxBackoff, s.Service.OnFailure = 1, time.Millisecond, time.Millisecond, reward.OnFailureUnscorable
		err := open(t, s).Probe(t.Context())
		require.ErrorContains(t, err, `the judge "judge" (model "m" at `+s.Endpoint.URL)
		require.ErrorContains(t, err, "want an OpenAI-compatible chat endpoint")
		require.ErrorContains(t, err, want)
		require.LessOrEqual(t, calls, 2)
	}
	down := httptest.NewServer(nil)
	s := settings(down.URL)
	down.Close()
	require.ErrorContains(t, open(t, s).Probe(t.Context()), down.URL+"/v1")

	p, err := remotetest.NewProxy(&scripted{think: byWords}, remotetest.Settings{Script: map[int]remotetest.Fault{1: remotetest.FaultHang}})
	require.NoError(t, err)
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	require.ErrorIs(t, open(t, settings(p.URL())).Probe(ctx), context.Canceled)
}

// Cancel ends a call that hangs; no goroutine stays (TestMain).
func TestCancel(t *testing.T) {
	p, err := remotetest.NewProxy(&scripted{think: byWords}, remotetest.Settings{Script: map[int]remotetest.Fault{1: remotetest.FaultHang}})
	require.NoError(t, err)
	defer p.Close()
	rule := judge.Rule(open(t, settings(p.URL())), template)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = rule.Score(ctx, pair{}, trace("right", "x"), 0)
	require.ErrorIs(t, err, context.Canceled)
}

// more is for .ci/full: 10,000 questions take half a minute.
var questions = flag.Int("questions", 400, "how many questions TestFaults asks")

// Under faults the scores are those of a run without, every question is accounted for,
// and memory does not grow with their number.
func TestFaults(t *testing.T) {
	server := &scripted{think: byWords, forget: true}
	p, err := remotetest.NewProxy(server, remotetest.Settings{Rate: 0.1, Seed: 3, Pause: time.Microsecond, Faults: []remotetest.Fault{
		remotetest.FaultRefuse, remotetest.FaultReset, remotetest.FaultBusy, remotetest.FaultError, remotetest.FaultTruncate,
		remotetest.FaultMalform, remotetest.FaultTrickle, remotetest.FaultDuplicate,
	}})
	require.NoError(t, err)
	defer p.Close()
	s := settings(p.URL())
	s.Service.Retries, s.Service.Backoff, s.Service.MaxBackoff, s.Service.CacheSize = 20, 20*time.Millisecond, time.Second, 10 // a fast machine meets a closed port most of the time
	j := open(t, s)
	rule := judge.Rule(j, template)
	words := []string{"right", "wrong", "neither"}
	want := []reward.Score{one, zero, unknown("the judge cannot tell")}
	var wrong atomic.Int32
	ask := func(from, to int) (heap uint64) {
		var next atomic.Int64
		var wait sync.WaitGroup
		for range 64 {
			wait.Go(func() {
				for i := from + int(next.Add(1)) - 1; i < to; i = from + int(next.Add(1)) - 1 {
					got, err := rule.Score(t.Context(), pair{}, trace(fmt.Sprint(words[i%3], " ", i), "x"), 0)
					if err != nil || got != want[i%3] {
						wrong.Add(1)
					}
				}
			})
		}
		wait.Wait()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	first, last := ask(0, *questions/2), ask(*questions/2, *questions)
	t.Logf("%.1f MB after half of the questions, %.1f MB after all", float64(first)/1e6, float64(last)/1e6)
	require.Less(t, last, first+4<<20)
	require.Zero(t, wrong.Load())
	counts, m, n := p.Counts(), j.Metrics(), float64(*questions)
	require.Equal(t, n, m["judge/questions"])
	require.Zero(t, m["judge/failures"])
	require.Equal(t, n, m["judge/calls"]-m["judge/failed_calls"], "one good call a question")
	require.Len(t, counts.Faults, 8, "every fault was met")
	require.EqualValues(t, counts.Delivered, server.answered)
	t.Logf("%v calls for %v questions, faults %v", m["judge/calls"], n, counts.Faults)
}

func TestSettings(t *testing.T) {
	good := settings("https://judge.example.com")
	good.Endpoint.Key = remote.Key{Env: "JUDGE_KEY"}
	require.NoError(t, good.Validate())
	b, err := judge.Encode(good)
	require.NoError(t, err)
	again, err := judge.Decode(b)
	require.NoError(t, err)
	require.Equal(t, good, again)
	for want, change := range map[string]func(*judge.Settings){
		"Endpoint.URL is empty":       func(s *judge.Settings) { s.Endpoint.URL = "" },
		"Model is empty":              func(s *judge.Settings) { s.Model = "" },
		"Unit is judge.Unit(9)":       func(s *judge.Settings) { s.Unit = 9 },
		"Format is judge.Format(9)":   func(s *judge.Settings) { s.Format = 9 },
		"Temperature is 3":            func(s *judge.Settings) { s.Temperature = 3 },
		"MaxTokens is -1":             func(s *judge.Settings) { s.MaxTokens = -1 },
		"Votes is 100":                func(s *judge.Settings) { s.Votes, s.Temperature = 100, 1 },
		"Votes is 3 at a Temperature": func(s *judge.Settings) { s.Votes = 3 },
		"MinConfidence is 2":          func(s *judge.Settings) { s.MinConfidence = 2 },
		"MaxText is -1":               func(s *judge.Settings) { s.MaxText = -1 },
		"Budget is -1 calls":          func(s *judge.Settings) { s.Budget.Calls = -1 },
		"Service.Timeout is 0s":       func(s *judge.Settings) { s.Service.Timeout = 0 },
		"ServiceSettings.Name is":     func(s *judge.Settings) { s.Service.Name = "" },
		"Service.CacheSize is 0":      func(s *judge.Settings) { s.Unit, s.Service.CacheSize = judge.UnitCompletion, 0 },
	} {
		s := good
		change(&s)
		_, err := judge.New(s)
		require.ErrorContains(t, err, want)
	}
	_, err = judge.New(good)
	require.ErrorContains(t, err, "no key in the environment variable JUDGE_KEY")
	_, err = judge.Decode([]byte(`{"endpoint":{"url":"http://x","key":"sk-secret"}}`))
	require.ErrorContains(t, err, "endpoint.key: want an object")
}

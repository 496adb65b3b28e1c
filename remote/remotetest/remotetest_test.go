package remotetest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/remote/remotetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func recording(t *testing.T, name string) []remotetest.Exchange {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	require.NoError(t, err)
	defer f.Close()
	all, err := remotetest.ReadRecording(name, f)
	require.NoError(t, err)
	return all
}

// client has connections of its own, so that no test leaves any behind.
func client(t *testing.T) *http.Client {
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func proxy(t *testing.T, next http.Handler, s remotetest.Settings) *remotetest.Proxy {
	t.Helper()
	p, err := remotetest.NewProxy(next, s)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// Each recorded request gets its recorded answer, in order, byte for byte.
func TestReplay(t *testing.T) {
	for _, name := range []string{"llamacpp.jsonl", "llamacpp_router.jsonl", "vllm.jsonl", "tinker.jsonl", "tinker_sdk.jsonl"} {
		all := recording(t, name)
		require.NotEmpty(t, all)
		replay := remotetest.NewReplay(all)
		p := proxy(t, replay, remotetest.Settings{})
		c := client(t)
		for _, e := range all {
			r, err := http.NewRequest(e.Method, p.URL()+e.Path, bytes.NewReader(e.Request))
			require.NoError(t, err)
			response, err := c.Do(r)
			if e.Status == 0 {
				require.Error(t, err)
				continue
			}
			require.NoError(t, err)
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, e.Status, response.StatusCode, "%s %s", e.Path, e.Request)
			require.Equal(t, string(e.Response), string(body))
			if e.ResponseType != "" {
				require.Equal(t, e.ResponseType, response.Header.Get("Content-Type"))
			}
		}
		require.Empty(t, replay.Unknown())
		require.NotContains(t, replay.Served(), 0, name)
	}
}

func TestReplayOfUnknownRequests(t *testing.T) {
	replay := remotetest.NewReplay([]remotetest.Exchange{{Method: "POST", Path: "/x", Request: []byte(`{"a":1,"id":"7"}`), Status: 200, Response: []byte("y")}})
	replay.Match = func(a, b *remotetest.Exchange) bool { return remotetest.Same(a, b, "id") }
	p := proxy(t, replay, remotetest.Settings{})
	post := func(path, body string) int {
		response, err := client(t).Post(p.URL()+path, "application/json", strings.NewReader(body))
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		return response.StatusCode
	}
	require.Equal(t, 200, post("/x", `{"id":8, "a":1.0}`))
	require.Equal(t, 404, post("/x", `{"a":2}`))
	require.Equal(t, 404, post("/y", `{"a":1}`))
	require.Equal(t, []string{`POST /x "{\"a\":2}"`, `POST /y "{\"a\":1}"`}, replay.Unknown())
	require.Equal(t, []int{1}, replay.Served())
}

func TestReadRecording(t *testing.T) {
	for text, want := range map[string]string{
		"\n{":                         `r.jsonl:2: unexpected end`,
		`{"method":"GET","path":"x"}`: `r.jsonl:1: want a method, and a path that starts with a slash`,
		`{"path":"/x"}`:               `r.jsonl:1: want a method`,
		`{"method":"GET","path":"/x","response_base64":"?"}`: `r.jsonl:1: illegal base64`,
	} {
		_, err := remotetest.ReadRecording("r.jsonl", strings.NewReader(text))
		require.ErrorContains(t, err, want)
	}
}

// A fault counts if it changed the answer. What is not known by name stays as it is.
func TestFaultsThatFindNothing(t *testing.T) {
	for _, c := range []struct{ answer, count, logp string }{
		{`{"ids":[1,2],"lp":[-1.5,-2.5]}`, `{"ids":[1],"lp":[-1.5,-2.5]}`, ""},
		{`{"x":[{"logp":[-1,-2.5],"n":3}]}`, `{"x":[{"logp":[-1],"n":3}]}`, `{"x":[{"logp":[-2,-3.5],"n":3}]}`},
		{`{"log_probs":[[-1e-3,17,null]]}`, `{"log_probs":[]}`, `{"log_probs":[[-1.001,17,null]]}`},
		{`{"b":"x","a":1}`, "", ""},
		{`no JSON`, "", ""},
		{``, "", ""},
	} {
		p := proxy(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, c.answer)
		}), remotetest.Settings{Script: map[int]remotetest.Fault{1: remotetest.FaultCount, 2: remotetest.FaultLogProbs}})
		want := map[remotetest.Fault]int{}
		for f, body := range map[remotetest.Fault]string{remotetest.FaultCount: c.count, remotetest.FaultLogProbs: c.logp} {
			if body != "" {
				want[f] = 1
			}
		}
		for _, body := range []string{c.count, c.logp} {
			response, err := client(t).Get(p.URL())
			require.NoError(t, err)
			got, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			require.NoError(t, response.Body.Close())
			require.Equal(t, cmp.Or(body, c.answer), string(got))
		}
		require.Equal(t, want, p.Counts().Faults, c.answer)
	}
}

// what a client sees of each fault.
func TestFaults(t *testing.T) {
	const answer = `{"tokens":[1,2,3],"logprobs":[-1.5,-2],"id":7}`
	delivered := 0
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		delivered++
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	})
	for f, want := range map[remotetest.Fault]struct {
		status    int // 0 = no answer
		body      string
		failure   string // of reading the body
		delivered int
	}{
		remotetest.FaultNone:      {200, answer, "", 1},
		remotetest.FaultRefuse:    {0, "", "", 0},
		remotetest.FaultReset:     {200, answer[:len(answer)/2], "reset", 1},
		remotetest.FaultBusy:      {429, "too many requests\n", "", 0},
		remotetest.FaultError:     {500, "internal error\n", "", 0},
		remotetest.FaultTruncate:  {200, answer[:len(answer)/2], "", 1},
		remotetest.FaultMalform:   {200, "<html><body>502 Bad Gateway</body></html>" + answer, "", 1},
		remotetest.FaultTrickle:   {200, answer, "", 1},
		remotetest.FaultHang:      {0, "", "", 0},
		remotetest.FaultCount:     {200, `{"id":7,"logprobs":[-1.5,-2],"tokens":[1,2]}`, "", 1},
		remotetest.FaultLogProbs:  {200, `{"id":7,"logprobs":[-2.5,-3],"tokens":[1,2,3]}`, "", 1},
		remotetest.FaultDuplicate: {200, answer, "", 2},
		remotetest.FaultDoom:      {500, "internal error\n", "", 0},
	} {
		delivered = 0
		p := proxy(t, next, remotetest.Settings{Script: map[int]remotetest.Fault{1: f}, Pause: time.Microsecond, RetryAfter: "3"})
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL(), strings.NewReader("{}"))
		require.NoError(t, err)
		response, err := client(t).Do(r)
		if want.status == 0 {
			require.Error(t, err, f)
		} else {
			require.NoError(t, err, f)
			require.Equal(t, want.status, response.StatusCode, f)
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			require.Equal(t, want.body, string(body), f)
			if want.failure != "" {
				require.ErrorContains(t, err, want.failure)
			} else {
				require.NoError(t, err, f)
			}
			if f == remotetest.FaultBusy {
				require.Equal(t, "3", response.Header.Get("Retry-After"))
			}
		}
		cancel()
		p.Close()
		counts := p.Counts()
		require.Equal(t, want.delivered, counts.Delivered, f)
		require.Equal(t, want.delivered, delivered, f)
		require.Equal(t, 1, counts.Requests, f)
		if f != remotetest.FaultNone {
			require.Equal(t, map[remotetest.Fault]int{f: 1}, counts.Faults)
		}
	}
	require.Len(t, remotetest.Faults(), 12)
}

// A port that is closed for a while, and a server that dies after a failed reload.
func TestServersThatGo(t *testing.T) {
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	p := proxy(t, ok, remotetest.Settings{Script: map[int]remotetest.Fault{2: remotetest.FaultRefuse}, Down: 50 * time.Millisecond})
	c := client(t)
	ask := func(method string) (int, error) {
		r, err := http.NewRequest(method, p.URL(), nil)
		require.NoError(t, err)
		response, err := c.Do(r)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	status, err := ask(http.MethodPost)
	require.NoError(t, err)
	require.Equal(t, 200, status)
	_, err = ask(http.MethodPost)
	require.Error(t, err)
	_, err = ask(http.MethodPost)
	require.ErrorContains(t, err, "refused")
	require.Eventually(t, func() bool { status, err := ask(http.MethodPost); return err == nil && status == 200 }, time.Second, 10*time.Millisecond)

	p = proxy(t, ok, remotetest.Settings{
		Script: map[int]remotetest.Fault{1: remotetest.FaultDoom},
		Only:   func(r *http.Request) bool { return r.Method == http.MethodPost },
	})
	status, err = ask(http.MethodGet)
	require.NoError(t, err)
	require.Equal(t, 200, status)
	status, err = ask(http.MethodPost)
	require.NoError(t, err)
	require.Equal(t, 500, status)
	status, err = ask(http.MethodGet) // healthy
	require.NoError(t, err)
	require.Equal(t, 200, status)
	for range 3 {
		_, err = ask(http.MethodPost)
		require.Error(t, err)
	}
	_, err = ask(http.MethodGet)
	require.ErrorContains(t, err, "refused")
	require.NoError(t, p.Start())
	status, err = ask(http.MethodPost)
	require.NoError(t, err)
	require.Equal(t, 200, status)
	p.Stop()
	_, err = ask(http.MethodGet)
	require.ErrorContains(t, err, "refused")
}

// The port is closed when Stop returns, though the server may not have begun to serve.
func TestStopAtOnce(t *testing.T) {
	for range 200 {
		p, err := remotetest.NewProxy(http.NotFoundHandler(), remotetest.Settings{})
		require.NoError(t, err)
		p.Stop()
		_, err = net.Dial("tcp", strings.TrimPrefix(p.URL(), "http://"))
		require.ErrorContains(t, err, "refused")
		p.Close()
	}
}

// The same requests are hit whatever order they come in, about as many as the rate
// says, and a request that comes again is drawn again.
func TestSeed(t *testing.T) {
	run := func(seed uint64, reverse bool) (hit map[int]bool, counts remotetest.Counts) {
		p := proxy(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), remotetest.Settings{
			Rate: 0.2, Seed: seed, Faults: []remotetest.Fault{remotetest.FaultBusy, remotetest.FaultError},
		})
		defer p.Close()
		c := client(t)
		hit = map[int]bool{}
		var mu sync.Mutex
		var wait sync.WaitGroup
		for k := range 10 {
			wait.Go(func() {
				for i := range 50 {
					n := 50*k + i
					if reverse {
						n = 499 - n
					}
					response, err := c.Post(p.URL(), "text/plain", strings.NewReader(fmt.Sprint(n)))
					if err != nil {
						panic(err)
					}
					_, _ = io.Copy(io.Discard, response.Body)
					_ = response.Body.Close()
					if response.StatusCode != 200 {
						mu.Lock()
						hit[n] = true
						mu.Unlock()
					}
				}
			})
		}
		wait.Wait()
		return hit, p.Counts()
	}
	a, counts := run(1, false)
	b, again := run(1, true)
	require.Equal(t, a, b)
	require.Equal(t, counts, again)
	require.Equal(t, 500, counts.Requests)
	require.Equal(t, len(a), counts.Faults[remotetest.FaultBusy]+counts.Faults[remotetest.FaultError])
	require.InDelta(t, 100, len(a), 36) // 4 standard deviations
	other, _ := run(2, false)
	require.NotEqual(t, a, other)
}

func TestSettings(t *testing.T) {
	for want, s := range map[string]remotetest.Settings{
		"Rate is 2":        {Rate: 2},
		"Faults is empty":  {Rate: .1},
		"want no negative": {Down: -1},
		"Faults has none":  {Faults: []remotetest.Fault{remotetest.FaultNone}},
	} {
		_, err := remotetest.NewProxy(http.NotFoundHandler(), s)
		require.ErrorContains(t, err, want)
	}
	b, err := json.Marshal(remotetest.Faults())
	require.NoError(t, err)
	var again []remotetest.Fault
	require.NoError(t, json.Unmarshal(b, &again))
	require.Equal(t, remotetest.Faults(), again)
}

// A recording is read, or an error names its line.
func FuzzReadRecording(f *testing.F) {
	f.Add([]byte(`{"method":"GET","path":"/x","request":{"a":1},"status":200,"response_base64":"AA=="}` + "\n\n"))
	f.Add([]byte(`{"method":"GET","path":"/x","request":"text","response":null}`))
	f.Add([]byte("{\n\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := remotetest.ReadRecording("r", bytes.NewReader(b))
		if err != nil {
			require.Contains(t, err.Error(), "remotetest: r")
			require.Nil(t, all)
		}
		for i := range all {
			require.True(t, remotetest.Same(&all[i], &all[i], "a"))
		}
	})
}

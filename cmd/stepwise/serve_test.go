package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logBuffer is written by one goroutine and read by another.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// testServe serves a model folder with its task, loads it, swaps its model and stops it.
func testServe(t *testing.T, model, task string) {
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte("s3cret\n"), 0o600))
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	var refused bytes.Buffer
	require.NotZero(t, runServe([]string{"-addr", "localhost:0", "-task", task, "-backend", "abacus", model}, nil, nil, &refused))
	require.Contains(t, refused.String(), `unknown backend "abacus"`)
	refused.Reset()
	require.NotZero(t, runServe([]string{"-addr", "localhost:0", model}, nil, nil, &refused))
	require.Contains(t, refused.String(), "name its task file with -task")
	refused.Reset()
	require.NotZero(t, runServe([]string{"-addr", "localhost:0", "-task", task, "-backend", "", model}, nil, nil, &refused))
	require.Contains(t, refused.String(), "backend")
	var log logBuffer
	ended := make(chan int)
	go func() {
		ended <- runServe([]string{"-addr", "localhost:0", "-task", task, "-token-file", token, "-drain-delay", "2s", "-max-batch", "1", model}, nil, nil, &log)
	}()
	address := regexp.MustCompile(`address=(http://\S+)`)
	require.Eventually(t, func() bool { return address.MatchString(log.String()) }, 30*time.Second, 10*time.Millisecond, "%s", &log)
	url := address.FindStringSubmatch(log.String())[1]

	var out, errs bytes.Buffer
	require.Equal(t, 0, runLoad([]string{"-seconds", "1", "-documents", "2", "-overload", "2", "-connections", "2", "-token-file", token, url}, nil, &out, &errs), "%s", &errs)
	for _, line := range []string{`2 documents, 2 at a time .* 0 +0 +\d+ +\d+\n`, `twice the capacity .* 0 +\d+ +\d+\n`, `half the capacity after .* 0 +\d+ +\d+\n`} {
		require.Regexp(t, line, out.String())
	}
	require.Equal(t, 1, runLoad([]string{"-seconds", "1", url}, nil, &out, &errs))
	require.Contains(t, errs.String(), "401 Unauthorized")

	if self.Signal(syscall.SIGHUP) == nil { // not on Windows
		require.Eventually(t, func() bool { return strings.Contains(log.String(), "model swapped") }, 30*time.Second, 10*time.Millisecond)
		testStop(t, url, func() { require.NoError(t, self.Signal(syscall.SIGTERM)) }, &log)
		require.Equal(t, 0, <-ended)
		require.NotContains(t, log.String(), "s3cret")
	}
	http.DefaultClient.CloseIdleConnections()
}

// testStop stops a server under load: every request that was sent before, or while
// -drain-delay lasts, is answered.
func testStop(t *testing.T, url string, term func(), log fmt.Stringer) {
	body := `{"query": "a", "documents": ["` + strings.Repeat(`b c", "`, 49) + `d"]}`
	ask := func() {
		r, err := http.NewRequest("POST", url+"/v1/score", strings.NewReader(body))
		if !assert.NoError(t, err) {
			return
		}
		r.Header.Set("Authorization", "Bearer s3cret")
		resp, err := http.DefaultClient.Do(r)
		if !assert.NoError(t, err) {
			return
		}
		text, err := io.ReadAll(resp.Body)
		assert.NoError(t, err)
		resp.Body.Close()
		assert.Equal(t, 200, resp.StatusCode, "%s", text)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(ask)
	}
	term()
	require.Eventually(t, func() bool { return strings.Contains(log.String(), "stopping") }, 5*time.Second, time.Millisecond)
	for range 4 {
		all.Go(ask)
	}
	all.Wait()
}

const rerankerFolder = "../../lm/local/testdata/bert-reranker"

// A published reranker is served from its folder alone.
func TestServeReranker(t *testing.T) {
	var log logBuffer
	ended := make(chan int)
	go func() { ended <- runServe([]string{"-addr", "localhost:0", rerankerFolder}, nil, nil, &log) }()
	address := regexp.MustCompile(`address=(http://\S+) version=bert-reranker`)
	require.Eventually(t, func() bool { return address.MatchString(log.String()) }, 10*time.Second, 10*time.Millisecond, "%s", &log)
	resp, err := http.Post(address.FindStringSubmatch(log.String())[1]+"/v2/rerank", "application/json",
		strings.NewReader(`{"model": "any", "query": "red shoes", "documents": ["Running shoes, red", "Das Haus"], "top_n": 1}`))
	require.NoError(t, err)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	resp.Body.Close()
	require.Regexp(t, `"model":"bert-reranker","results":\[\{"index":[01],"relevance_score":0\.\d+,`, string(text))
	self, err := os.FindProcess(os.Getpid())
	require.NoError(t, err)
	if self.Signal(syscall.SIGTERM) == nil { // not on Windows
		require.Equal(t, 0, <-ended)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestServeRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for want, args := range map[string][]string{
		"0 arguments, want MODEL":                      {},
		"is no model folder":                           {t.TempDir()},
		"a published model, which takes no -task":      {"-task", "x.yaml", rerankerFolder},
		"MaxTokens is 3, want 0 or more than":          {"-max-tokens", "3", rerankerFolder},
		"a cross-encoder takes no instruction":         {"-instruction", "find it", rerankerFolder},
		"is empty, want a token":                       {"-token-file", empty, "x"},
		"environment variable STEPWISE_UNSET is empty": {"-token-env", "STEPWISE_UNSET", "x"},
		"are both set":                                 {"-token-file", empty, "-token-env", "X", "x"},
		"Config.MaxBatch is -1, want at least 1":       {"-max-batch", "-1", "x"},
		"invalid value \"soon\" for flag -timeout":     {"-timeout", "soon", "x"},
	} {
		var errs bytes.Buffer
		require.NotZero(t, runServe(append([]string{"-addr", "localhost:0"}, args...), nil, nil, &errs))
		require.Contains(t, errs.String(), want)
	}
}

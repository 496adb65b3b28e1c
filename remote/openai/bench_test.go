//go:build unix

package openai

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/rollout"
)

// stubAddress makes the test binary a stub of vLLM that listens there.
const stubAddress = "STEPWISE_STUB_ADDRESS"

func init() {
	if address := os.Getenv(stubAddress); address != "" {
		serveStub(address)
		os.Exit(1)
	}
}

// stubAnswer is what vLLM sends for 256 tokens, about 20 KB.
func stubAnswer() []byte {
	var tokens, logp, top, offsets, ids []string
	for i := range 256 {
		tokens = append(tokens, `" word"`)
		logp = append(logp, fmt.Sprintf("-%d.%015d", i%7, 3*i+1))
		top = append(top, fmt.Sprintf(`{" word":-%d.%015d}`, i%7, 3*i+1))
		offsets = append(offsets, fmt.Sprint(5*i))
		ids = append(ids, fmt.Sprint(i%7))
	}
	join := func(s []string) string { return "[" + strings.Join(s, ", ") + "]" }
	return fmt.Appendf(nil, `{"id":"cmpl-1","object":"text_completion","model":"tiny","choices":[{"index":0,"text":%q,"logprobs":{"text_offset":%s,"token_logprobs":%s,"tokens":%s,"top_logprobs":%s},"finish_reason":"length","stop_reason":null,"token_ids":%s,"prompt_logprobs":null}],"usage":{"prompt_tokens":5,"total_tokens":261,"completion_tokens":256}}`,
		strings.Repeat(" word", 256), join(offsets), join(logp), join(tokens), join(top), join(ids))
}

// serveStub answers every request for 256 tokens after 500 ms, and short ones at once
// as a peer does.
func serveStub(address string) {
	p := &peer{dialect: DialectVLLM, context: 1024, weights: map[string]int64{model: 0}, loaded: map[string]bool{model: true}, ids: map[string]int{}}
	answer := stubAnswer()
	p.hook = func(w http.ResponseWriter, r *http.Request, body []byte) bool {
		if !bytes.Contains(body, []byte(`"max_tokens":256,`)) {
			return false
		}
		time.Sleep(500 * time.Millisecond)
		w.Header().Set("Content-Length", strconv.Itoa(len(answer))) // as vLLM does
		_, _ = w.Write(answer)
		return true
	}
	fmt.Println(http.ListenAndServe(address, p))
}

// startStub starts the stub in a process of its own and returns its address.
func startStub(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	stub := exec.Command(os.Args[0], "-test.run=^$")
	stub.Env = append(os.Environ(), stubAddress+"="+address)
	stub.Stdout, stub.Stderr = io.Discard, os.Stderr
	require.NoError(t, stub.Start())
	t.Cleanup(func() { _ = stub.Process.Kill(); _ = stub.Wait() })
	for range 500 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			return address
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the stub does not start")
	return ""
}

// BenchmarkClientCPU is the share of a processor that the client takes with 64
// requests at once, at a server that answers 256 tokens after 500 ms. An operation is
// one sample.
func BenchmarkClientCPU(b *testing.B) {
	e, err := New(b.Context(), Config{
		Servers: []Server{{Endpoint: remote.Endpoint{URL: "http://" + startStub(b)}, Dialect: DialectVLLM, Concurrency: 64}},
		Vocab:   words{}, EOS: []int32{endOfText},
	})
	require.NoError(b, err)
	prompt := make([]int32, 400)
	b.ResetTimer()
	before, start := processorTime(b), time.Now()
	reqs := []rollout.Request{{Prompt: prompt, N: b.N, Params: rollout.Params{Temperature: 1, MaxTokens: 256}}}
	require.NoError(b, e.Generate(b.Context(), reqs, func(c rollout.Completion) error { return c.Err }))
	used, wall := processorTime(b)-before, time.Since(start)
	b.ReportMetric(100*used.Seconds()/wall.Seconds(), "cpu-%")
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(256*b.N)/wall.Seconds(), "tokens/s")
}

func processorTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkParse reads an answer of 256 tokens.
func BenchmarkParse(b *testing.B) {
	body := stubAnswer()
	c := &call{model: model, prompt: make([]int32, 5), params: rollout.Params{MaxTokens: 256}, vocab: 8, eos: []int32{endOfText}}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		a, err := vllm{}.parse(body, c)
		if err == nil {
			err = a.check(c)
		}
		require.NoError(b, err)
	}
}

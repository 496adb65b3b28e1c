package judgetest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote/judge/judgetest"
)

// The wire form, byte by byte.
func TestHandler(t *testing.T) {
	h := judgetest.Handler(func(q judgetest.Question, it judgetest.Item) judgetest.Opinion {
		return judgetest.Opinion{Reason: q.Input + " " + it.Text, Verdict: "unknown", Confidence: 7}
	})
	post := func(path, body string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
		b, err := io.ReadAll(w.Result().Body)
		require.NoError(t, err)
		return w.Code, string(b)
	}
	const chat = `{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"{\"input\":\"in\",\"items\":[{\"id\":\"a-1\",\"criteria\":[],\"text\":\"tx\"}]}"}]}`
	status, body := post("/v1/chat/completions", chat)
	require.Equal(t, 200, status)
	require.JSONEq(t, `{"choices":[{"finish_reason":"stop","message":{"role":"assistant",
		"content":"{\"a-1\":{\"reason\":\"in tx\",\"verdict\":\"unknown\",\"confidence\":7}}"}}],
		"usage":{"prompt_tokens":100,"completion_tokens":10}}`, body)
	for body, want := range map[string]string{
		"{":               "the body: unexpected EOF",
		`{"messages":[]}`: "want the messages of system and user",
		`{"messages":[{"role":"system"},{"role":"user","content":"x"}]}`: "the user's message: invalid",
	} {
		status, got := post("/v1/chat/completions", body)
		require.Equal(t, 400, status)
		require.Contains(t, got, want)
	}
	status, got := post("/v1/completions", chat)
	require.Equal(t, 400, status)
	require.Contains(t, got, "the path is /v1/completions")
}

package tinkertest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
)

// caller calls the server as the recordings of SkyRL 0.4.0 were made.
type caller struct {
	t *testing.T
	s *tinkertest.Server
}

func (c caller) send(method, path, contentType string, body []byte) (int, []byte) {
	r, err := http.NewRequest(method, c.s.URL+"/api/v1"+path, bytes.NewReader(body))
	require.NoError(c.t, err)
	r.Header.Set("Content-Type", contentType)
	a, err := http.DefaultClient.Do(r)
	require.NoError(c.t, err)
	defer a.Body.Close()
	answer, err := io.ReadAll(a.Body)
	require.NoError(c.t, err)
	return a.StatusCode, answer
}

// post sends JSON and returns the status and a field of the answer.
func (c caller) post(path, field string, body map[string]any) (int, string) {
	b, err := json.Marshal(body)
	require.NoError(c.t, err)
	status, answer := c.send("POST", path, "application/json", b)
	var fields map[string]any
	_ = json.Unmarshal(answer, &fields)
	return status, fmt.Sprint(fields[field])
}

// result asks for a future.
func (c caller) result(id string) (int, []byte) {
	return c.send("POST", "/retrieve_future", "application/json", fmt.Appendf(nil, `{"request_id":%q}`, id))
}

// model makes a model and returns its id and its session's.
func (c caller) model(rank int) (model, session, request string) {
	_, session = c.post("/create_session", "session_id", map[string]any{"tags": []string{}})
	body := map[string]any{"session_id": session, "base_model": "table", "lora_config": map[string]any{"rank": rank}}
	b, _ := json.Marshal(body)
	status, answer := c.send("POST", "/create_model", "application/json", b)
	require.Equal(c.t, 200, status)
	var a struct {
		ModelID   string `json:"model_id"`
		RequestID string `json:"request_id"`
	}
	require.NoError(c.t, json.Unmarshal(answer, &a))
	return a.ModelID, session, a.RequestID
}

func datum(more ...wire.Tensor) wire.Datum {
	return wire.Datum{Tokens: []int32{1, 2, 3, 4}, Inputs: append(more, wire.Tensor{Name: "target_tokens", Ints: []int64{2, 3, 4, 5}})}
}

func floats(name string, v ...float32) wire.Tensor { return wire.Tensor{Name: name, Floats: v} }

func (c caller) pass(r wire.ForwardBackward) (int, string) {
	status, answer := c.send("POST", "/forward_backward", "application/x-protobuf", r.Marshal())
	var a struct {
		RequestID string `json:"request_id"`
		Detail    any    `json:"detail"`
	}
	require.NoError(c.t, json.Unmarshal(answer, &a))
	if status != 200 {
		return status, fmt.Sprint(a.Detail)
	}
	return status, a.RequestID
}

// norm takes an optimiser step with learning rate 0 on data and returns the gradient
// norm that is reported.
func (c caller) norm(model, loss string, data ...wire.Datum) float64 {
	status, _ := c.pass(wire.ForwardBackward{ModelID: model, LossFn: loss, Data: data})
	require.Equal(c.t, 200, status)
	_, id := c.post("/optim_step", "request_id", map[string]any{"model_id": model, "adam_params": map[string]any{"learning_rate": 0}})
	_, answer := c.result(id)
	var a struct{ Metrics map[string]float64 }
	require.NoError(c.t, json.Unmarshal(answer, &a))
	return a.Metrics["skyrl.ai/grad_norm"]
}

// Each line is one that was measured with SkyRL.
func TestAsMeasured(t *testing.T) {
	s := tinkertest.NewServer(tinkertest.Options{Mean: true, MaxModels: 2})
	t.Cleanup(s.Close)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	c := caller{t, s}
	m, session, _ := c.model(8)

	status, _ := c.post("/forward_backward", "detail", map[string]any{"model_id": m})
	require.Equal(t, 415, status, "JSON")
	status, _ = c.post("/forward", "detail", map[string]any{"model_id": m})
	require.Equal(t, 404, status)
	status, _ = c.post("/session_heartbeat", "type", map[string]any{"session_id": "nope"})
	require.Equal(t, 404, status)

	_, _, id := c.model(64)
	status, answer := c.result(id)
	require.Equal(t, 400, status)
	require.JSONEq(t, `{"detail":"LoRA rank 64 must be between 1 and 8"}`, string(answer))
	c.model(8)
	_, _, id = c.model(8)
	status, answer = c.result(id)
	require.Equal(t, 400, status)
	require.JSONEq(t, `{"detail":"Maximum number of LoRA adapters (3) reached"}`, string(answer))

	status, answer = c.result("999999")
	require.Equal(t, 404, status)
	require.JSONEq(t, `{"detail":"Future not found"}`, string(answer))
	status, _ = c.result("abc")
	require.Equal(t, 500, status)

	ones := floats("weights", 1, 1, 1, 1)
	first := wire.ForwardBackward{ModelID: m, SeqID: 500, LossFn: "cross_entropy", Data: []wire.Datum{datum(ones)}}
	_, id = c.pass(first)
	_, again := c.pass(first)
	require.Equal(t, id, again)
	other := first
	other.Data = []wire.Datum{datum(floats("weights", 2, 2, 2, 2))}
	status, text := c.pass(other)
	require.Equal(t, 409, status)
	require.Equal(t, "Training request sequence number was reused", text)
	status, answer = c.result(id)
	require.Equal(t, 200, status)
	out, err := wire.ParseForwardBackwardOutput(answer, 1)
	require.NoError(t, err)
	logp := out.Field("logprobs")[0]
	require.Len(t, logp, 4)
	// Clear the gradient.
	_, _ = c.post("/optim_step", "request_id", map[string]any{"model_id": m, "adam_params": map[string]any{"learning_rate": 0}})

	status, _ = c.pass(wire.ForwardBackward{ModelID: m, LossFn: "dro", Data: first.Data})
	require.Equal(t, 422, status)
	_, id = c.pass(wire.ForwardBackward{ModelID: m, LossFn: "gspo", Data: first.Data})
	status, _ = c.result(id)
	require.Equal(t, 400, status)
	_, id = c.pass(wire.ForwardBackward{ModelID: m, LossFn: "cross_entropy"})
	status, _ = c.result(id)
	require.Equal(t, 408, status, "a pass without data has no result")

	// Means: the weights and copies of a datum change nothing, the sign explodes, and
	// importance_sampling is linear.
	one := c.norm(m, "cross_entropy", datum(ones))
	require.InEpsilon(t, one, c.norm(m, "cross_entropy", datum(floats("weights", 2, 2, 2, 2))), 1e-6)
	require.InEpsilon(t, one, c.norm(m, "cross_entropy", datum(ones), datum(ones)), 1e-6)
	require.Greater(t, c.norm(m, "cross_entropy", datum(floats("weights", -1, -1, -1, -1))), 1e8)
	old := floats("logprobs", logp...)
	require.InEpsilon(t, one, c.norm(m, "importance_sampling", datum(old, floats("advantages", 1, 1, 1, 1))), 1e-5)
	require.InEpsilon(t, 4*one, c.norm(m, "importance_sampling", datum(old, floats("advantages", 4, 4, 4, 4))), 1e-5)

	save := map[string]any{"model_id": m, "path": "ck1"}
	status, _ = c.post("/save_weights", "request_id", save)
	require.Equal(t, 200, status)
	status, text = c.post("/save_weights", "detail", save)
	require.Equal(t, 409, status)
	require.Equal(t, fmt.Sprintf("Checkpoint 'ck1' already exists for model '%s'", m), text)
	status, text = c.post("/load_weights", "detail", map[string]any{"model_id": m, "path": "tinker://" + m + "/weights/ck1"})
	require.Equal(t, 400, status)
	require.True(t, strings.HasPrefix(text, "LoadWeights is not permitted with seq_id"))
	status, _ = c.send("DELETE", "/training_runs/"+m+"/checkpoints/ck1", "", nil)
	require.Equal(t, 400, status)
	status, _ = c.send("DELETE", "/training_runs/"+m+"/checkpoints/weights/ck1", "", nil)
	require.Equal(t, 204, status)

	_, sampler := c.post("/create_sampling_session", "sampling_session_id", map[string]any{"session_id": session, "base_model": "table"})
	sample := func(seed, n int, temperature float64) *wire.Sample {
		_, id := c.post("/asample", "request_id", map[string]any{
			"sampling_session_id": sampler, "seq_id": 1, "num_samples": n, "prompt_logprobs": true,
			"prompt":          map[string]any{"chunks": []any{map[string]any{"tokens": []int32{1, 2, 3}}}},
			"sampling_params": map[string]any{"max_tokens": 3, "seed": seed, "temperature": temperature, "top_k": -1, "top_p": 1},
		})
		_, answer := c.result(id)
		s, err := wire.ParseSample(answer)
		require.NoError(t, err)
		return s
	}
	s7 := sample(7, 2, 1)
	require.Equal(t, s7, sample(7, 2, 1), "the same seed")
	require.Equal(t, s7.Sequences[1], sample(8, 1, 1).Sequences[0], "sample k has seed plus k")
	require.Len(t, s7.PromptLogProbs, 2, "of three tokens")
	require.Equal(t, wire.StopReasonLength, s7.Sequences[0].Stop)
	cold := sample(7, 1, 0.5).Sequences[0]
	row := s.Base().Logits(3)
	z := 0.0
	for _, l := range row {
		z += math.Exp(l)
	}
	require.InDelta(t, row[cold.Tokens[0]]-math.Log(z), cold.LogProbs[0], 1e-5, "at temperature 1 whatever was asked for")
	status, text = c.post("/asample", "detail", map[string]any{"sampling_session_id": sampler, "sampling_params": map[string]any{}})
	require.Equal(t, 400, status)
	require.Equal(t, "max_tokens is currently required", text)

	_, id = c.post("/unload_model", "request_id", map[string]any{"model_id": m})
	status, _ = c.result(id)
	require.Equal(t, 200, status)
	_, id = c.pass(first)
	require.Equal(t, 200, status)
	_, id = c.pass(wire.ForwardBackward{ModelID: m, LossFn: "cross_entropy", Data: first.Data})
	status, answer = c.result(id)
	require.Equal(t, 400, status)
	require.JSONEq(t, `{"detail":"Model `+m+` not loaded"}`, string(answer))
}

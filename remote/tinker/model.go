package tinker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
)

// model is a model with adapters on the server, in a session of its own.
type model struct {
	c       *Client
	id      string
	session string
	seq     int32 // number of the last training request
}

// newModel makes a model. The server answers at once, and only the future says
// whether it worked.
//
// A request whose answer was lost is not repeated in its session, because servers
// make a second model for it: the session is given up, so that the server frees the
// first one when it expires, and a new one takes its place.
func (c *Client) newModel(ctx context.Context, base string, l LoRA) (*model, error) {
	start := time.Now()
	for try := 1; ; try++ {
		m, lost, err := c.tryModel(ctx, base, l)
		wait := c.backoff(try, err)
		if err == nil || !lost || c.enough(try, start, wait) || ctx.Err() != nil {
			return m, err
		}
		c.config.Log.Warn("tinker: create_model without an answer, once more in a new session", "error", err.Error())
		if err := transport.Sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// tryModel is one attempt. lost is set if the model may exist all the same.
func (c *Client) tryModel(ctx context.Context, base string, l LoRA) (m *model, lost bool, err error) {
	session, err := c.newSession(ctx)
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			c.endSession(session)
		}
	}()
	r := c.request("/create_model", map[string]any{
		"session_id": session, "model_seq_id": 0, "base_model": base, "type": "create_model",
		"lora_config": map[string]any{
			"rank": l.Rank, "seed": l.Seed, "train_attn": true, "train_mlp": true, "train_unembed": l.Unembed,
		},
	})
	r.Once = true
	var created struct {
		ModelID   string `json:"model_id"`
		RequestID string `json:"request_id"`
	}
	if err := c.http.Do(ctx, r, transport.JSON(&created)); err != nil {
		return nil, transport.Retryable(err), err
	}
	if created.ModelID == "" || created.RequestID == "" {
		return nil, true, errors.New("tinker: the answer to create_model has no model_id or no request_id")
	}
	m = &model{c: c, id: created.ModelID, session: session}
	var got struct {
		BaseModel string `json:"base_model"`
		LoRA      *struct {
			Rank    int   `json:"rank"`
			Unembed *bool `json:"train_unembed"`
		} `json:"lora_config"`
	}
	if err := m.await(ctx, created.RequestID, "create_model", into(&got)); err != nil {
		return nil, false, err
	}
	switch {
	case got.BaseModel != "" && got.BaseModel != base:
		err = fmt.Errorf("tinker: create_model of %q gave a model of %q, which is what the server serves", base, transport.Clean(got.BaseModel, 128))
	case got.LoRA != nil && got.LoRA.Rank != l.Rank:
		err = fmt.Errorf("tinker: create_model with LoRA rank %d gave rank %d", l.Rank, got.LoRA.Rank)
	case got.LoRA != nil && got.LoRA.Unembed != nil && l.Unembed && !*got.LoRA.Unembed:
		err = errors.New("tinker: LoRA.Unembed is set, but the server does not train the unembedding")
	}
	if err != nil {
		m.discard(ctx)
		return nil, false, err
	}
	return m, false, nil
}

// await waits for a result that is JSON.
func (m *model) await(ctx context.Context, id, what string, read func([]byte) error) error {
	return m.c.await(ctx, m.session, id, what, false, read)
}

// unload frees the model on the server and ends its session.
func (m *model) unload(ctx context.Context) error {
	m.c.endSession(m.session)
	id, err := m.c.submit(ctx, m.c.request("/unload_model", map[string]any{"model_id": m.id, "type": "unload_model"}))
	if statusOf(err) == http.StatusNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	return m.c.await(ctx, "", id, "unload_model", false, func([]byte) error { return nil })
}

// discard is unload after an error: it says what goes wrong only to the log, and does
// not take long whatever became of ctx. If it fails, the server frees the model when
// its session expires.
func (m *model) discard(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second/2)
	defer cancel()
	if err := m.unload(ctx); err != nil {
		m.c.config.Log.Warn("tinker: a model was not unloaded; it is freed when its session expires", "model", transport.Clean(m.id, 64), "error", err.Error())
	}
}

// call is a training request. Its number makes it safe to repeat: the server answers
// a second one with the future of the first.
type call struct {
	what string
	r    transport.Request
	data []wire.Datum
}

// pass returns the request for a forward pass, or a forward and backward one. A
// server never answers one without data.
func (m *model) pass(data []wire.Datum, loss string, forwardOnly bool) call {
	if len(data) == 0 {
		panic("tinker: a forward pass without data")
	}
	m.seq++
	w := wire.ForwardBackward{ModelID: m.id, SeqID: m.seq, Data: data, LossFn: loss, ForwardOnly: forwardOnly}
	what := "forward_backward"
	if forwardOnly {
		what = "forward"
	}
	return call{what, transport.Request{
		Method: http.MethodPost, Path: "/api/v1/forward_backward", Body: w.Marshal(), ContentType: protobuf, Accept: "application/json",
		Timeout: m.c.config.Timeout,
	}, data}
}

// optim returns the request for an optimiser step.
func (m *model) optim(lr float64, a Adam) call {
	m.seq++
	return call{"optim_step", m.c.request("/optim_step", map[string]any{
		"model_id": m.id, "seq_id": m.seq, "type": "optim_step",
		"adam_params": map[string]any{
			"learning_rate": lr, "beta1": a.Beta1, "beta2": a.Beta2, "eps": a.Eps, "weight_decay": a.WeightDecay,
		},
	}), nil}
}

// outputs waits for the result of a pass and returns the log-probs of its data.
func (m *model) outputs(ctx context.Context, id string, c call) ([][]float32, error) {
	var logp [][]float32
	err := m.c.await(ctx, m.session, id, c.what, true, func(b []byte) error {
		out, err := wire.ParseForwardBackwardOutput(b, len(c.data))
		if err != nil {
			return err
		}
		logp = out.Field("logprobs")
		return checkLogProbs(c.data, logp)
	})
	return logp, err
}

// gradNorm waits for an optimiser step and returns the gradient norm that the server
// reports; ok is false if it reports none.
func (m *model) gradNorm(ctx context.Context, id string) (norm float64, ok bool, err error) {
	var result struct {
		Metrics map[string]*float64 `json:"metrics"`
	}
	if err := m.await(ctx, id, "optim_step", into(&result)); err != nil {
		return 0, false, err
	}
	for name, v := range result.Metrics {
		if strings.HasSuffix(name, "grad_norm") && v != nil { // "skyrl.ai/grad_norm"
			return *v, true, nil
		}
	}
	return 0, false, nil
}

// Bounds of one request, like the official SDK's.
const (
	maxData   = 1024
	maxTokens = 1 << 17
)

// chunks splits data into those of one request each.
func chunks(data []wire.Datum) [][]wire.Datum {
	var out [][]wire.Datum
	from, tokens := 0, 0
	for i := range data {
		n := len(data[i].Tokens)
		if i > from && (i-from == maxData || tokens+n > maxTokens) {
			out = append(out, data[from:i])
			from, tokens = i, 0
		}
		tokens += n
	}
	if from < len(data) {
		out = append(out, data[from:])
	}
	return out
}

// forward returns the log-prob of every target token.
func (m *model) forward(ctx context.Context, data []wire.Datum) ([][]float32, error) {
	var calls []call
	var ids []string
	for _, part := range chunks(data) {
		c := m.pass(part, "cross_entropy", true)
		id, err := m.c.submit(ctx, c.r)
		if err != nil {
			return nil, err
		}
		calls, ids = append(calls, c), append(ids, id)
	}
	var logp [][]float32
	for i, c := range calls {
		part, err := m.outputs(ctx, ids[i], c)
		if err != nil {
			return nil, err
		}
		logp = append(logp, part...)
	}
	return logp, nil
}

// checkLogProbs returns an error unless there is one log-prob per target token, and
// each can be one.
func checkLogProbs(data []wire.Datum, logp [][]float32) error {
	if len(logp) != len(data) {
		return fmt.Errorf("tinker: the server gave the log-probs of %d sequences, want %d", len(logp), len(data))
	}
	for i := range data {
		if n := len(data[i].Tokens); len(logp[i]) != n {
			return fmt.Errorf("tinker: the server gave %d log-probs of sequence %d, want %d", len(logp[i]), i, n)
		}
		for t, l := range logp[i] {
			if !(l <= 1e-4) || l < -1e30 {
				// SkyRL gives NaN for a token that is outside of its vocabulary.
				return fmt.Errorf("tinker: the server gave the log-prob %v of token %d (id %d) of sequence %d, want a finite number of at most 0; does the model have the token?", l, t+1, data[i].Inputs[0].Ints[t], i)
			}
		}
	}
	return nil
}

// unique returns a name that no other save has: a server takes each only once.
func unique(name string) string { return name + "-" + strings.ToLower(rand.Text()[:12]) }

// saved says what a save is for: its path in the protocol, and in references.
type saved struct{ path, kind string }

var (
	forTraining = saved{"/save_weights", "weights"}
	forSampling = saved{"/save_weights_for_sampler", "sampler_weights"}
)

// save stores the model under a name, which must be unique, and returns the
// server's reference to it.
func (m *model) save(ctx context.Context, s saved, name string) (string, error) {
	what := strings.TrimPrefix(s.path, "/")
	m.seq++
	id, err := m.c.submit(ctx, m.c.request(s.path, map[string]any{"model_id": m.id, "path": name, "seq_id": m.seq, "type": what}))
	if statusOf(err) == http.StatusConflict {
		// The name is nobody else's: an earlier attempt arrived, and its answer
		// did not.
		return m.findSaved(ctx, s, name)
	}
	if err != nil {
		return "", err
	}
	var result struct {
		Path string `json:"path"`
	}
	if err := m.await(ctx, id, what, into(&result)); err != nil {
		return "", err
	}
	switch {
	case result.Path == "":
		return m.ref(s, name), nil
	case !strings.HasPrefix(result.Path, "tinker://"):
		return "", fmt.Errorf("tinker: %s gave the path %q, want tinker://…", what, transport.Clean(result.Path, 128))
	}
	return result.Path, nil
}

func (m *model) ref(s saved, name string) string {
	return "tinker://" + m.id + "/" + s.kind + "/" + name
}

// findSaved waits until the server lists a save, for as long as requests may be
// repeated.
func (m *model) findSaved(ctx context.Context, s saved, name string) (string, error) {
	start := time.Now()
	for {
		var list struct {
			Checkpoints []struct {
				Path string `json:"tinker_path"`
			} `json:"checkpoints"`
		}
		r := transport.Request{Method: http.MethodGet, Path: "/api/v1/training_runs/" + url.PathEscape(m.id) + "/checkpoints", Accept: "application/json", Timeout: m.c.config.Timeout}
		if err := m.c.http.Do(ctx, r, transport.JSON(&list)); err != nil {
			return "", err
		}
		for _, c := range list.Checkpoints {
			if c.Path == m.ref(s, name) {
				return c.Path, nil
			}
		}
		if time.Since(start) > m.c.config.Retry.Elapsed {
			return "", fmt.Errorf("tinker: the server has taken the name %q but does not list what was saved", name)
		}
		if err := transport.Sleep(ctx, m.c.config.Retry.Backoff); err != nil {
			return "", err
		}
	}
}

// loadModel makes a model with the weights and the optimiser state of ref. It is the
// only way: servers load into a model that has had no other request.
func (c *Client) loadModel(ctx context.Context, base string, l LoRA, ref string) (*model, error) {
	start := time.Now()
	for try := 1; ; try++ {
		m, err := c.newModel(ctx, base, l)
		if err != nil {
			return nil, err
		}
		m.seq++
		id, err := c.submit(ctx, c.request("/load_weights", map[string]any{
			"model_id": m.id, "path": ref, "optimizer": true, "seq_id": m.seq, "type": "load_weights",
		}))
		if err == nil {
			if err = m.await(ctx, id, "load_weights", func([]byte) error { return nil }); err == nil {
				return m, nil
			}
		}
		m.discard(ctx)
		// An earlier attempt whose answer was lost makes the model one that cannot
		// be loaded into.
		if s, ok := errors.AsType[*transport.StatusError](err); !ok || c.enough(try, start, 0) || s.Status != http.StatusBadRequest || !strings.Contains(s.Body, "not permitted") {
			return nil, err
		}
	}
}

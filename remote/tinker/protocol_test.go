package tinker_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// between is a server before another: it sees requests, can hold them, and can change
// answers.
type between struct {
	next http.Handler
	// hold, while set, keeps requests until the client gives up.
	hold atomic.Bool
	// change, if not nil, gets the answer to a request.
	change func(r *http.Request, body []byte, answer *httptest.ResponseRecorder)

	mu     sync.Mutex
	bodies map[string][][]byte // of requests by path
}

func newBetween(t *testing.T, next http.Handler) (*between, string) {
	b := &between{next: next, bodies: map[string][][]byte{}}
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	return b, s.URL
}

func (b *between) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if b.hold.Load() {
		<-r.Context().Done()
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/api/v1")
	b.mu.Lock()
	b.bodies[path] = append(b.bodies[path], body)
	b.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	b.next.ServeHTTP(answer, r)
	if b.change != nil {
		b.change(r, body, answer)
	}
	for k, v := range answer.Header() {
		w.Header()[k] = v
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// sent returns the bodies of the requests for a path.
func (b *between) sent(path string) [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([][]byte(nil), b.bodies[path]...)
}

// lose resets the connections of the n-th requests for a path after the server has
// done its work.
func lose(t *testing.T, s *tinkertest.Server, path string, n ...int) string {
	script := map[int]remotetest.Fault{}
	for _, k := range n {
		script[k] = remotetest.FaultReset
	}
	p, err := remotetest.NewProxy(s, remotetest.Settings{
		Script: script, Only: func(r *http.Request) bool { return r.URL.Path == "/api/v1"+path },
	})
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p.URL()
}

// batch has three samples, and one without tokens.
func batch() *rl.Batch {
	return &rl.Batch{
		Prompts: [][]int32{{1, 2}, {3}},
		Samples: []rl.Sample{
			{Tokens: []int32{4, 5, 6}, Sequence: objective.Sequence{Weight: []float64{0.5, 0, 1}}},
			{},
			{Prompt: 1, Tokens: []int32{7, 8}, Sequence: objective.Sequence{Weight: []float64{1, 0.25}}},
			{Prompt: 1, Tokens: []int32{9}, Sequence: objective.Sequence{Weight: []float64{0}}},
		},
	}
}

func train(t *testing.T, p *tinker.Policy) rl.OptimInfo {
	_, _, err := p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
	require.NoError(t, err)
	info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 0.1})
	require.NoError(t, err)
	return info
}

// Passes are protobuf, a forward pass goes to forward_backward too, and the loss is
// importance_sampling against the log-probs of that pass. Training requests are
// numbered from 1. Samples without tokens or without gradient are not sent.
func TestWhatIsSent(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	b, url := newBetween(t, s)
	p := newPolicy(t, newClient(t, url), func(c *tinker.PolicyConfig) { c.Scaling = tinker.ScalingMean })
	train(t, p)
	require.Empty(t, b.sent("/forward"))
	passes := b.sent("/forward_backward")
	require.Len(t, passes, 2)
	forward, err := wire.ParseForwardBackward(passes[0])
	require.NoError(t, err)
	require.True(t, forward.ForwardOnly)
	require.EqualValues(t, 1, forward.SeqID)
	require.Len(t, forward.Data, 3, "the sample without tokens has nothing to give")
	require.Equal(t, []int32{1, 2, 4, 5}, forward.Data[0].Tokens)

	backward, err := wire.ParseForwardBackward(passes[1])
	require.NoError(t, err)
	require.EqualValues(t, 2, backward.SeqID)
	require.Equal(t, "importance_sampling", backward.LossFn)
	require.Len(t, backward.Data, 2, "nor has one without gradient")
	d := backward.Data[0]
	require.Equal(t, []int32{1, 2, 4, 5}, d.Tokens)
	inputs := map[string]wire.Tensor{}
	for _, in := range d.Inputs {
		inputs[in.Name] = in
	}
	require.Len(t, inputs, 3, "no weights")
	require.Equal(t, []int64{2, 4, 5, 6}, inputs["target_tokens"].Ints)
	// The loss −Σ w·logp has the gradient −w; 4 targets, 2 sequences.
	require.Equal(t, []float32{0, 0.5 * 8, 0, 1 * 8}, inputs["advantages"].Floats)
	want := make([]float64, 4)
	one := &rl.Batch{Prompts: [][]int32{{1}}, Samples: []rl.Sample{{Tokens: []int32{2, 4, 5, 6}}}}
	require.NoError(t, s.Base().LogProbs(t.Context(), one, [][]float64{want}))
	require.InDeltaSlice(t, want, inputs["logprobs"].Floats, 1e-6)

	var step struct {
		SeqID      int                `json:"seq_id"`
		AdamParams map[string]float64 `json:"adam_params"`
	}
	require.NoError(t, json.Unmarshal(b.sent("/optim_step")[0], &step))
	require.Equal(t, 3, step.SeqID)
	require.Equal(t, map[string]float64{"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.95, "eps": 1e-12, "weight_decay": 0}, step.AdamParams)

	// A batch of nothing: a pass without data is never answered.
	_, _, err = p.ForwardBackward(t.Context(), &rl.Batch{Prompts: [][]int32{{1}}, Samples: []rl.Sample{{}}}, objective.CrossEntropy{})
	require.NoError(t, err)
	info, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 0.1})
	require.NoError(t, err)
	require.Zero(t, info.GradNorm)
	require.Len(t, b.sent("/forward_backward"), 2)
}

// The passes and the step are under way before the first result is asked for.
func TestBackToBack(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	var order []string
	b, url := newBetween(t, s)
	b.change = func(r *http.Request, _ []byte, _ *httptest.ResponseRecorder) {
		order = append(order, strings.TrimPrefix(r.URL.Path, "/api/v1/"))
	}
	p := newPolicy(t, newClient(t, url), func(c *tinker.PolicyConfig) { c.Scaling = tinker.ScalingSum })
	_, _, err := p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
	require.NoError(t, err)
	order = nil
	_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 0.1})
	require.NoError(t, err)
	require.Equal(t, []string{"forward_backward", "optim_step", "retrieve_future", "retrieve_future"}, order)
}

func TestScalingIsDetected(t *testing.T) {
	for _, mean := range []bool{false, true} {
		s := newServer(t, tinkertest.Options{Mean: mean})
		p := newPolicy(t, newClient(t, s.URL))
		require.Equal(t, map[bool]tinker.Scaling{false: tinker.ScalingSum, true: tinker.ScalingMean}[mean], p.Scaling())
		require.Equal(t, 1, s.Models(), "the model it was detected on is gone")
	}

	s := newServer(t, tinkertest.Options{NoGradNorm: true})
	c := newClient(t, s.URL)
	config := tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}}
	_, err := tinker.NewPolicy(t.Context(), c, config)
	require.EqualError(t, err, "tinker: the server reports no gradient norm, from which its scaling could be detected; set PolicyConfig.Scaling")
	require.Zero(t, s.Models())
	config.Scaling = tinker.ScalingSum
	p, err := tinker.NewPolicy(t.Context(), c, config)
	require.NoError(t, err)
	require.Equal(t, rl.OptimInfo{Version: 1}, train(t, p))

	// A server that divides by the sequences alone.
	b, url := newBetween(t, newServer(t, tinkertest.Options{}))
	b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
		var result struct{ Metrics map[string]float64 }
		if json.Unmarshal(answer.Body.Bytes(), &result) == nil && result.Metrics != nil && len(b.sent("/optim_step")) == 3 {
			result.Metrics["skyrl.ai/grad_norm"] /= 2
			answer.Body.Reset()
			_ = json.NewEncoder(answer.Body).Encode(map[string]any{"metrics": result.Metrics})
		}
	}
	config.Scaling = tinker.ScalingDetect
	_, err = tinker.NewPolicy(t.Context(), newClient(t, url), config)
	require.ErrorContains(t, err, "the server's scaling is none that is known: gradient norms of one loss are")
}

// A bound on the gradient norm is refused, not sent to be ignored.
func TestMaxNorm(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	p := newPolicy(t, newClient(t, s.URL))
	before := s.Count("/optim_step")
	_, err := p.OptimStep(t.Context(), rl.OptimOptions{LR: 0.1, MaxNorm: 1})
	require.ErrorIs(t, err, rl.ErrUnsupported)
	require.EqualError(t, err, "tinker: MaxNorm 1: the policy does not support clipping of the gradient by its norm")
	require.Equal(t, before, s.Count("/optim_step"))
}

// What create_model says 200 to can fail all the same, and can be another model.
func TestCreateModel(t *testing.T) {
	s := newServer(t, tinkertest.Options{MaxModels: 1})
	c := newClient(t, s.URL)
	for want, change := range map[string]func(*tinker.PolicyConfig){
		`create_model: the server says "LoRA rank 64 must be between 1 and 8"`:                  func(p *tinker.PolicyConfig) { p.LoRA.Rank = 64 },
		`create_model of "other/base" gave a model of "table", which is what the server serves`: func(p *tinker.PolicyConfig) { p.Model = "other/base" },
		"LoRA.Unembed is set, but the server does not train the unembedding":                    func(p *tinker.PolicyConfig) { p.LoRA.Unembed = true },
	} {
		config := tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingSum}
		change(&config)
		_, err := tinker.NewPolicy(t.Context(), c, config)
		require.ErrorContains(t, err, want)
		require.Zero(t, s.Models(), "nothing is left behind")
	}
	newPolicy(t, c, func(c *tinker.PolicyConfig) { c.Scaling = tinker.ScalingSum })
	_, err := tinker.NewPolicy(t.Context(), c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingSum})
	require.EqualError(t, err, `tinker: create_model: the server says "Maximum number of LoRA adapters (2) reached"`)
}

// A model whose answer was lost is left to its session, which ends without heartbeat;
// the one that took its place lives on.
func TestCreateModelWithoutAnswer(t *testing.T) {
	s := newServer(t, tinkertest.Options{SessionLife: 200 * time.Millisecond})
	c, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: lose(t, s, "/create_model", 1)}, Retry: retry, Heartbeat: 20 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	p := newPolicy(t, c, func(c *tinker.PolicyConfig) { c.Scaling = tinker.ScalingSum })
	require.Equal(t, 2, s.Count("/create_model"))
	require.Equal(t, 2, s.Models())
	require.Eventually(t, func() bool {
		train(t, p)
		return s.Models() == 1
	}, 5*time.Second, 20*time.Millisecond)
	time.Sleep(250 * time.Millisecond)
	train(t, p)
}

// A session that was dropped is an error that says so, and not a wait for ever.
func TestSessionExpires(t *testing.T) {
	s := newServer(t, tinkertest.Options{SessionLife: 50 * time.Millisecond})
	c, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: s.URL}, Retry: retry, Heartbeat: 150 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	p, err := tinker.NewPolicy(t.Context(), c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingSum})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		err = p.LogProbs(t.Context(), batch(), [][]float64{make([]float64, 3), nil, make([]float64, 2), make([]float64, 1)})
		return err != nil && strings.Contains(err.Error(), "the server has dropped the session")
	}, 5*time.Second, 50*time.Millisecond)
}

// A name is taken once, so a save whose answer was lost is found by its name.
func TestSaveWithoutAnswer(t *testing.T) {
	for _, path := range []string{"/save_weights", "/save_weights_for_sampler"} {
		s := newServer(t, tinkertest.Options{})
		p := newPolicy(t, newClient(t, lose(t, s, path, 1)))
		train(t, p)
		if path == "/save_weights" {
			ref, err := p.Save(t.Context(), "a")
			require.NoError(t, err)
			require.NoError(t, p.Load(t.Context(), ref))
		} else {
			w, err := p.Publish(t.Context())
			require.NoError(t, err)
			require.NoError(t, newEngine(t, newClient(t, s.URL)).Refresh(t.Context(), w))
		}
		require.Equal(t, 2, s.Count(path), "409 the second time")
		require.Len(t, s.Saved(), 1)
	}
	s := newServer(t, tinkertest.Options{})
	p := newPolicy(t, newClient(t, s.URL))
	for range 2 {
		_, err := p.Save(t.Context(), "same")
		require.NoError(t, err)
	}
	require.Len(t, s.Saved(), 2)
	_, err := p.Save(t.Context(), "no/path")
	require.ErrorContains(t, err, `the checkpoint name "no/path" is none for the server`)
}

// Loading makes a new model each time, and one more if the answer was lost.
func TestLoad(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	p := newPolicy(t, newClient(t, lose(t, s, "/load_weights", 2)), func(c *tinker.PolicyConfig) { c.Scaling = tinker.ScalingSum })
	train(t, p)
	ref, err := p.Save(t.Context(), "one")
	require.NoError(t, err)
	at := s.Logits()
	train(t, p)
	for models := 2; models <= 4; models += 2 { // the second load takes two
		require.NoError(t, p.Load(t.Context(), ref))
		require.Equal(t, models, s.Count("/create_model"))
		require.Equal(t, 1, s.Models())
		require.Equal(t, at, s.Logits())
		require.EqualValues(t, 2, train(t, p).Version, "the version is the checkpoint's")
	}
	for _, ref := range []string{"", "tinker://model/weights/one", "tinker://model/weights/one#x", "/tmp/one#1"} {
		require.ErrorContains(t, p.Load(t.Context(), ref), "is no reference that Save returned")
	}
	require.ErrorContains(t, p.Load(t.Context(), "tinker://model/weights/one#1"), "Checkpoint not found")
	require.Equal(t, 1, s.Models())
	require.EqualValues(t, 3, train(t, p).Version, "the policy goes on as before")
}

// A training request that arrives twice counts once.
func TestDuplicates(t *testing.T) {
	want := newServer(t, tinkertest.Options{Mean: true})
	train(t, newPolicy(t, newClient(t, want.URL)))
	for _, path := range []string{"/forward_backward", "/optim_step"} {
		s := newServer(t, tinkertest.Options{Mean: true})
		p := newPolicy(t, newClient(t, lose(t, s, path, 1, 2, 3, 4, 5, 6, 7)))
		train(t, p)
		require.Greater(t, s.Count(path), 4)
		require.Equal(t, want.Logits(), s.Logits())
	}
}

// A request is sampled anew when it is repeated, and the same seed gives the same.
func TestSampleWithoutAnswer(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	r := []rollout.Request{{ID: "a", Prompt: []int32{1}, N: 3, Params: rollout.Params{Temperature: 1, MaxTokens: 8, Stop: []string{"ab"}}, Stream: [3]uint64{1, 2, 3}}}
	sample := func(url string) (all []rollout.Completion) {
		require.NoError(t, newEngine(t, newClient(t, url)).Generate(t.Context(), r, func(c rollout.Completion) error {
			all = append(all, c)
			return nil
		}))
		return all
	}
	want := sample(s.URL)
	require.Equal(t, want, sample(lose(t, s, "/asample", 1)))
	require.Equal(t, 3, s.Count("/asample"))
}

// Samples that cannot be are errors of these samples, which say why.
func TestWrongSamples(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	b, url := newBetween(t, s)
	e := newEngine(t, newClient(t, url))
	r := []rollout.Request{{ID: "a", Prompt: []int32{1}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 3}}}
	for want, spoil := range map[string]func(q *wire.Sequence){
		"token 0 has id 99, want an id below 12":                    func(q *wire.Sequence) { q.Tokens[0] = 99 },
		"token 1 has log-prob 0.5, want a finite number of at most": func(q *wire.Sequence) { q.Tokens[0], q.LogProbs[1] = 0, 0.5 },
		"the server ended it after 2 of 3 tokens, at none of EngineConfig.EOS": func(q *wire.Sequence) {
			q.Tokens, q.LogProbs = []int32{1, 2}, q.LogProbs[:2]
		},
		"the server gave 4 tokens, want at most 3": func(q *wire.Sequence) {
			q.Tokens, q.LogProbs = []int32{1, 2, 3, 4}, []float32{-1, -1, -1, -1}
		},
	} {
		b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
			if out, err := wire.ParseSample(answer.Body.Bytes()); err == nil && len(out.Sequences) == 2 {
				out.Sequences[1].Tokens = append([]int32(nil), 1, 2, 3)
				out.Sequences[1].LogProbs = []float32{-1, -1, -1}
				spoil(&out.Sequences[1])
				answer.Body = bytes.NewBuffer(out.Marshal())
			}
		}
		var got []rollout.Completion
		require.NoError(t, e.Generate(t.Context(), r, func(c rollout.Completion) error {
			got = append(got, c)
			return nil
		}))
		require.Len(t, got, 2)
		require.NoError(t, got[0].Err)
		require.ErrorContains(t, got[1].Err, `tinker: sample 1 of request "a": `+want)
		require.Equal(t, rollout.Completion{Index: 1, Err: got[1].Err}, got[1])
	}
}

// The engine refuses what it cannot load.
func TestRefreshRefuses(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	e := newEngine(t, newClient(t, s.URL))
	err := e.Refresh(t.Context(), rollout.Weights{Form: rollout.FormFolder, Ref: "/shared/step-7"})
	require.EqualError(t, err, `tinker: an engine of the server loads weights that its policy has published there, tinker://…, not "/shared/step-7" of form "folder"`)
	require.Error(t, e.Refresh(t.Context(), rollout.Weights{Local: 1}))
}

// A server that fails in the middle of a step leaves weights that nobody asked for.
func TestBrokenStep(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	b, url := newBetween(t, s)
	p := newPolicy(t, newClient(t, url))
	train(t, p)
	ref, err := p.Save(t.Context(), "good")
	require.NoError(t, err)
	want := s.Logits()

	_, _, err = p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
	require.NoError(t, err)
	b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
		if strings.HasSuffix(r.URL.Path, "/retrieve_future") {
			answer.Code, answer.Body = http.StatusBadRequest, bytes.NewBufferString(`{"detail":"out of memory"}`)
		}
	}
	_, err = p.OptimStep(t.Context(), rl.OptimOptions{LR: 0.1})
	require.EqualError(t, err, `tinker: the weights after optimiser step 2 are not usable; load a checkpoint: tinker: forward_backward: the server says "out of memory"`)
	b.change = nil
	_, err2 := p.Save(t.Context(), "bad")
	require.Equal(t, err, err2)
	_, err2 = p.Publish(t.Context())
	require.Equal(t, err, err2)
	_, _, err2 = p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
	require.Equal(t, err, err2)
	require.NoError(t, p.Load(t.Context(), ref))
	require.Equal(t, want, s.Logits())
	require.EqualValues(t, 2, train(t, p).Version)
}

// Every verb ends soon after its context. A step that was under way is finished by the
// next call, and counts once.
func TestCancel(t *testing.T) {
	s := newServer(t, tinkertest.Options{Mean: true})
	b, url := newBetween(t, s)
	c := newClient(t, url)
	p, e := newPolicy(t, c), newEngine(t, c)
	ref, err := p.Save(t.Context(), "start")
	require.NoError(t, err)
	w, err := p.Publish(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.Refresh(t.Context(), w))
	train(t, p) // so that there is something to publish
	b.hold.Store(true)
	dst := [][]float64{make([]float64, 3), nil, make([]float64, 2), make([]float64, 1)}
	for name, call := range map[string]func(ctx context.Context) error{
		"NewPolicy": func(ctx context.Context) error {
			_, err := tinker.NewPolicy(ctx, c, tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8}})
			return err
		},
		"LogProbs": func(ctx context.Context) error { return p.LogProbs(ctx, batch(), dst) },
		"ForwardBackward": func(ctx context.Context) error {
			_, _, err := p.ForwardBackward(ctx, batch(), objective.CrossEntropy{})
			return err
		},
		"Save":    func(ctx context.Context) error { _, err := p.Save(ctx, "x"); return err },
		"Load":    func(ctx context.Context) error { return p.Load(ctx, ref) },
		"Publish": func(ctx context.Context) error { _, err := p.Publish(ctx); return err },
		"Refresh": func(ctx context.Context) error { return e.Refresh(ctx, w) },
		"Generate": func(ctx context.Context) error {
			r := make([]rollout.Request, 50)
			for i := range r {
				r[i] = rollout.Request{Prompt: []int32{1}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}
			}
			return e.Generate(ctx, r, func(rollout.Completion) error { return nil })
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		start := time.Now()
		require.ErrorIs(t, call(ctx), context.Canceled, name)
		require.Less(t, time.Since(start), time.Second, name)
	}
	b.hold.Store(false)

	want := newServer(t, tinkertest.Options{Mean: true})
	q := newPolicy(t, newClient(t, want.URL))
	for range 3 {
		train(t, q)
	}
	for _, cut := range []string{"/forward_backward", "/optim_step", "/retrieve_future"} {
		require.NoError(t, p.Load(t.Context(), ref))
		train(t, p)
		_, _, err := p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
			if r.URL.Path == "/api/v1"+cut && ctx.Err() == nil {
				cancel()
				<-r.Context().Done()
			}
		}
		_, err = p.OptimStep(ctx, rl.OptimOptions{LR: 0.1})
		require.ErrorIs(t, err, context.Canceled, cut)
		require.EqualValues(t, 3, train(t, p).Version, cut)
		require.Equal(t, want.Logits(), s.Logits(), cut)
	}
}

// A result that is asked for again and again is waited for without limit, and a server
// that only fails is not.
func TestPolling(t *testing.T) {
	s := newServer(t, tinkertest.Options{Pending: 20})
	train(t, newPolicy(t, newClient(t, s.URL), func(c *tinker.PolicyConfig) { c.Scaling = tinker.ScalingSum }))

	b, url := newBetween(t, newServer(t, tinkertest.Options{}))
	p := newPolicy(t, newClient(t, url))
	answers := []struct {
		status     int
		body, want string
		polls      int
	}{
		{500, "Internal Server Error", "no result after 8 polls", 8},
		{404, `{"detail":"Future not found"}`, "the server has lost the request", 1},
		{410, `{}`, "the server has lost the request", 1},
		{400, `<html>Bad Request</html>`, "400 Bad Request", 4},
		{400, `{"detail":"Model model_x not loaded"}`, `forward: the server says "Model model_x not loaded"`, 1},
		{200, `{"error":"bad token","category":"user"}`, `forward: the server says "bad token"`, 1},
		{200, `{"loss_fn_outputs":[]}`, "is JSON, want protobuf", 1},
		{200, `garbage`, "neither protobuf nor JSON", 8},
		{401, `{}`, "401 Unauthorized", 1},
	}
	for _, a := range answers {
		b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
			if strings.HasSuffix(r.URL.Path, "/retrieve_future") {
				answer.Code, answer.Body = a.status, bytes.NewBufferString(a.body)
				answer.Header().Set("Content-Type", "application/json")
			}
		}
		before := len(b.sent("/retrieve_future"))
		_, _, err := p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
		require.ErrorContains(t, err, a.want)
		require.Equal(t, a.polls, len(b.sent("/retrieve_future"))-before, a.body)
	}
	tries := 0
	b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
		if tries++; strings.HasSuffix(r.URL.Path, "/retrieve_future") && tries < 30 {
			answer.Code, answer.Body = 200, bytes.NewBufferString(`{"type":"try_again","queue_state":"paused_capacity"}`)
			answer.Header().Set("Content-Type", "application/json")
		}
	}
	_, _, err := p.ForwardBackward(t.Context(), batch(), objective.CrossEntropy{})
	require.NoError(t, err)
}

// With Adapters the published weights are a folder that other servers can load. A
// damaged download is repeated; old folders are deleted.
func TestPublishAdapters(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	damaged := 0
	b, url := newBetween(t, s)
	b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
		if strings.HasSuffix(r.URL.Path, "/download") && damaged < 3 {
			damaged++
			answer.Body.Truncate(answer.Body.Len() - 5)
		}
	}
	dir := filepath.Join(t.TempDir(), "adapters")
	p := newPolicy(t, newClient(t, url), func(c *tinker.PolicyConfig) { c.Adapters = dir })
	for version := range int64(6) {
		w, err := p.Publish(t.Context())
		require.NoError(t, err)
		require.Equal(t, version, w.Version)
		require.Equal(t, rollout.FormAdapter, w.Form)
		require.Equal(t, dir, filepath.Dir(w.Ref))
		config, err := os.ReadFile(filepath.Join(w.Ref, "adapter_config.json"))
		require.NoError(t, err)
		require.Contains(t, string(config), `"peft_type":"LORA"`)
		weights, err := os.ReadFile(filepath.Join(w.Ref, "adapter_model.safetensors"))
		require.NoError(t, err)
		last := math.Float32frombits(binary.LittleEndian.Uint32(weights[len(weights)-4:]))
		require.InDelta(t, s.Logits()[12*12-1], last, 1e-6)
		train(t, p)
	}
	require.Equal(t, 3, damaged)
	folders, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, folders, 4)

	b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
		if strings.HasSuffix(r.URL.Path, "/download") {
			answer.Body = bytes.NewBufferString("nothing")
		}
	}
	_, err = p.Publish(t.Context())
	require.ErrorContains(t, err, "tinker: the archive of v6-")
	folders, err = os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, folders, 4, "no half of a folder")
}

// The key goes to the server as X-API-Key and appears nowhere else.
func TestKey(t *testing.T) {
	t.Setenv("STEPWISE_TEST_KEY", "tml-very-secret")
	s := newServer(t, tinkertest.Options{MaxModels: 1})
	var seen []string
	b, url := newBetween(t, s)
	b.change = func(r *http.Request, _ []byte, answer *httptest.ResponseRecorder) {
		seen = append(seen, r.Header.Get("X-API-Key"))
		if strings.HasSuffix(r.URL.Path, "/save_weights") { // as some servers do
			answer.Code, answer.Body = http.StatusForbidden, bytes.NewBufferString("key tml-very-secret may not save")
		}
	}
	var log bytes.Buffer
	c, err := tinker.New(tinker.Config{
		Endpoint: remote.Endpoint{URL: url, Key: remote.Key{Env: "STEPWISE_TEST_KEY"}}, Retry: retry,
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	p := newPolicy(t, c)
	_, err = p.Save(t.Context(), "x")
	require.ErrorContains(t, err, "403 Forbidden")
	require.NotContains(t, err.Error()+log.String()+fmt.Sprintf("%+v", c), "very-secret")
	require.NotEmpty(t, seen)
	for _, k := range seen {
		require.Equal(t, "tml-very-secret", k)
	}
}

// Settings are read from JSON with durations and scalings as text; what is invalid is
// named.
func TestSettings(t *testing.T) {
	config, err := settings.Decode([]byte(`{"endpoint":{"url":"https://x"},"poll":"45s"}`), tinker.Config{})
	require.NoError(t, err)
	require.Equal(t, tinker.Config{Endpoint: remote.Endpoint{URL: "https://x"}, Poll: 45 * time.Second}, config)
	p, err := settings.Decode([]byte(`{"model":"m","lora":{"rank":8},"scaling":"mean"}`), tinker.PolicyConfig{})
	require.NoError(t, err)
	require.Equal(t, tinker.PolicyConfig{Model: "m", LoRA: tinker.LoRA{Rank: 8}, Scaling: tinker.ScalingMean}, p)
	_, err = settings.Decode([]byte(`{"scaling":"median"}`), tinker.PolicyConfig{})
	require.ErrorContains(t, err, "want detect, sum or mean")

	for want, v := range map[string]interface{ Validate() error }{
		"Endpoint.URL is no URL":                 tinker.Config{},
		"Config.Heartbeat is -1ns":               tinker.Config{Endpoint: remote.Endpoint{URL: "http://x"}, Heartbeat: -1},
		"Retry.Attempts is -1":                   tinker.Config{Endpoint: remote.Endpoint{URL: "http://x"}, Retry: remote.Retry{Attempts: -1}},
		"PolicyConfig.Model is missing":          tinker.PolicyConfig{},
		"PolicyConfig.LoRA.Rank is 0":            tinker.PolicyConfig{Model: "m"},
		"PolicyConfig.Adam.Beta2 is 1":           tinker.PolicyConfig{Model: "m", LoRA: tinker.LoRA{Rank: 1}, Adam: tinker.Adam{Beta2: 1}},
		"PolicyConfig.Scaling":                   tinker.PolicyConfig{Model: "m", LoRA: tinker.LoRA{Rank: 1}, Scaling: 9},
		"EngineConfig.Model is missing":          tinker.EngineConfig{},
		"EngineConfig.VocabSize is 0":            tinker.EngineConfig{Model: "m"},
		"EngineConfig.EOS has id 5, want 0 to 4": tinker.EngineConfig{Model: "m", VocabSize: 5, EOS: []int32{5}},
		"EngineConfig.MaxSeq is -1":              tinker.EngineConfig{Model: "m", VocabSize: 5, MaxSeq: -1},
	} {
		require.ErrorContains(t, v.Validate(), want)
	}
	require.NoError(t, tinker.Config{Endpoint: remote.Endpoint{URL: "http://x"}}.Validate())
}

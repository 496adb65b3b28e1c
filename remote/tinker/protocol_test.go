package tinker_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

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
	t.Parallel() // most of the time is waiting
	s := newServer(t, tinkertest.Options{SessionLife: time.Second})
	c, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: lose(t, s, "/create_model", 1)}, Retry: retry, Heartbeat: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	p := newPolicy(t, c, func(c *tinker.PolicyConfig) { c.Scaling = tinker.ScalingSum })
	require.Equal(t, 2, s.Count("/create_model"))
	require.Equal(t, 2, s.Models())
	require.Eventually(t, func() bool {
		train(t, p)
		return s.Models() == 1
	}, 5*time.Second, 20*time.Millisecond)
	time.Sleep(1100 * time.Millisecond)
	train(t, p)
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

// A checkpoint that is not kept is deleted on the server, whose answer may be lost, and no
// other one.
func TestRemove(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	c := newClient(t, s.URL)
	p := newPolicy(t, c, func(c *tinker.PolicyConfig) { c.Scaling = tinker.ScalingSum })
	store := checkpoint.Store{Dir: t.TempDir(), Keep: checkpoint.Keep{Last: 2}, Remove: c.Remove}
	trainer, err := rl.NewTrainer(training(p, newEngine(t, c), p))
	require.NoError(t, err)
	var refs []string
	for range 4 {
		require.NoError(t, store.Save(t.Context(), trainer))
		last, err := store.Latest(t.Context())
		require.NoError(t, err)
		path, _, _ := strings.Cut(last.Ref, "#")
		refs = append(refs, path)
	}
	require.Equal(t, refs[2:], s.Saved())
	require.NoError(t, c.Remove(t.Context(), refs[0]+"#0"), "it is gone already")
	for _, ref := range []string{refs[2], "/tmp/one#1", "tinker://model/one#1", "tinker://model/sampler_weights/one#1"} {
		require.ErrorContains(t, c.Remove(t.Context(), ref), "want tinker://model/weights/name#version")
	}
	require.Len(t, s.Saved(), 2)
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

// A request is sampled anew when it is repeated, and the same seed gives the same. A
// large one is cut into calls, which its samples do not depend on.
func TestSampleWithoutAnswer(t *testing.T) {
	s := newServer(t, tinkertest.Options{})
	r := []rollout.Request{{ID: "a", Prompt: []int32{1}, N: 40, Params: rollout.Params{Temperature: 1, MaxTokens: 8, Stop: []string{"ab"}}, Stream: [3]uint64{1, 2, 3}}}
	sample := func(url string) []rollout.Completion {
		all := make([]rollout.Completion, r[0].N)
		require.NoError(t, newEngine(t, newClient(t, url)).Generate(t.Context(), r, func(c rollout.Completion) error {
			all[c.Index] = c
			return c.Err
		}))
		return all
	}
	want := sample(s.URL)
	require.Equal(t, 3, s.Count("/asample"))
	require.Equal(t, want, sample(lose(t, s, "/asample", 1)))
	require.Equal(t, 7, s.Count("/asample"))
	r[0].N = 20
	require.Equal(t, want[:20], sample(s.URL))
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

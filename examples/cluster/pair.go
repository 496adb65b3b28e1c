package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/chat/jinja"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/remote/openai"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
)

// config is a configuration file.
type config struct {
	// Model is the Hugging Face folder that training begins with. Servers must have
	// been started with the same model.
	Model  string       `json:"model"`
	Policy policyConfig `json:"policy"`
	Engine engineConfig `json:"engine"`
	// Weights is a folder on a disk shared with the engine's servers, at the same path
	// there: the policy's weights travel through it. With llama.cpp it is the router's
	// --models-dir.
	Weights string `json:"weights,omitzero"`

	// Async samples ahead of the training. It is not for a local policy with a local
	// engine, which are the same decoder.
	Async rl.Async `json:"async,omitzero"`

	Seed     uint64  `json:"seed"`
	Prompts  int     `json:"prompts"`        // per training step
	Steps    int64   `json:"steps,omitzero"` // training steps
	Warmup   int     `json:"warmup"`         // optimiser steps on demonstrations before that
	WarmupLR float64 `json:"warmup_lr"`
}

type policyConfig struct {
	Kind   string        `json:"kind"` // "local" or "tinker"
	LR     float64       `json:"lr"`
	Rank   int           `json:"rank"`            // of LoRA adapters; 0 trains all weights
	Server *tinkerConfig `json:"server,omitzero"` // of the kind tinker
	// Model is the base model's name on the server.
	Model string `json:"model,omitzero"`
}

// tinkerConfig is a tinker.Config whose durations are texts, as in "30s".
type tinkerConfig struct{ tinker.Config }

func (c tinkerConfig) MarshalJSON() ([]byte, error) { return settings.Encode(c.Config) }

func (c *tinkerConfig) UnmarshalJSON(text []byte) (err error) {
	if c.Config, err = settings.Decode(text, tinker.Config{}); err != nil {
		return fmt.Errorf("policy.server: %w", err)
	}
	return nil
}

type engineConfig struct {
	Kind string `json:"kind"` // "local", "tinker", "vllm", "sglang" or "llama.cpp"
	// Servers are of that kind; their dialect need not be given.
	Servers []openai.Server `json:"servers,omitzero"`
}

// pairs says for each kind of policy with each kind of engine as what the weights
// travel. Others do not go together: a server of the Tinker protocol samples from its
// own models alone.
var pairs = map[string]map[string]rollout.Form{
	"local": {
		"local": rollout.FormOwn, "vllm": rollout.FormFolder, "sglang": rollout.FormFolder, "llama.cpp": rollout.FormGGUF,
	},
	"tinker": {
		"tinker": rollout.FormOwn, "local": rollout.FormAdapter, "vllm": rollout.FormAdapter, "sglang": rollout.FormFolder, "llama.cpp": rollout.FormGGUF,
	},
}

// form returns as what the weights travel, or an error that says why they cannot.
func (c config) form() (rollout.Form, error) {
	engines, ok := pairs[c.Policy.Kind]
	if !ok {
		return 0, fmt.Errorf("policy.kind is %q, want local or tinker", c.Policy.Kind)
	}
	form, ok := engines[c.Engine.Kind]
	switch {
	case !ok && c.Engine.Kind == "tinker":
		return 0, errors.New("a local policy with a Tinker engine: a Tinker server samples from the models that it trains, and loads no others")
	case !ok:
		return 0, fmt.Errorf("engine.kind is %q, want local, tinker, vllm, sglang or llama.cpp", c.Engine.Kind)
	case form != rollout.FormOwn && c.Weights == "":
		return 0, fmt.Errorf("weights is missing: with the policy %s and the engine %s they travel as files (%v)", c.Policy.Kind, c.Engine.Kind, form)
	case c.Policy.Kind == "tinker" && (c.Policy.Server == nil || c.Policy.Rank < 1):
		return 0, errors.New("policy.server or policy.rank is missing: a Tinker server trains adapters")
	case len(c.Engine.Servers) == 0 && c.Engine.Kind != "local" && c.Engine.Kind != "tinker":
		return 0, errors.New("engine.servers is empty")
	}
	return form, nil
}

func readConfig(path string) (config, error) {
	f, err := os.Open(path)
	if err != nil {
		return config{}, err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	d.DisallowUnknownFields()
	var c config
	if err = d.Decode(&c); err == nil {
		_, err = c.form()
	}
	for i := range c.Engine.Servers {
		err = errors.Join(err, c.Engine.Servers[i].Dialect.UnmarshalText([]byte(c.Engine.Kind)))
	}
	if err != nil {
		return config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// run returns the settings of a run in a folder. Whoever resumes it may have changed how
// far it goes, how far it samples ahead, and where servers and weights are: these are
// recorded as they were when it was started.
func (c config) run(dir string) (run.Config, error) {
	whole, err := json.Marshal(c)
	if err != nil {
		return run.Config{}, err
	}
	c.Steps, c.Async, c.Weights, c.Policy.Server, c.Engine.Servers = 0, rl.Async{}, "", nil, nil
	return run.Config{Dir: dir, Seed: c.Seed, Settings: c, Info: map[string]string{"config": string(whole)}}, nil
}

// pretrained is what a model's folder holds beside its weights.
type pretrained struct {
	tok      *tokenizer.Tokenizer
	template chat.Template
	eos      []int32
	maxSeq   int
}

func readModel(dir string) (*pretrained, error) {
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return nil, err
	}
	settings, err := chat.ReadConfig(dir)
	if err != nil {
		return nil, err
	}
	template, err := jinja.FromConfig(settings, "default", jinja.Options{})
	if err != nil {
		return nil, err
	}
	generation, err := model.ReadGeneration(dir)
	if err != nil {
		return nil, err
	}
	c, err := model.ReadConfig(dir)
	return &pretrained{tok, template, generation.EOS, c.MaxSeq}, err
}

// pair is a policy and an engine that go together.
type pair struct {
	policy  rl.Policy
	engine  rollout.Engine
	maxNorm float64                                     // of the gradient; 0 where it cannot be clipped
	remove  func(ctx context.Context, ref string) error // a checkpoint of a policy on a server
	metrics []func() map[string]float64                 // of clients
	frees   []func()                                    // what close calls, last first
}

// recorder adds the metrics of clients to a trainer's.
func (p *pair) recorder(to rl.Recorder) rl.Recorder {
	return rl.RecorderFunc(func(step int64, m map[string]float64) error {
		m = maps.Clone(m)
		for _, f := range p.metrics {
			maps.Copy(m, f())
		}
		return to.Record(step, m)
	})
}

func (p *pair) onClose(f func()) { p.frees = append(p.frees, f) }

func (p *pair) close() {
	for _, f := range slices.Backward(p.frees) {
		f()
	}
	p.frees = nil
}

// refresh hands the policy's weights to the engine. A trainer does so before it samples.
func (p *pair) refresh(ctx context.Context) error {
	w, err := p.policy.(rl.Publisher).Publish(ctx)
	if err != nil {
		return err
	}
	return p.engine.(rollout.Refresher).Refresh(ctx, w)
}

// openPair is where the two constructors are chosen.
func openPair(ctx context.Context, c config, tok *tokenizer.Tokenizer, eos []int32, checkpoints string, log *slog.Logger) (_ *pair, err error) {
	form, err := c.form()
	if err != nil {
		return nil, err
	}
	p := &pair{}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		return nil, err
	}
	var client *tinker.Client
	if c.Policy.Kind == "local" {
		err = p.openLocal(c, checkpoints, backend)
	} else {
		client, err = p.openTinker(ctx, c, form, log)
	}
	if err != nil {
		return nil, err
	}
	// A policy on a server publishes adapters by itself; whoever wants anything else in
	// files wants an exporter.
	if form == rollout.FormFolder || form == rollout.FormGGUF {
		e, err := local.NewExporter(p.policy, local.ExporterConfig{Form: form, Dir: c.Weights, Model: c.Model, Backend: backend})
		if err != nil {
			return nil, err
		}
		p.onClose(func() { _ = e.Close() })
		p.policy = e
	}
	switch c.Engine.Kind {
	case "local":
		if own, ok := p.policy.(*local.Policy); ok {
			p.engine, err = own.NewEngine(tok, local.EngineConfig{EOS: eos})
			return p, err
		}
		decoder, err := model.LoadDecoder(backend, c.Model, model.Frozen())
		if err != nil {
			return nil, err
		}
		p.onClose(decoder.Free)
		e, err := local.NewAsyncEngine(decoder, tok, local.EngineConfig{EOS: eos, Static: true})
		if err != nil {
			return nil, err
		}
		p.onClose(e.Free)
		p.engine = e
	case "tinker":
		p.engine, err = tinker.NewEngine(client, tok, tinker.EngineConfig{Model: c.Policy.Model, VocabSize: tok.VocabSize(), EOS: eos})
	default:
		e, err := openai.New(ctx, openai.Config{Servers: c.Engine.Servers, Vocab: tok, EOS: eos, KeepInFlight: c.Async.Partial, Logger: log})
		if err != nil {
			return nil, err
		}
		p.onClose(e.Close)
		p.engine, p.metrics = e, append(p.metrics, e.Metrics)
	}
	return p, err
}

func (p *pair) openLocal(c config, checkpoints string, backend *cpu.Backend) error {
	decoder, err := model.LoadDecoder(backend, c.Model)
	if err != nil {
		return err
	}
	if c.Policy.Rank > 0 {
		if _, err := decoder.AddLoRA(model.LoRAConfig{Rank: c.Policy.Rank, Alpha: 32, Targets: model.AllProjections}, c.Seed); err != nil {
			decoder.Free()
			return err
		}
	}
	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: decoder, Dir: checkpoints})
	if err != nil {
		decoder.Free()
		return err
	}
	p.onClose(policy.Free)
	p.policy, p.maxNorm = policy, 1
	return nil
}

func (p *pair) openTinker(ctx context.Context, c config, form rollout.Form, log *slog.Logger) (*tinker.Client, error) {
	server := c.Policy.Server.Config
	server.Log = log
	client, err := tinker.New(server)
	if err != nil {
		return nil, err
	}
	p.onClose(client.Close)
	p.remove = client.Remove
	p.metrics = append(p.metrics, client.Metrics)
	settings := tinker.PolicyConfig{Model: c.Policy.Model, LoRA: tinker.LoRA{Rank: c.Policy.Rank, Seed: uint32(c.Seed)}}
	if form != rollout.FormOwn {
		settings.Adapters = c.Weights
	}
	policy, err := tinker.NewPolicy(ctx, client, settings)
	if err != nil {
		return nil, err
	}
	p.onClose(func() {
		// Asked to unload the model, the server does so when it has done what it is at;
		// whoever stops the program does not wait for that.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
		defer cancel()
		_ = policy.Free(ctx)
	})
	p.policy = policy
	return client, nil
}

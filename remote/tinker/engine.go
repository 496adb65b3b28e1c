package tinker

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// EngineConfig holds the settings of an engine.
type EngineConfig struct {
	// Model is the base model, which is sampled from until the first Refresh.
	Model string `json:"model"`
	// VocabSize is the number of the model's token ids, and EOS are the end-of-text
	// tokens: a completion ends with the first. The server is told EOS and knows
	// neither by itself, so one that is too large, or of another model, goes
	// unnoticed: take both from the model's own files.
	VocabSize int     `json:"vocab_size"`
	EOS       []int32 `json:"eos"`
	// MaxSeq bounds the tokens of prompt and completion; 0 = only the server does.
	MaxSeq int `json:"max_seq"`
	// InFlight is the number of calls, of up to 16 samples of a request each, that
	// wait for the server at once; 0 means 64.
	InFlight int `json:"in_flight"`
}

// Validate returns an error that names an invalid setting.
func (c EngineConfig) Validate() error {
	switch {
	case c.Model == "":
		return errors.New("tinker: EngineConfig.Model is missing, want the name of the server's base model")
	case c.VocabSize < 1:
		return fmt.Errorf("tinker: EngineConfig.VocabSize is %d, want the number of the model's token ids", c.VocabSize)
	case c.MaxSeq < 0 || c.InFlight < 0:
		return fmt.Errorf("tinker: EngineConfig.MaxSeq is %d and InFlight %d, want 0 or more", c.MaxSeq, c.InFlight)
	}
	for _, id := range c.EOS {
		if id < 0 || int(id) >= c.VocabSize {
			return fmt.Errorf("tinker: EngineConfig.EOS has id %d, want 0 to %d", id, c.VocabSize-1)
		}
	}
	return nil
}

// Engine samples on the server, from the base model or from weights that a Policy has
// published. It implements rollout.Engine, rollout.Concurrent and rollout.Checker, and
// is safe for concurrent use: a call samples from the weights of its beginning.
type Engine struct {
	c      *Client
	vocab  sample.Vocab
	config EngineConfig

	mu      sync.Mutex
	known   bool   // the server has the model of config
	session string // of the client
	pinned  pin
	seq     int64 // of sampling sessions
}

// pin is a sampling session: the server's handle to weights that no longer change.
type pin struct {
	session string        // "" = none yet
	calls   *atomic.Int64 // of it so far
	version int64
	ref     string // of the weights; "" = the base model's
}

var (
	_ rollout.Engine     = (*Engine)(nil)
	_ rollout.Concurrent = (*Engine)(nil)
	_ rollout.Checker    = (*Engine)(nil)
)

// NewEngine returns an engine at version 0. v gives the bytes of the model's tokens
// and must be safe for concurrent use; a *tokenizer.Tokenizer is.
func NewEngine(c *Client, v sample.Vocab, config EngineConfig) (*Engine, error) {
	if c == nil || v == nil {
		return nil, errors.New("tinker: an engine needs a client and a vocabulary")
	}
	if err := config.Validate(); err != nil {
		return nil, err
	}
	config.InFlight = cmp.Or(config.InFlight, 64)
	config.EOS = slices.Clone(config.EOS)
	return &Engine{c: c, vocab: v, config: config, pinned: pin{calls: new(atomic.Int64)}}, nil
}

// Check implements rollout.Checker. The server reports log-probs at temperature 1
// whatever the temperature, so a request for another one than 0 and 1 is refused.
func (e *Engine) Check(r *rollout.Request) error {
	if t := r.Params.Temperature; t != 0 && t != 1 {
		return fmt.Errorf("Temperature is %v (with TopK %d and TopP %v), but the server reports log-probs at temperature 1 only, want 1 or 0", t, r.Params.TopK, r.Params.TopP)
	}
	for i, id := range r.Prompt {
		if int(id) >= e.config.VocabSize {
			return fmt.Errorf("Prompt[%d] is %d, want an id below %d", i, id, e.config.VocabSize)
		}
	}
	if n := len(r.Prompt) + r.Params.MaxTokens; e.config.MaxSeq > 0 && (n > e.config.MaxSeq || n < 0) {
		return fmt.Errorf("%d prompt tokens and MaxTokens %d exceed EngineConfig.MaxSeq, %d", len(r.Prompt), r.Params.MaxTokens, e.config.MaxSeq)
	}
	if r.N > maxSamples {
		return fmt.Errorf("N is %d, want at most %d", r.N, maxSamples)
	}
	return nil
}

// maxSamples keeps the seeds of a request's samples within 31 bits.
const maxSamples = 1 << 20

// Refresh implements rollout.Refresher for what Policy.Publish returns without
// Adapters: later samples are drawn from those weights.
func (e *Engine) Refresh(ctx context.Context, w rollout.Weights) error {
	if w.Form != rollout.FormOwn || !strings.HasPrefix(w.Ref, "tinker://") {
		return fmt.Errorf("tinker: an engine of the server loads weights that its policy has published there, tinker://…, not %q of form %q", w.Ref, w.Form)
	}
	p, err := e.pin(ctx, map[string]any{"model_path": w.Ref})
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.c.hold(w.Ref)
	e.c.release(e.pinned.ref)
	e.pinned = pin{p, new(atomic.Int64), w.Version, w.Ref}
	return nil
}

// RefreshInFlight implements rollout.Concurrent: calls under way go on with the weights
// of their beginning.
func (e *Engine) RefreshInFlight() bool { return true }

// checkModel returns an error if the server lists models, and EngineConfig.Model is not
// among them. It asks once.
func (e *Engine) checkModel(ctx context.Context) error {
	e.mu.Lock()
	known := e.known
	e.mu.Unlock()
	if known {
		return nil
	}
	var answer struct {
		Models []struct {
			Name string `json:"model_name"`
		} `json:"supported_models"`
	}
	r := transport.Request{Method: http.MethodGet, Path: "/api/v1/get_server_capabilities", Accept: "application/json", Timeout: e.c.config.Timeout}
	err := e.c.http.Do(ctx, r, transport.JSON(&answer))
	if err != nil && statusOf(err) != http.StatusNotFound {
		return err
	}
	var names []string
	for _, m := range answer.Models {
		if m.Name == e.config.Model {
			names = nil
			break
		}
		if m.Name != "" {
			names = append(names, m.Name)
		}
	}
	if len(names) > 0 {
		return fmt.Errorf("tinker: EngineConfig.Model is %q, but the server has %s", e.config.Model, transport.Clean(strings.Join(names, ", "), 400))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known = true
	return nil
}

// pin starts a sampling session.
func (e *Engine) pin(ctx context.Context, body map[string]any) (string, error) {
	if err := e.checkModel(ctx); err != nil {
		return "", err
	}
	e.mu.Lock()
	session := e.session
	e.seq++
	body["sampling_session_seq_id"] = e.seq
	e.mu.Unlock()
	if session == "" || e.c.alive(session) != nil {
		s, err := e.c.newSession(ctx)
		if err != nil {
			return "", err
		}
		e.mu.Lock()
		e.session, session = s, s
		e.mu.Unlock()
	}
	body["session_id"], body["type"] = session, "create_sampling_session"
	var answer struct {
		ID string `json:"sampling_session_id"`
	}
	if err := e.c.http.Do(ctx, e.c.request("/create_sampling_session", body), transport.JSON(&answer)); err != nil {
		return "", err
	}
	if answer.ID == "" {
		return "", errors.New("tinker: create_sampling_session gave no sampling_session_id")
	}
	return answer.ID, nil
}

// current returns the sampling session to use, that of the base model at first. Its
// weights are held until the caller releases them.
func (e *Engine) current(ctx context.Context) (pin, error) {
	e.mu.Lock()
	if p := e.pinned; p.session != "" {
		defer e.mu.Unlock()
		e.c.hold(p.ref)
		return p, nil
	}
	e.mu.Unlock()
	s, err := e.pin(ctx, map[string]any{"base_model": e.config.Model})
	if err != nil {
		return pin{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pinned.session = cmp.Or(e.pinned.session, s)
	e.c.hold(e.pinned.ref)
	return e.pinned, nil
}

// hold keeps a policy of this client from deleting weights until they are released.
func (c *Client) hold(ref string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held[ref]++
}

// release undoes one hold.
func (c *Client) release(ref string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[ref]--; c.held[ref] <= 0 {
		delete(c.held, ref)
	}
}

// isHeld reports whether weights may not be deleted.
func (c *Client) isHeld(ref string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[ref] > 0
}

// maxAtOnce is how many samples of a request are asked for in one call. The first are
// then there before the last of a large request, and a failure loses no more.
const maxAtOnce = 16

// piece is the samples [from, to) of a request. Its number is its own in the sampling
// session: servers recognise a call that is repeated by it.
type piece struct {
	request, from, to int
	number            int64
}

// Generate implements rollout.Engine. Samples of a call whose retries are used up, or
// that the server refuses, have an Err. Top-k and top-p are the server's; stop
// strings are looked for here, so up to MaxTokens are sampled beyond one.
func (e *Engine) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := rollout.Validate(reqs, e.Check); err != nil {
		return err
	}
	if len(reqs) == 0 {
		return nil
	}
	p, err := e.current(ctx)
	if err != nil {
		return err
	}
	defer e.c.release(p.ref)
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	var pieces []piece
	for i := range reqs {
		for from := 0; from < reqs[i].N; from += maxAtOnce {
			pieces = append(pieces, piece{request: i, from: from, to: min(from+maxAtOnce, reqs[i].N)})
		}
	}
	next := p.calls.Add(int64(len(pieces)))
	for k := range pieces {
		pieces[k].number = next - int64(len(pieces)-k)
	}
	results := make(chan []rollout.Completion)
	queue := make(chan piece)
	running.Go(func() {
		defer close(queue)
		for _, q := range pieces {
			select {
			case queue <- q:
			case <-ctx.Done():
				return
			}
		}
	})
	for range min(e.config.InFlight, len(pieces)) {
		running.Go(func() {
			// A connection that is opened in here stays open for the client: its
			// goroutines should not carry the labels of this call.
			pprof.SetGoroutineLabels(context.Background())
			for q := range queue {
				select {
				case results <- e.sample(ctx, p, q, &reqs[q.request]):
				case <-ctx.Done():
					return
				}
			}
		})
	}
	for range pieces {
		select {
		case completions := <-results:
			for _, c := range completions {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := emit(c); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// sample returns the completions of a piece of r.
func (e *Engine) sample(ctx context.Context, p pin, q piece, r *rollout.Request) []rollout.Completion {
	s, err := e.ask(ctx, p, q, r)
	out := make([]rollout.Completion, q.to-q.from)
	for k := range out {
		c := &out[k]
		if err != nil {
			c.Err = err
		} else if *c, c.Err = e.completion(&s.Sequences[k], r); c.Err != nil {
			c.Err = fmt.Errorf("tinker: sample %d of request %q: %w", q.from+k, r.ID, c.Err)
		}
		if c.Err != nil {
			*c = rollout.Completion{Err: c.Err}
		} else {
			c.FirstVersion, c.LastVersion = p.version, p.version
		}
		c.Request, c.Index = q.request, q.from+k
	}
	return out
}

// ask samples a piece of a request. The server gives sample k of a call the seed plus
// k, so asking twice gives the same samples, however a request is cut into pieces.
func (e *Engine) ask(ctx context.Context, p pin, q piece, r *rollout.Request) (*wire.Sample, error) {
	n := q.to - q.from
	params := map[string]any{
		"max_tokens": r.Params.MaxTokens, "seed": seed(r.Stream) + int64(q.from), "temperature": r.Params.Temperature,
		"top_k": -1, "top_p": 1.0, "stop": e.config.EOS,
	}
	if r.Params.TopK > 0 {
		params["top_k"] = r.Params.TopK
	}
	if r.Params.TopP > 0 {
		params["top_p"] = r.Params.TopP
	}
	id, err := e.c.submit(ctx, e.c.request("/asample", map[string]any{
		"num_samples": n, "sampling_params": params, "sampling_session_id": p.session, "seq_id": q.number, "type": "sample",
		"prompt":          map[string]any{"chunks": []any{map[string]any{"type": "encoded_text", "tokens": r.Prompt}}},
		"prompt_logprobs": false, "topk_prompt_logprobs": 0,
	}))
	if err != nil {
		return nil, err
	}
	var s *wire.Sample
	err = e.c.await(ctx, "", id, "sample", true, func(b []byte) (err error) {
		if s, err = wire.ParseSample(b); err == nil && len(s.Sequences) != n {
			err = fmt.Errorf("%d samples, want %d", len(s.Sequences), n)
		}
		return err
	})
	return s, err
}

// completion checks a sample and gives it text and end.
func (e *Engine) completion(s *wire.Sequence, r *rollout.Request) (rollout.Completion, error) {
	var c rollout.Completion
	var text []byte
	for t, id := range s.Tokens {
		l := float64(s.LogProbs[t])
		switch {
		case t == r.Params.MaxTokens:
			return c, fmt.Errorf("the server gave %d tokens, want at most %d", len(s.Tokens), t)
		case id < 0 || int(id) >= e.config.VocabSize:
			return c, fmt.Errorf("token %d has id %d, want an id below %d", t, id, e.config.VocabSize)
		case !(l <= 1e-4) || l < -1e30:
			return c, fmt.Errorf("token %d has log-prob %v, want a finite number of at most 0", t, l)
		}
		l = min(l, 0) // above 0 by rounding
		before := len(text)
		text = append(text, e.vocab.Bytes(id)...)
		c.Tokens, c.LogP, c.Ends = append(c.Tokens, id), append(c.LogP, l), append(c.Ends, len(text))
		if slices.Contains(e.config.EOS, id) || stops(text, before, r.Params.Stop) {
			c.Finish = rollout.FinishStop
			break
		}
	}
	switch {
	case c.Finish == rollout.FinishStop:
	case len(c.Tokens) == r.Params.MaxTokens:
		c.Finish = rollout.FinishLength
	default:
		return c, fmt.Errorf("the server ended it after %d of %d tokens, at none of EngineConfig.EOS", len(c.Tokens), r.Params.MaxTokens)
	}
	c.Text, c.LogPUnit = string(text), c.LogP
	return c, nil
}

// stops reports whether the text contains a stop string that ends after its first
// seen bytes.
func stops(text []byte, seen int, stop []string) bool {
	return slices.ContainsFunc(stop, func(s string) bool { return bytes.Contains(text[max(0, seen-len(s)+1):], []byte(s)) })
}

// seed makes a seed of a random stream. Sample k has the seed plus k on the server,
// and both must fit into 31 bits.
func seed(stream [3]uint64) int64 {
	x := uint64(0x243f6a8885a308d3)
	for _, s := range stream {
		x ^= s // SplitMix64 (Steele, Lea & Flood, OOPSLA 2014)
		x += 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return int64(x % (1<<31 - maxSamples))
}

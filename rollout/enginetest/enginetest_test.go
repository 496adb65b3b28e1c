package enginetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rollout"
)

// words is a vocabulary whose tokens have different lengths; id 5 ends a text.
type words struct{}

func (words) Bytes(id int32) []byte {
	return [][]byte{[]byte("a"), []byte("bc"), []byte("\xc3"), []byte("\xa9 d"), []byte("e"), nil}[id]
}

// row gives the logits after a token: they differ from token to token.
func row(prev int32, dst []float32) {
	for id := range dst {
		dst[id] = float32(math.Sin(float64(3*int(prev)+7*id))) * 2
	}
	dst[5] -= 2
}

func fake() *Fake {
	return &Fake{
		VocabSize: 6, Vocab: words{}, EOS: []int32{5},
		Logits: func(prompt, tokens []int32, dst []float32) error {
			prev := prompt[len(prompt)-1]
			if len(tokens) > 0 {
				prev = tokens[len(tokens)-1]
			}
			row(prev, dst)
			return nil
		},
	}
}

func config() Config {
	return Config{
		New:     func(*testing.T) rollout.Engine { return fake() },
		Prompts: [][]int32{{0, 1}, {3}},
		Vocab:   words{},
		First: func(prompt []int32) []float64 {
			logits := make([]float32, 6)
			row(prompt[len(prompt)-1], logits)
			p := make([]float64, 6)
			var sum float64
			for i, l := range logits {
				p[i] = math.Exp(float64(l))
				sum += p[i]
			}
			for i := range p {
				p[i] /= sum
			}
			return p
		},
		Weights: func(v int64) rollout.Weights { return rollout.Weights{Version: v} },
	}
}

func TestFake(t *testing.T) {
	Run(t, config())
}

// refusing is a fake engine that lacks some features.
type refusing struct {
	*Fake
	lacks Feature
}

func (r refusing) Check(q *rollout.Request) error {
	if f := Needs(&q.Params); f&r.lacks != 0 {
		return fmt.Errorf("Temperature %v with TopK %d, TopP %v and Stop %q: no", q.Params.Temperature, q.Params.TopK, q.Params.TopP, q.Params.Stop)
	}
	return nil
}

func (r refusing) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	if err := rollout.Validate(reqs, r.Check); err != nil {
		return err
	}
	return r.Fake.Generate(ctx, reqs, emit)
}

func TestFakeThatLacksFeatures(t *testing.T) {
	for _, f := range []Feature{FeatureTemperature, FeatureTruncation | FeatureBoth, FeatureStop, FeatureTopKWithTopP, FeatureTemperature | FeatureTruncation | FeatureBoth | FeatureStop} {
		c := config()
		c.New = func(*testing.T) rollout.Engine { return refusing{fake(), f} }
		c.Lacks = f
		Run(t, c)
	}
}

// What Config.Lacks names must be refused, and nothing else.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		engine rollout.Engine
		lacks  Feature
		want   string
	}{
		{fake(), FeatureStop, "the engine is no rollout.Checker"},
		{refusing{fake(), 0}, FeatureStop, "the engine lacks it, but Check does not refuse it"},
		{refusing{fake(), FeatureTemperature | FeatureStop}, FeatureStop, "Config.Lacks does not say so"},
		{onlyChecks{refusing{fake(), FeatureStop}}, FeatureStop, "Check refuses it, but Generate emits"},
	} {
		config := config()
		config.Lacks = c.lacks
		require.ErrorContains(t, refused(t.Context(), newSuite(&config, c.engine)), c.want)
	}
}

// Where a request has several parameters that the engine lacks, naming one is enough,
// and naming another than it has is not.
func TestRefusalNamesAParameter(t *testing.T) {
	all := FeatureTemperature | FeatureTruncation | FeatureBoth | FeatureStop | FeatureTopKWithTopP
	config := config()
	config.Lacks = all
	first := renaming{refusing{fake(), all}, func(p rollout.Params) string { return used(&p)[0] }}
	require.NoError(t, refused(t.Context(), newSuite(&config, first)))
	other := renaming{first.refusing, func(rollout.Params) string { return "Temperature" }}
	require.ErrorContains(t, refused(t.Context(), newSuite(&config, other)), "the error of Check does not name TopK")
}

// renaming refuses with an error of its own.
type renaming struct {
	refusing
	name func(rollout.Params) string
}

func (r renaming) Check(q *rollout.Request) error {
	if r.refusing.Check(q) != nil {
		return fmt.Errorf("acme: no %s", r.name(q.Params))
	}
	return nil
}

func (r renaming) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	if err := rollout.Validate(reqs, r.Check); err != nil {
		return err
	}
	return r.Fake.Generate(ctx, reqs, emit)
}

// onlyChecks refuses in Check alone.
type onlyChecks struct{ refusing }

func (o onlyChecks) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	return o.Fake.Generate(ctx, reqs, emit)
}

func TestInvalidConfig(t *testing.T) {
	for want, spoil := range map[string]func(*Config){
		"Config.New":            func(c *Config) { c.New = nil },
		"two different prompts": func(c *Config) { c.Prompts[1] = c.Prompts[0] },
		"MaxTokens is -1":       func(c *Config) { c.MaxTokens = -1 },
	} {
		c := config()
		spoil(&c)
		require.ErrorContains(t, c.Validate(), want)
	}
}

// An engine that fails samples, not calls.
func TestFakeFailedSamples(t *testing.T) {
	f := fake()
	f.Logits = func(_, tokens []int32, dst []float32) error {
		if len(tokens) == 2 {
			return errors.New("out of order")
		}
		row(0, dst)
		return nil
	}
	r := rollout.Request{ID: "r", Prompt: []int32{0}, N: 2, Params: rollout.Params{MaxTokens: 3}}
	n := 0
	require.NoError(t, f.Generate(t.Context(), []rollout.Request{r}, func(c rollout.Completion) error {
		require.EqualError(t, c.Err, "out of order")
		require.Equal(t, rollout.Completion{Index: n, Err: c.Err}, c)
		n++
		return nil
	}))
	require.Equal(t, 2, n)
}

// wrong is an engine with a fault, made of a sound one.
type wrong struct {
	*Fake
	generate func(f *Fake, ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error
}

func (w wrong) Generate(ctx context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	return w.generate(w.Fake, ctx, reqs, emit)
}

type (
	ctxt = context.Context
	emit = func(rollout.Completion) error
)

// changed is an engine that changes its completions.
func changed(change func(c *rollout.Completion)) func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
	return func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
		return f.Generate(ctx, reqs, func(c rollout.Completion) error {
			change(&c)
			return e(c)
		})
	}
}

// asked is an engine that changes what it is asked for.
func asked(change func(i int, r *rollout.Request)) func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
	return func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
		reqs = slices.Clone(reqs)
		for i := range reqs {
			change(i, &reqs[i])
		}
		return f.Generate(ctx, reqs, e)
	}
}

// Each fault is found by the check that is there for it.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		check, fault, want string
		generate           func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error
	}{
		{"EachSampleOnce", "emits twice", "sample 0 of request 0 is emitted twice", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
			return f.Generate(ctx, reqs, func(c rollout.Completion) error { return errors.Join(e(c), e(c)) })
		}},
		{"EachSampleOnce", "forgets one", "sample 2 of request 0 is never emitted", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
			return f.Generate(ctx, reqs, func(c rollout.Completion) error {
				if c.Index == 2 {
					return nil
				}
				return e(c)
			})
		}},
		{"EachSampleOnce", "invents one", "sample 8 of request 0 is emitted, which nobody asked for", changed(func(c *rollout.Completion) { c.Index += 8 })},
		{"EachSampleOnce", "emits concurrently", "emit is called while another call of it runs", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
			var all []rollout.Completion
			if err := f.Generate(ctx, reqs, func(c rollout.Completion) error { all = append(all, c); return nil }); err != nil {
				return err
			}
			return concurrently(all, e)
		}},
		{"EachSampleOnce", "fails a sample", "sample 0 of request 0: broken", changed(func(c *rollout.Completion) { c.Err = errors.New("broken") })},
		{"Fields", "another text", "in the text, but its bytes are", changed(func(c *rollout.Completion) { c.Text = strings.ReplaceAll(c.Text, "a", "A") })},
		{"Fields", "no offsets", "but 0 Ends and", changed(func(c *rollout.Completion) { c.Ends = nil })},
		{"Fields", "unit log-probs of one token only", "but 1 LogPUnit", changed(func(c *rollout.Completion) { c.LogPUnit = []float64{-1} })},
		{"Fields", "a log-prob above 0", "log-prob 0 is 0.5", changed(func(c *rollout.Completion) { c.LogP[0] = .5 })},
		{"Fields", "a log-prob that is not a number", "log-prob 0 is NaN", changed(func(c *rollout.Completion) { c.LogP[0] = math.NaN() })},
		{"Fields", "unit log-probs of another temperature", "want the same", changed(func(c *rollout.Completion) { c.LogPUnit[0] -= .1 })},
		{"Fields", "another finish", `Finish is "done", want "stop" or "length"`, changed(func(c *rollout.Completion) { c.Finish = "done" })},
		{"MaxTokens", "one token too many", "tokens, want 1 to 1", asked(func(_ int, r *rollout.Request) { r.Params.MaxTokens++ })},
		{"Greedy", "samples", "two greedy samples of one prompt have", asked(func(_ int, r *rollout.Request) { r.Params.Temperature = 2 })},
		{"Stop", "ignores stop strings", "and with that as stop string", asked(func(_ int, r *rollout.Request) { r.Params.Stop = nil })},
		{"Batching", "streams by place in the batch", "in another order: tokens", asked(func(i int, r *rollout.Request) { r.Stream = [3]uint64{uint64(i)} })},
		{"Distribution", "another temperature", "LogP of id", asked(func(_ int, r *rollout.Request) { r.Params.Temperature += .1 })},
		{"Distribution", "the same stream for all samples", "chi-square of 4000 samples", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
			return f.Generate(ctx, reqs, func(c rollout.Completion) error {
				one := reqs[c.Request]
				one.N = 1
				return f.Generate(ctx, []rollout.Request{one}, func(d rollout.Completion) error {
					d.Request, d.Index = c.Request, c.Index
					return e(d)
				})
			})
		}},
		{"Distribution", "ignores top-k", "but its probability is 0", asked(func(_ int, r *rollout.Request) { r.Params.TopK = 0 })},
		{"InvalidRequests", "checks nothing", "is no error", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error { return nil }},
		{"InvalidRequests", "checks one request after the other", "completions are emitted before the error", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
			for i := range reqs {
				if err := f.Generate(ctx, reqs[i:i+1], e); err != nil {
					return err
				}
			}
			return nil
		}},
		{"InvalidRequests", "does not say which", "the error does not name the request's ID", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
			return errors.New("a request is wrong")
		}},
		{"EmitError", "goes on after an error", "and was called 5000 times", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
			var first error
			err := f.Generate(ctx, reqs, func(c rollout.Completion) error {
				if err := e(c); first == nil {
					first = err
				}
				return nil
			})
			return errors.Join(err, first)
		}},
		{"EmitError", "forgets the error", "Generate returned <nil>", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
			_ = f.Generate(ctx, reqs, e)
			return nil
		}},
		{"CancelledBefore", "ignores the context", "Generate returned <nil>", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
			return f.Generate(context.Background(), reqs, e)
		}},
		{"CancelledWithin", "looks at the context at the end", "all 5000 are emitted", func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
			return errors.Join(f.Generate(context.WithoutCancel(ctx), reqs, e), ctx.Err())
		}},
		{"Versions", "no version", "has versions 0 to 0", changed(func(c *rollout.Completion) { c.FirstVersion, c.LastVersion = 0, 0 })},
	} {
		t.Run(c.check+"/"+c.fault, func(t *testing.T) {
			err := checkNamed(c.check)(t.Context(), newSuite(new(config()), wrong{fake(), c.generate}))
			require.ErrorContains(t, err, c.want)
		})
	}
}

// Engines may send stop strings as JSON, which holds only whole characters, as the stop
// strings of users do.
func TestStopStringsAreText(t *testing.T) {
	text := fake() // writes "aé daé d…" greedily, of "a", "\xc3" and "\xa9 d"
	text.Logits = func(prompt, tokens []int32, dst []float32) error {
		clear(dst)
		dst[[]int32{0, 2, 3}[len(tokens)%3]] = 9
		return nil
	}
	var sent []string
	json := asked(func(_ int, r *rollout.Request) {
		r.Params.Stop = slices.Clone(r.Params.Stop)
		for i, s := range r.Params.Stop {
			r.Params.Stop[i] = strings.ToValidUTF8(s, "\uFFFD")
		}
		sent = append(sent, r.Params.Stop...)
	})
	require.NoError(t, stop(t.Context(), newSuite(new(config()), wrong{text, json})))
	require.Contains(t, sent, "aé")
	// Where no character is whole, bytes have to do.
	require.Equal(t, "\xa9\xc3", straddle(&rollout.Completion{Text: "\xa9\xc3", Ends: []int{0, 1, 2}}))
	require.Equal(t, "日", straddle(&rollout.Completion{Text: "日本", Ends: []int{1, 2, 3, 6}}))
	require.Equal(t, "本x", straddle(&rollout.Completion{Text: "\x97本x", Ends: []int{1, 4, 5}}))
	require.Empty(t, straddle(&rollout.Completion{Text: "日", Ends: []int{0, 3}}))
}

func TestGoroutineLeft(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	s := newSuite(new(config()), wrong{fake(), func(f *Fake, ctx ctxt, reqs []rollout.Request, e emit) error {
		go func() { <-end }()
		return f.Generate(ctx, reqs, e)
	}})
	s.patience = 10 * time.Millisecond
	require.ErrorContains(t, goroutines(t.Context(), s), "goroutines outlive the call of Generate")
}

func checkNamed(name string) func(context.Context, *suite) error {
	for _, c := range checks {
		if c.name == name {
			return c.run
		}
	}
	panic("no check is called " + name)
}

// concurrently emits two completions at once: the second while the first one's
// emit waits in the suite.
func concurrently(all []rollout.Completion, e emit) error {
	for range 1000 { // until the scheduler obliges
		var g sync.WaitGroup
		errs := make([]error, len(all))
		for i := range all {
			g.Go(func() { errs[i] = e(all[i]) })
		}
		g.Wait()
		for _, err := range errs {
			if err != nil && err.Error() == "emit is called while another call of it runs" {
				return err
			}
		}
	}
	return fmt.Errorf("no two calls met")
}

package local_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/backendtest"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

// An error of the backend ends the call that meets it, and the next one works: nobody
// who only computes has to know of tensor.Backend.Sync.
func TestABackendErrorEndsOneCall(t *testing.T) {
	uses := map[string]func(t *testing.T, b tensor.Backend) func() (any, error){
		"LogProber": func(t *testing.T, b tensor.Backend) func() (any, error) {
			l := local.NewLogProber(newDecoder(t, b, 1), 0)
			return func() (any, error) {
				dst := [][]float64{make([]float64, 3)}
				one := batch()
				one.Samples = one.Samples[:1]
				return dst, l.LogProbs(t.Context(), one, dst)
			}
		},
		"Embedder": func(t *testing.T, b tensor.Backend) func() (any, error) {
			encoder, err := model.NewEncoder(b, model.EncoderConfig{Config: alphabetConfig, Classes: 2, Style: model.BERTStyle}, 1)
			require.NoError(t, err)
			e, err := local.NewEmbedder(local.EmbedderConfig{Encoder: encoder, Tokenizer: alphabet{}})
			require.NoError(t, err)
			return func() (any, error) { return e.Embed(t.Context(), []string{"abc"}) }
		},
		"Saliency": func(t *testing.T, b tensor.Backend) func() (any, error) {
			encoder, err := model.NewEncoder(b, model.EncoderConfig{Config: alphabetConfig, Classes: 2, Style: model.BERTStyle}, 1)
			require.NoError(t, err)
			e, err := local.NewEmbedder(local.EmbedderConfig{Encoder: encoder, Tokenizer: alphabet{}})
			require.NoError(t, err)
			return func() (any, error) { return e.Saliency(t.Context(), "ab", "abc") }
		},
		"CrossEncoder": func(t *testing.T, b tensor.Backend) func() (any, error) {
			encoder, err := model.NewEncoder(b, model.EncoderConfig{Config: alphabetConfig, Classes: 2}, 1)
			require.NoError(t, err)
			e, err := local.NewCrossEncoder(local.CrossEncoderConfig{Encoder: encoder, Tokenizer: loadTokenizer(t, rerankerDir)})
			require.NoError(t, err)
			return func() (any, error) { return e.PairLogits(t.Context(), [][]int32{{1, 2, 3}}) }
		},
		"Reranker": func(t *testing.T, b tensor.Backend) func() (any, error) {
			r := newReranker(t, b, local.RerankerConfig{})
			return func() (any, error) { return r.PromptScores(t.Context(), [][]int32{{1, 2, 3}}) }
		},
		"Products": func(t *testing.T, b tensor.Backend) func() (any, error) {
			products := local.Products(b)
			return func() (any, error) {
				dst := make([]float32, 1)
				return dst, products(dst, []float32{1, 2}, []float32{3, 4}, 1, 1, 2)
			}
		},
	}
	boom := errors.New("out of order")
	for name, make := range uses {
		b := backendtest.NewAsync(reference.New())
		use := make(t, b)
		want, err := use()
		require.NoError(t, err, name)
		b.FailAfter(2, boom)
		_, err = use()
		require.ErrorIs(t, err, boom, name)
		got, err := use()
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
}

// A policy whose log-probs met the error of a backward pass has no gradient left, which
// would lack a part.
func TestLogProbsThatMeetAnErrorDropTheGradient(t *testing.T) {
	b := backendtest.NewAsync(reference.New())
	p := newPolicy(t, b, 0)
	_, _, err := p.ForwardBackward(t.Context(), batch(), linear{})
	require.NoError(t, err)
	boom := errors.New("out of order")
	b.FailAfter(0, boom)
	dst := [][]float64{make([]float64, 3)}
	one := batch()
	one.Samples = one.Samples[:1]
	require.ErrorIs(t, p.LogProbs(t.Context(), one, dst), boom)
	info, err := p.OptimStep(t.Context(), rl.OptimOptions{})
	require.NoError(t, err)
	require.Zero(t, info.GradNorm)
}

// short is a device without buffers above a size, nor memory for those that were asked
// for.
type short struct {
	*reference.Backend[float32]
	largest int
	void    map[tensor.Buffer]bool
	err     error
}

func (b *short) fail(n int) {
	if b.err == nil {
		b.err = fmt.Errorf("a buffer of %d elements: %w", n, tensor.ErrOutOfMemory)
	}
}

func (b *short) Alloc(n int) tensor.Buffer {
	buf := b.Backend.Alloc(n)
	if n > b.largest {
		b.void[buf] = true
		b.fail(n)
	}
	return buf
}

func (b *short) StoreCache(kCache, vCache, k, v tensor.Buffer, slots []int32, s tensor.CacheShape) {
	if b.void[kCache] {
		b.fail(kCache.Len())
	}
	b.Backend.StoreCache(kCache, vCache, k, v, slots, s)
}

func (b *short) Read(dst []float32, src tensor.Buffer) error {
	if b.err != nil {
		return b.err
	}
	return b.Backend.Read(dst, src)
}

func (b *short) Err() error { return b.err }

func (b *short) Sync() (err error) {
	err, b.err = b.err, nil
	return err
}

// An engine whose cache found no memory asks for it again.
func TestEngineWithoutMemoryForItsCache(t *testing.T) {
	b := &short{Backend: reference.New(), largest: 1 << 20, void: map[tensor.Buffer]bool{}}
	e := newEngine(t, newDecoder(t, b, 1), local.EngineConfig{})
	r := rollout.Request{Prompt: []int32{1, 5}, N: 2, Params: rollout.Params{MaxTokens: 4}}
	b.largest = 100
	err := e.Generate(t.Context(), []rollout.Request{r}, func(rollout.Completion) error { return nil })
	require.ErrorIs(t, err, tensor.ErrOutOfMemory)
	b.largest = 1 << 20
	generate(t, e, r)
}

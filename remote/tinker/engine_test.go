package tinker_test

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/enginetest"
)

// letters is the table's vocabulary; the last token ends a text.
type letters struct{}

func (letters) Bytes(id int32) []byte {
	if id >= 11 {
		return nil
	}
	return []byte{'a' + byte(id)}
}

func newEngine(t *testing.T, c *tinker.Client) *tinker.Engine {
	e, err := tinker.NewEngine(c, letters{}, tinker.EngineConfig{Model: "table", VocabSize: 12, EOS: []int32{11}})
	require.NoError(t, err)
	return e
}

func TestEngineContract(t *testing.T) {
	s := newServer(t, tinkertest.Options{Pending: 1})
	c := newClient(t, s.URL)
	p := newPolicy(t, c)
	w, err := p.Publish(t.Context())
	require.NoError(t, err)
	enginetest.Run(t, enginetest.Config{
		New:     func(t *testing.T) rollout.Engine { return newEngine(t, c) },
		Prompts: [][]int32{{1, 2, 3}, {4}, {5, 6}},
		Vocab:   letters{},
		Weights: func(version int64) rollout.Weights { w.Version = version; return w },
		First: func(prompt []int32) []float64 {
			var sum float64
			out := make([]float64, 12)
			for v, l := range s.Base().Logits(prompt[len(prompt)-1]) {
				out[v] = math.Exp(l)
				sum += out[v]
			}
			for v := range out {
				out[v] /= sum
			}
			return out
		},
		Lacks: enginetest.FeatureTemperature | enginetest.FeatureBoth,
	})
}

// A model that the server does not list is refused when it is first asked for, although
// the weights to sample from are a policy's.
func TestEngineOfAnotherModel(t *testing.T) {
	c := newClient(t, newServer(t, tinkertest.Options{}).URL)
	e, err := tinker.NewEngine(c, letters{}, tinker.EngineConfig{Model: "typo", VocabSize: 12})
	require.NoError(t, err)
	const want = `tinker: EngineConfig.Model is "typo", but the server has table`
	w, err := newPolicy(t, c).Publish(t.Context())
	require.NoError(t, err)
	require.ErrorContains(t, e.Refresh(t.Context(), w), want)
	r := rollout.Request{ID: "q", Prompt: []int32{1}, N: 1, Params: rollout.Params{Temperature: 1, MaxTokens: 2}}
	require.ErrorContains(t, e.Generate(t.Context(), []rollout.Request{r}, func(rollout.Completion) error { return nil }), want)
}

// Servers recognise a call for samples that is repeated by its number within the sampling
// session (SkyRL before vLLM refuses one that another call had): each call has its own,
// whichever collection it belongs to, and keeps it when its answer is lost.
func TestCallsForSamplesAreNumbered(t *testing.T) {
	b, _ := newBetween(t, newServer(t, tinkertest.Options{}))
	c := newClient(t, lose(t, b, "/asample", 2))
	e := newEngine(t, c)
	collection := func(seed uint64) {
		reqs := make([]rollout.Request, 2)
		for i := range reqs {
			reqs[i] = rollout.Request{Prompt: []int32{1 + int32(i)}, N: 20, Params: rollout.Params{Temperature: 1, MaxTokens: 2}, Stream: [3]uint64{seed, 0, uint64(i)}}
		}
		require.NoError(t, e.Generate(t.Context(), reqs, func(c rollout.Completion) error { return c.Err }))
	}
	collection(1)
	collection(2)
	w, err := newPolicy(t, c).Publish(t.Context())
	require.NoError(t, err)
	require.NoError(t, e.Refresh(t.Context(), w))
	collection(3)

	numbers, sessions := map[string]string{}, map[string]int{}
	for _, body := range b.sent("/asample") {
		var q struct {
			Session string `json:"sampling_session_id"`
			Number  int    `json:"seq_id"`
		}
		require.NoError(t, json.Unmarshal(body, &q))
		sessions[q.Session]++
		key := fmt.Sprint(q.Session, " ", q.Number)
		if before, ok := numbers[key]; ok {
			require.Equal(t, before, string(body), "only a repeated call has a number again")
		}
		numbers[key] = string(body)
	}
	require.Len(t, sessions, 2)
	require.Len(t, numbers, 3*2*2, "two requests of 16 and 4 samples each time")
	require.Len(t, b.sent("/asample"), 3*2*2+1)
}

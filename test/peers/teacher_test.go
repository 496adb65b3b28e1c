//go:build unix

package peers

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// testTop compares a server's most likely tokens with those of the local policy.
func testTop(t *testing.T, w *world, p *peer) {
	e, what := p.engine(t, w), "most likely tokens of given completions"
	if p.top == 0 {
		require.ErrorContains(t, e.CheckTopLogProbs(1), "gives no log-probs of prompts")
		fact(t, p.name, what, "none")
		return
	}
	batch := &rl.Batch{Prompts: w.prompts}
	for _, c := range collect(t, e, w, 6, 8, 24) {
		batch.Samples = append(batch.Samples, rl.Sample{Prompt: c.Request, Tokens: c.Tokens})
	}
	batch.Samples = append(batch.Samples, rl.Sample{}) // nothing to compute
	long := make([]int32, 480)
	for r, i := rand.New(rand.NewPCG(3, 3)), 0; i < len(long); {
		if long[i] = int32(r.IntN(w.tok.VocabSize())); printable(w.tok.Bytes(long[i])) {
			i++
		}
	}
	batch.Prompts = append(batch.Prompts, long[:240]) // and a completion as long
	batch.Samples = append(batch.Samples, rl.Sample{Prompt: len(batch.Prompts) - 1, Tokens: long[240:]})

	size, mine := w.tok.VocabSize(), local.NewLogProber(w.models[0], 0)
	all := rl.NewTops(batch, size)
	require.NoError(t, mine.TopLogProbs(t.Context(), batch, size, all))
	places, same, logp, rest := 0, 0, 0.0, 0.0
	for _, k := range []int{1, 8, p.top} {
		require.NoError(t, e.CheckTopLogProbs(k))
		got, want := rl.NewTops(batch, k), rl.NewTops(batch, k)
		require.NoError(t, e.TopLogProbs(t.Context(), batch, k, got))
		require.NoError(t, mine.TopLogProbs(t.Context(), batch, k, want))
		for i := range batch.Samples {
			for at := range batch.Samples[i].Tokens {
				row := make([]float64, size) // by id
				for j, id := range all[i].IDs[at*size:][:size] {
					row[id] = all[i].LogP[at*(size+1)+j]
				}
				ids, lp := got[i].IDs[at*k:][:k], got[i].LogP[at*(k+1):][:k+1]
				for j, id := range ids {
					places++
					if id == want[i].IDs[at*k+j] {
						same++
					}
					logp = max(logp, abs(lp[j]-row[id]))
					// Another id than ours is one that is as likely.
					require.InDelta(t, want[i].LogP[at*(k+1)+j], row[id], tolerance)
				}
				rest = max(rest, abs(math.Exp(lp[k])-math.Exp(want[i].LogP[at*(k+1)+k])))
			}
		}
	}
	fact(t, p.name, what+fmt.Sprintf(", 1, 8 and %d", p.top), "%d of %d ids, log-probs %.1e, the rest's probability %.1e", same, places, logp, rest)
	require.Less(t, logp, tolerance)
	require.Less(t, rest, tolerance)
	require.Greater(t, float64(same), .999*float64(places)) // others are as likely
	err := e.CheckTopLogProbs(p.top + 1)
	require.ErrorContains(t, err, fmt.Sprintf("%d most likely tokens", p.top+1))
	t.Log(err)
	_, err = rl.NewTrainer(distilling(t, w, e, p.top+1))
	require.ErrorContains(t, err, "Teacher: openai: ", "before a run")
}

// distilling returns the settings of a distillation on the student's samples: of the
// second set of weights from a teacher, with its k most likely tokens.
func distilling(t *testing.T, w *world, teacher rl.LogProber, k int) rl.Config {
	d, err := model.LoadDecoder(w.backend, w.folders[1])
	require.NoError(t, err)
	t.Cleanup(d.Free)
	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: d})
	require.NoError(t, err)
	t.Cleanup(policy.Free)
	engine, err := policy.NewEngine(w.tok, local.EngineConfig{EOS: w.eos})
	require.NoError(t, err)
	var problems []rl.Problem
	for _, p := range w.prompts {
		q := rollout.Request{Prompt: p, N: 16, Params: rollout.Params{Temperature: 1, MaxTokens: 16}}
		problems = append(problems, rl.NewProblem(q, func(context.Context, *rollout.Completion) (float64, error) { return 0, nil }))
	}
	return rl.Config{
		Policy: policy, Engine: engine, Source: &rl.SliceSource{Problems: problems},
		Objective: objective.JSD{Beta: .5}, Teacher: &rl.Teacher{LogProber: teacher, K: k},
		Batching: rl.Batching{Prompts: len(problems)}, LR: rl.Constant{LR: 3e-3}, MaxNorm: 1, Steps: 20, Seed: 5,
	}
}

// distil trains a student. Of each training step it returns the loss, and the
// divergence from the first set of weights, KL(student‖teacher) for each token over the
// whole vocabulary, before the update.
func distil(t *testing.T, w *world, teacher rl.LogProber, k int) (losses, kl []float64) {
	config := distilling(t, w, teacher, k)
	config.OnRollouts = func(_ int64, r *rl.Rollouts) error {
		b, size := r.Batch(), w.tok.VocabSize()
		p, q := rl.NewTops(b, size), rl.NewTops(b, size)
		if err := config.Policy.(*local.Policy).TopLogProbs(t.Context(), b, size, p); err != nil {
			return err
		}
		for i := range p {
			copy(q[i].IDs, p[i].IDs)
		}
		if err := local.NewLogProber(w.models[0], 0).CandidateLogProbs(t.Context(), b, size, q); err != nil {
			return err
		}
		sum, tokens := 0.0, 0
		for i := range p {
			tokens += len(b.Samples[i].Tokens)
			for j, lp := range p[i].LogP {
				if j%(size+1) < size {
					sum += math.Exp(lp) * (lp - q[i].LogP[j])
				}
			}
		}
		kl = append(kl, sum/float64(tokens))
		return nil
	}
	config.Recorder = rl.RecorderFunc(func(_ int64, metrics map[string]float64) error {
		losses = append(losses, metrics["loss"])
		return nil
	})
	trainer, err := rl.NewTrainer(config)
	require.NoError(t, err)
	require.NoError(t, trainer.Run(t.Context()))
	return losses, kl
}

// testDistillation trains with a server for a teacher, and with the same weights here.
func testDistillation(t *testing.T, w *world, p *peer) {
	const k = 64
	losses, kl := distil(t, w, p.engine(t, w), k)
	want, _ := distil(t, w, local.NewLogProber(w.models[0], 0), k)
	most, last := 0.0, len(want)-1
	for i := range want {
		most = max(most, abs(losses[i]-want[i]))
	}
	fact(t, p.name, "on-policy distillation from it, 64 candidates: KL(student‖teacher) in the first and 20th training step", "%.2f and %.2f", kl[0], kl[last])
	fact(t, p.name, "… difference of the loss from that with a local teacher: in the first, in any", "%.1e, %.1e", abs(losses[0]-want[0]), most)
	require.Less(t, abs(losses[0]-want[0]), tolerance)
	require.Less(t, kl[last], kl[0]/2)
}

package local_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// A teacher or a reference keeps the contract, too.
func TestLogProberContract(t *testing.T) {
	for _, backend := range []string{"reference", "asynchronous", "cpu"} {
		p := local.NewLogProber(sharpDecoder(t, backends[backend](t)), 9)
		policytest.RunTopLogProber(t, p, tiny.Vocab, 1e-4)
	}
}

func TestCandidateErrorsNameTheSamples(t *testing.T) {
	p := newPolicy(t, backends["reference"](t), 0)
	b := batch()
	for i := range b.Samples {
		b.Samples[i].Cand = &objective.Candidates{K: 2, IDs: make([]int32, 2*len(b.Samples[i].Tokens))}
		for j := range b.Samples[i].Cand.IDs {
			b.Samples[i].Cand.IDs[j] = int32(j % 2)
		}
	}
	fail := func(want string) {
		t.Helper()
		_, _, err := p.ForwardBackward(t.Context(), b, objective.ForwardKL{})
		require.ErrorContains(t, err, want)
	}
	fail("sample 0: objective: Cand has 0")
	b.Samples[0].Cand.IDs[1] = 0
	fail("samples 0 to 4: model: token id 0 is a candidate of target 0 twice")
	b.Samples[1].Cand.K = 1
	fail("local: sample 1 has 1 candidates at each position")
	b.Samples[1].Cand = nil
	fail("local: sample 1 has no Cand")
	several, _ := parallel(t, reference.New(), reference.New())
	b.Samples[1].Cand, b.Samples[len(b.Samples)-1].Cand = &objective.Candidates{K: 2, IDs: make([]int32, 2*len(b.Samples[1].Tokens))}, nil
	_, _, err := several.ForwardBackward(t.Context(), b, objective.ForwardKL{})
	require.ErrorContains(t, err, fmt.Sprintf("local: sample %d has no Cand", len(b.Samples)-1))
	require.ErrorContains(t, p.TopLogProbs(t.Context(), b, tiny.Vocab+1, rl.NewTops(b, tiny.Vocab+1)), "want 1 to the")
}

// Heads are padded, and not alike: ids beyond the tokenizer's are no candidates, however
// likely they are. Their probability is in the rest.
func TestPaddingIsNoCandidate(t *testing.T) {
	const tokens, k = 32, 4
	b := openCPU(t)
	padded := func(vocab int, seed uint64) *model.Decoder {
		d, err := model.NewDecoder(b, model.Config{Vocab: vocab, Dim: 32, Layers: 1, Heads: 4, KVHeads: 2, FF: 64, MaxSeq: 16}, seed)
		require.NoError(t, err)
		for _, p := range d.Params() {
			if p.Name == "lm_head.weight" {
				v := make([]float32, p.Len())
				require.NoError(t, b.Read(v, p.Value))
				for i := tokens * 32; i < len(v); i++ {
					v[i] *= 50
				}
				b.Write(p.Value, v)
			}
		}
		return d
	}
	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: padded(34, 1)})
	require.NoError(t, err)
	defer policy.Free()
	teacher := local.NewLogProber(padded(40, 2), 0)
	for _, of := range []rl.CandidatesOf{rl.CandidatesTeacher, rl.CandidatesPolicy, rl.CandidatesUnion} {
		x := rl.Teacher{LogProber: teacher, K: k, Candidates: of}
		if of == rl.CandidatesTeacher {
			all := batch()
			require.NoError(t, x.Fill(t.Context(), all, nil, policy, objective.InputCandidates))
			require.Greater(t, slices.Max(all.Samples[0].Cand.IDs), int32(33))
			_, _, err := policy.ForwardBackward(t.Context(), all, objective.ForwardKL{})
			require.ErrorContains(t, err, "want 0 to 33", "what it led to")
		}
		x.Vocab, x.PolicyVocab = sized32{}, sized32{}
		some := batch()
		require.NoError(t, x.Fill(t.Context(), some, nil, policy, objective.InputCandidates))
		for i := range some.Samples {
			c := some.Samples[i].Cand
			require.Less(t, slices.Max(append(c.IDs, 0)), int32(tokens))
			for at := range some.Samples[i].Tokens {
				sum := 0.0
				for _, logp := range c.Teacher[at*(c.K+1):][:c.K+1] {
					sum += math.Exp(logp)
				}
				require.InDelta(t, 1, sum, 1e-4)
			}
		}
		_, _, err := policy.ForwardBackward(t.Context(), some, objective.ForwardKL{})
		require.NoError(t, err)
	}
	require.ErrorContains(t, teacher.CheckTopLogProbs(tokens+1), "want 1 to the 32 tokens")
}

// sized32 is a vocabulary of 32 tokens.
type sized32 struct{}

func (sized32) Bytes(id int32) []byte { return []byte{byte(id)} }
func (sized32) VocabSize() int        { return 32 }

// prompts is a source of problems that have a prompt, and nothing to judge.
type prompts struct{ n int32 }

func (p *prompts) Next(context.Context) (rl.Problem, error) {
	p.n++
	return prompt{1 + p.n%4, 1 + p.n/4%8}, nil
}

func (*prompts) State() ([]byte, error) { return nil, nil }
func (*prompts) Restore([]byte) error   { return nil }

type prompt [2]int32

func (p prompt) Request() (rollout.Request, error) {
	return rollout.Request{Prompt: p[:], N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 6}}, nil
}

func (prompt) Judge(_ context.Context, c *rollout.Completion) error {
	c.Rewards = []float64{0}
	return nil
}

// A student of one layer learns from a teacher of two, on the student's own samples.
// Every objective lowers the divergence per token from the teacher, measured exactly
// on the student's samples, to less than a third.
func TestOnPolicyDistillation(t *testing.T) {
	for name, c := range map[string]struct {
		o     objective.Objective
		of    rl.CandidatesOf
		k     int
		steps int64
	}{
		"reverse KL, the policy's 8 of 32": {objective.ReverseKL{}, rl.CandidatesPolicy, 8, 200},
		"GKD, 8 of either":                 {objective.JSD{Beta: .5}, rl.CandidatesUnion, 8, 200},
		"sampled tokens":                   {objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 1}, 0, 0, 200},
	} {
		t.Run(name, func(t *testing.T) {
			backend := openCPU(t)
			teacher := distilling(t, backend, 2, 3)
			policy, err := local.NewPolicy(local.PolicyConfig{Decoder: distilling(t, backend, 1, 4)})
			require.NoError(t, err)
			defer policy.Free()
			engine, err := policy.NewEngine(letters{}, local.EngineConfig{EOS: []int32{}})
			require.NoError(t, err)
			wise := local.NewLogProber(teacher, 0)
			config := rl.Config{
				Policy: policy, Engine: engine, Source: &prompts{},
				Objective: c.o, Teacher: &rl.Teacher{LogProber: wise, K: c.k, Candidates: c.of},
				Batching: rl.Batching{Prompts: 16}, LR: rl.Constant{LR: 1e-2}, MaxNorm: 1, Steps: c.steps,
			}
			before := fromTeacher(t, engine, policy.LogProber, wise)
			trainer, err := rl.NewTrainer(config)
			require.NoError(t, err)
			require.NoError(t, trainer.Run(t.Context()))
			after := fromTeacher(t, engine, policy.LogProber, wise)
			t.Logf("KL(student‖teacher) per token: %.3f before, %.3f after", before, after)
			require.Greater(t, before, .5)
			require.Less(t, after, before/3)
		})
	}
}

// distilling returns a small decoder with clear preferences.
func distilling(t *testing.T, b tensor.Backend, layers int, seed uint64) *model.Decoder {
	d, err := model.NewDecoder(b, model.Config{Vocab: 32, Dim: 32, Layers: layers, Heads: 4, KVHeads: 2, FF: 64, MaxSeq: 16}, seed)
	require.NoError(t, err)
	for _, p := range d.Params() {
		if p.Name == "lm_head.weight" && layers > 1 {
			v := make([]float32, p.Len())
			require.NoError(t, b.Read(v, p.Value))
			for i := range v {
				v[i] *= 4
			}
			b.Write(p.Value, v)
		}
	}
	return d
}

// fromTeacher is KL(student‖teacher) per token of the student's samples, over the
// whole vocabulary.
func fromTeacher(t *testing.T, e rollout.Engine, student, teacher *local.LogProber) (kl float64) {
	t.Helper()
	var problems []rl.Problem
	for i := range int32(32) {
		problems = append(problems, prompt{1 + i%4, 1 + i/4%8})
	}
	r, err := rl.Collect(t.Context(), e, problems, [2]uint64{99, 0})
	require.NoError(t, err)
	b := r.Batch()
	p, q := rl.NewTops(b, 32), rl.NewTops(b, 32)
	require.NoError(t, student.TopLogProbs(t.Context(), b, 32, p))
	for i := range p {
		copy(q[i].IDs, p[i].IDs)
	}
	require.NoError(t, teacher.CandidateLogProbs(t.Context(), b, 32, q))
	for i := range p {
		for j, lp := range p[i].LogP {
			if j%33 < 32 {
				kl += math.Exp(lp) * (lp - q[i].LogP[j])
			}
		}
	}
	return kl / float64(b.Tokens())
}

package rl_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
)

// wise is a teacher that has an opinion.
func wise() *policytest.TablePolicy {
	p := policytest.NewTablePolicy(vocab, nil, -1)
	p.Randomize(9, 1.5)
	return p
}

// divergence is the mean over the rows of KL(policy‖teacher).
func divergence(policy, teacher *policytest.TablePolicy) (kl float64) {
	b := &rl.Batch{}
	for v := range int32(vocab) {
		b.Prompts = append(b.Prompts, []int32{v})
		b.Samples = append(b.Samples, rl.Sample{Prompt: int(v), Tokens: []int32{0}})
	}
	p, q := rl.NewTops(b, vocab), rl.NewTops(b, vocab)
	if err := policy.TopLogProbs(context.Background(), b, vocab, p); err != nil {
		panic(err)
	}
	for i := range q {
		copy(q[i].IDs, p[i].IDs)
	}
	if err := teacher.CandidateLogProbs(context.Background(), b, vocab, q); err != nil {
		panic(err)
	}
	for i := range p {
		for k := range vocab {
			kl += math.Exp(p[i].LogP[k]) * (p[i].LogP[k] - q[i].LogP[k]) / vocab
		}
	}
	return kl
}

// Every method takes the policy to the teacher. That of sampled tokens alone is noisy;
// those of candidates are not, although they have two of five tokens, and the rest.
func TestOnPolicyDistillation(t *testing.T) {
	for name, c := range map[string]struct {
		o      objective.Objective
		of     rl.CandidatesOf
		k      int
		steps  int64
		lambda float64
		most   float64
	}{
		"forward KL":                       {objective.ForwardKL{}, rl.CandidatesTeacher, 2, 100, 1, 1e-3},
		"reverse KL":                       {objective.ReverseKL{}, rl.CandidatesPolicy, 2, 200, 1, 1e-3},
		"reverse KL, teacher's candidates": {objective.ReverseKL{}, rl.CandidatesTeacher, 4, 200, 1, 1e-3},
		"GKD":                              {objective.JSD{Beta: .5}, rl.CandidatesUnion, 2, 600, .5, 1e-3},
		"GKD, all off-policy":              {objective.JSD{Beta: .1}, rl.CandidatesTeacher, vocab, 600, 0, 1e-2},
		"sampled tokens":                   {objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 1}, 0, 0, 300, 1, .05},
		"sampled tokens, reward to go":     {objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 1, Discount: 1}, 0, 0, 300, 1, .05},
	} {
		t.Run(name, func(t *testing.T) {
			config, p := setup()
			teacher := wise()
			config.Objective, config.Steps, config.Estimator = c.o, c.steps, nil
			config.Source = &rl.SliceSource{Problems: unjudged(problems(8)), Seed: 1}
			if _, ok := c.o.(objective.Distilled); !ok {
				config.LR = rl.Constant{LR: 4}
			}
			config.Teacher = &rl.Teacher{LogProber: teacher, K: c.k, Candidates: c.of}
			if c.lambda < 1 {
				config.Engine = &rl.MixedEngine{Policy: p, Given: teacher, Lambda: c.lambda}
			}
			before := divergence(p, teacher)
			require.Greater(t, before, .3)
			run(t, config)
			// Two of five candidates leave the order of the other three open.
			after := divergence(p, teacher)
			if c.k == 2 && c.of == rl.CandidatesTeacher || c.of == rl.CandidatesPolicy {
				require.Less(t, after, before/3)
				b := &rl.Batch{Prompts: [][]int32{{0}, {1}}, Samples: []rl.Sample{{Tokens: []int32{0}}, {Prompt: 1, Tokens: []int32{0}}}}
				want, have := rl.NewTops(b, 2), rl.NewTops(b, 2)
				require.NoError(t, teacher.TopLogProbs(t.Context(), b, 2, want))
				copy(have[0].IDs, want[0].IDs)
				copy(have[1].IDs, want[1].IDs)
				require.NoError(t, p.CandidateLogProbs(t.Context(), b, 2, have))
				require.InDeltaSlice(t, want[0].LogP, have[0].LogP, .02)
				return
			}
			require.Less(t, after, c.most)
		})
	}
}

// Candidates do not depend on how a mini-batch is divided into passes.
func TestCandidatesWithAccumulation(t *testing.T) {
	var want []float64
	for _, passes := range []int{1, 2} {
		config, p := setup()
		config.Objective, config.Teacher = objective.ReverseKL{}, &rl.Teacher{LogProber: wise(), K: 2, Candidates: rl.CandidatesUnion}
		config.Batching.MiniBatches, config.Batching.Accumulate, config.Batching.Epochs = 2, passes, 2
		run(t, config)
		if want == nil {
			want = logits(p)
		}
		require.InDeltaSlice(t, want, logits(p), 1e-12)
	}
}

// unjudged problems have no reward that anybody could judge.
func unjudged(ps []rl.Problem) (out []rl.Problem) {
	for _, p := range ps {
		out = append(out, unscored{p})
	}
	return out
}

type unscored struct{ rl.Problem }

func (unscored) Judge(_ context.Context, c *rollout.Completion) error {
	c.Rewards = nil
	return nil
}

// A teacher judges the same completions after a prompt of its own.
func TestTeacherWithItsOwnPrompt(t *testing.T) {
	_, p := setup()
	teacher, ctx := wise(), t.Context()
	r, err := rl.Collect(ctx, p, problems(2), [2]uint64{1, 2})
	require.NoError(t, err)
	b := r.Batch()
	own := rl.Teacher{LogProber: teacher, K: 2, Prompt: func(p rl.Problem) ([]int32, error) {
		return []int32{4, (p.(successor).Prompt + 2) % vocab}, nil
	}}
	needs := objective.InputTeacher | objective.InputCandidates
	require.NoError(t, own.Fill(ctx, b, r.Problems, p, needs))
	theirs := &rl.Batch{Temperature: 1, Samples: b.Samples}
	for v := range int32(vocab) {
		theirs.Prompts = append(theirs.Prompts, []int32{(v + 2) % vocab})
	}
	for i := range b.Samples {
		s := &b.Samples[i]
		want := make([][]float64, len(b.Samples))
		for j := range want {
			want[j] = make([]float64, len(b.Samples[j].Tokens))
		}
		require.NoError(t, teacher.LogProbs(ctx, theirs, want))
		require.Equal(t, want[i], s.Teacher)
		require.Equal(t, 2, s.Cand.K)
		tops := rl.NewTops(theirs, 2)
		require.NoError(t, teacher.TopLogProbs(ctx, theirs, 2, tops))
		require.Equal(t, tops[i].IDs, s.Cand.IDs)
		require.Equal(t, tops[i].LogP, s.Cand.Teacher)
	}
	require.ErrorContains(t, own.Fill(ctx, b, nil, p, needs), "needs the problems of 5 prompts, got 0")
	own.Prompt = func(rl.Problem) ([]int32, error) { return nil, nil }
	require.ErrorContains(t, own.Fill(ctx, b, r.Problems, p, needs), "the teacher's prompt of problem 0: it is empty")
	own.Prompt = func(rl.Problem) ([]int32, error) { return nil, errors.New("no criteria") }
	require.ErrorContains(t, own.Fill(ctx, b, r.Problems, p, needs), "no criteria")
	own.K = 0
	require.ErrorContains(t, own.Fill(ctx, b, r.Problems, p, needs), "rl: Teacher.K is 0")
}

// Sequence-level distillation: a policy imitates the best of eight texts of a teacher
// that is right half of the time, and is right more often than the teacher.
func TestSequenceLevelDistillation(t *testing.T) {
	teacher := policytest.NewTablePolicy(vocab, nil, -1)
	for v := range int32(vocab) {
		teacher.Logits(v)[(v+1)%vocab] = 2.2 // .69 for each of two tokens
	}
	r, err := rl.Collect(t.Context(), teacher, problems(8), [2]uint64{5, 0})
	require.NoError(t, err)
	require.InDelta(t, .5, rl.Summarize(r)["reward/0"], .25)
	demos, err := r.Best(1, nil)
	require.NoError(t, err)
	require.Len(t, demos, vocab)
	student := policytest.NewTablePolicy(vocab, nil, -1)
	m := rl.Imitation{Policy: student, Demonstrations: rl.Shuffled(demos, 1), Batch: vocab, Steps: 200, LR: rl.Constant{LR: 5}}
	require.NoError(t, m.Run(t.Context()))
	_, metrics, err := rl.EvaluateProblems(t.Context(), student, problems(64), 5)
	require.NoError(t, err)
	require.Greater(t, metrics["reward/0"], .95)
}

// The union has the teacher's candidates, then the policy's best others.
func TestUnionOfCandidates(t *testing.T) {
	p, teacher := policytest.NewTablePolicy(6, nil, -1), policytest.NewTablePolicy(6, nil, -1)
	copy(p.Logits(1), []float64{5, 4, 3, 2, 1, 0})
	copy(teacher.Logits(1), []float64{0, 3, 1, 1, 1, 4})
	b := &rl.Batch{Prompts: [][]int32{{1}}, Samples: []rl.Sample{{Tokens: []int32{1}}}}
	for of, want := range map[rl.CandidatesOf][]int32{
		rl.CandidatesTeacher: {5, 1}, rl.CandidatesPolicy: {0, 1}, rl.CandidatesUnion: {5, 1, 0, 2},
	} {
		own := rl.Teacher{LogProber: teacher, K: 2, Candidates: of}
		require.NoError(t, own.Fill(t.Context(), b, nil, p, objective.InputCandidates))
		require.Equal(t, want, b.Samples[0].Cand.IDs, of)
		sum := 0.0
		for _, lp := range b.Samples[0].Cand.Teacher {
			sum += math.Exp(lp)
		}
		require.InDelta(t, 1, sum, 1e-12)
		text, err := of.MarshalText()
		require.NoError(t, err)
		var back rl.CandidatesOf
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, of, back)
		require.Equal(t, of.String(), string(text))
	}
	own := rl.Teacher{LogProber: teacher, K: 4, Candidates: rl.CandidatesUnion}
	require.ErrorContains(t, own.Fill(t.Context(), b, nil, p, objective.InputCandidates), "rl: Teacher.K is 4, with Candidates (union) that are 8 at each position: policytest: 8 candidates, want 1 to 6")
}

type spelling string

func (s spelling) Bytes(id int32) []byte { return []byte(s[id : id+1]) }
func (s spelling) VocabSize() int        { return len(s) }

// blind gives log-probs of given tokens alone, and few top candidates.
type blind struct{ rl.LogProber }

type few struct{ *policytest.TablePolicy }

func (few) CheckTopLogProbs(k int) error {
	if k > 2 {
		return fmt.Errorf("%d are too many", k)
	}
	return nil
}

func TestTeachersThatCannotTeachAreRefused(t *testing.T) {
	p := wise()
	for want, c := range map[string]struct {
		o       objective.Objective
		teacher *rl.Teacher
	}{
		"Config.Teacher is missing, but the objective needs teacher log-probs": {objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 1}, nil},
		"Config.Teacher is missing, but the objective needs candidates":        {objective.ForwardKL{}, nil},
		"Config.Teacher is set, but the objective reads nothing of it":         {objective.ImportanceSampling{}, &rl.Teacher{LogProber: p}},
		"Teacher.LogProber is missing":                                         {objective.ForwardKL{}, &rl.Teacher{}},
		"Teacher.K is 0":                                                       {objective.ForwardKL{}, &rl.Teacher{LogProber: p}},
		"Teacher.Candidates is rl.CandidatesOf(7)":                             {objective.ForwardKL{}, &rl.Teacher{LogProber: p, K: 1, Candidates: 7}},
		"(rl_test.blind) is no TopLogProber":                                   {objective.ForwardKL{}, &rl.Teacher{LogProber: blind{p}, K: 1}},
		"(rl_test.blind) is no CandidateProber":                                {objective.ReverseKL{}, &rl.Teacher{LogProber: blind{p}, K: 1, Candidates: rl.CandidatesPolicy}},
		"Teacher.K is 3: 3 are too many":                                       {objective.ForwardKL{}, &rl.Teacher{LogProber: few{p}, K: 3}},
		"Teacher: there are none":                                              {objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 1}, &rl.Teacher{LogProber: mute{p}}},
		"Vocab and Teacher.PolicyVocab need each":                              {objective.ForwardKL{}, &rl.Teacher{LogProber: p, K: 1, Vocab: spelling("abc")}},
		"has 3 tokens, the policy's 4":                                         {objective.ForwardKL{}, &rl.Teacher{LogProber: p, K: 1, Vocab: spelling("abc"), PolicyVocab: spelling("abcd")}},
		`token 2 is "c" in the teacher's tokenizer`:                            {objective.ForwardKL{}, &rl.Teacher{LogProber: p, K: 1, Vocab: spelling("abc"), PolicyVocab: spelling("abd")}},
	} {
		config, policy := setup()
		config.Objective, config.Teacher, config.Engine = c.o, c.teacher, unused{t}
		_, err := rl.NewTrainer(config)
		require.ErrorContains(t, err, want)
		m := rl.Imitation{
			Policy: policy, Demonstrations: rl.Shuffled([]rl.Demonstration{{Prompt: []int32{1}, Tokens: []int32{2}}}, 1),
			Batch: 1, Steps: 1, LR: rl.Constant{LR: 1}, Objective: c.o, Teacher: c.teacher,
		}
		require.Error(t, m.Validate(), want)
	}
	config, policy := setup()
	config.Objective, config.Teacher = objective.ReverseKL{}, &rl.Teacher{LogProber: p, K: 1, Candidates: rl.CandidatesPolicy}
	config.Policy = hidden{policy}
	_, err := rl.NewTrainer(config)
	require.ErrorContains(t, err, "the policy (rl_test.hidden) is no TopLogProber")
	for of, most := range map[rl.CandidatesOf]int{rl.CandidatesPolicy: vocab, rl.CandidatesUnion: vocab / 2} {
		config.Policy = policy
		config.Teacher = &rl.Teacher{LogProber: p, K: most, Candidates: of}
		_, err := rl.NewTrainer(config)
		require.NoError(t, err)
		config.Teacher.K++
		_, err = rl.NewTrainer(config)
		require.ErrorContains(t, err, fmt.Sprintf("Teacher.K is %d, with Candidates (%v) that are ", most+1, of))
	}
	for needs, o := range map[string]objective.Objective{
		"reference log-probs":              objective.KL{Estimator: objective.K3},
		"old log-probs":                    objective.PPO{ClipLow: .2, ClipHigh: .2},
		"old log-probs, teacher log-probs": objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 1},
	} {
		m := rl.Imitation{
			Policy: policy, Demonstrations: rl.Shuffled([]rl.Demonstration{{Prompt: []int32{1}, Tokens: []int32{2}}}, 1),
			Batch: 1, Steps: 1, LR: rl.Constant{LR: 1}, Objective: o, Teacher: &rl.Teacher{LogProber: p},
		}
		require.ErrorContains(t, m.Validate(), "Imitation.Objective needs "+needs+", which demonstrations do not have")
	}
}

// hidden is a policy without its optional interfaces.
type hidden struct{ rl.Policy }

// Collections are the policy's in a share of Lambda, all of one engine, and the same
// ones every time.
func TestMixedEngine(t *testing.T) {
	_, p := setup()
	other := wise()
	m := &rl.MixedEngine{Policy: p, Given: other, Lambda: .25}
	mine := 0
	for step := range uint64(400) {
		reqs := []rollout.Request{{Prompt: []int32{1}, N: 2, Params: rollout.Params{Temperature: 1, MaxTokens: 1}, Stream: [3]uint64{7, step, 0}}}
		reqs = append(reqs, reqs[0])
		reqs[1].Stream[2] = 1
		of := map[bool]int{}
		require.NoError(t, m.Generate(t.Context(), reqs, func(c rollout.Completion) error {
			b := &rl.Batch{Prompts: [][]int32{{1}}, Samples: []rl.Sample{{Tokens: c.Tokens}}, Temperature: 1}
			lp := [][]float64{{0}}
			require.NoError(t, p.LogProbs(t.Context(), b, lp))
			of[lp[0][0] == c.LogP[0]]++
			return nil
		}))
		require.Len(t, of, 1)
		if of[true] > 0 {
			mine++
		}
	}
	require.InDelta(t, 100, mine, 30)

	// An evaluation is the policy's, whoever has the draw of its seed.
	for seed := range uint64(8) {
		r, _, err := rl.EvaluateProblems(t.Context(), m, problems(2), seed)
		require.NoError(t, err)
		own, _, err := rl.EvaluateProblems(t.Context(), p, problems(2), seed)
		require.NoError(t, err)
		require.Equal(t, own.Groups, r.Groups)
	}

	reqs := []rollout.Request{{Prompt: []int32{1}, N: 1, Stream: [3]uint64{1, 2, 3}}, {Prompt: []int32{1}, N: 1, Stream: [3]uint64{1, 3, 3}}}
	require.ErrorContains(t, m.Generate(t.Context(), reqs, nil), "request 1 is of another collection")
	require.ErrorContains(t, m.Refresh(t.Context(), rollout.Weights{}), "is no rollout.Refresher")
	for want, bad := range map[string]*rl.MixedEngine{
		"needs both": {Policy: p}, "Lambda is 1.5": {Policy: p, Given: p, Lambda: 1.5}, "Lambda is NaN": {Policy: p, Given: p, Lambda: math.NaN()},
	} {
		require.ErrorContains(t, bad.Generate(t.Context(), reqs[:1], nil), want)
		require.ErrorContains(t, bad.Check(&reqs[0]), want)
		config, _ := setup()
		config.Engine = bad
		_, err := rl.NewTrainer(config)
		require.ErrorContains(t, err, want)
	}
	for o, refused := range map[objective.Objective]bool{
		objective.PPO{ClipLow: .2, ClipHigh: .2}:                                         true,
		objective.Distilled{Objective: objective.ImportanceSampling{}, Coef: 1}:          true,
		objective.JSD{Beta: .5}:                                                          false,
		objective.Corrected{Objective: objective.PPO{ClipLow: .2, ClipHigh: .2}, Max: 2}: false,
	} {
		config, _ := setup()
		config.Engine, config.Objective = m, o
		if o.Needs()&(objective.InputTeacher|objective.InputCandidates) != 0 {
			config.Teacher = &rl.Teacher{LogProber: other, K: 2}
		}
		_, err := rl.NewTrainer(config)
		if refused {
			require.ErrorContains(t, err, "takes all samples for the policy's", "%#v", o)
		} else {
			require.NoError(t, err, "%#v", o)
		}
	}
	small := strict{p, errors.New("token 400")}
	require.EqualError(t, (&rl.MixedEngine{Policy: p, Given: small}).Check(&reqs[0]), "rl: MixedEngine.Given (which must have the policy's tokenizer): token 400")
	require.EqualError(t, (&rl.MixedEngine{Policy: small, Given: p}).Check(&reqs[0]), "rl: MixedEngine.Policy: token 400")
}

// strict is an engine that refuses every request.
type strict struct {
	rollout.Engine
	err error
}

func (s strict) Check(*rollout.Request) error { return s.err }

// What is probably a mistake is said once, before training.
func TestWarningsAboutTeachers(t *testing.T) {
	const tokenizers, candidates = "Teacher.Vocab and PolicyVocab are not set", "Teacher.Candidates is the teacher's, but"
	p, spelt := wise(), spelling("abcde")
	mixed := objective.Terms{objective.CrossEntropy{}, objective.Scaled{Objective: objective.ReverseKL{}, Factor: .1}}
	for _, c := range []struct {
		o       objective.Objective
		teacher *rl.Teacher
		want    string
	}{
		{nil, nil, ""},
		{objective.ForwardKL{}, &rl.Teacher{LogProber: p, K: 1}, tokenizers},
		{objective.ForwardKL{}, &rl.Teacher{LogProber: p, K: 1, Vocab: spelt, PolicyVocab: spelt}, ""},
		{objective.JSD{}, &rl.Teacher{LogProber: p, K: 1, Vocab: spelt, PolicyVocab: spelt}, ""},
		{objective.JSD{Beta: .5}, &rl.Teacher{LogProber: p, K: 1, Vocab: spelt, PolicyVocab: spelt}, candidates},
		{mixed, &rl.Teacher{LogProber: p, K: 1, Vocab: spelt, PolicyVocab: spelt}, candidates},
		{mixed, &rl.Teacher{LogProber: p, K: 1, Vocab: spelt, PolicyVocab: spelt, Candidates: rl.CandidatesPolicy}, ""},
		{mixed, &rl.Teacher{LogProber: few{p}, K: 1, Vocab: spelt, PolicyVocab: spelt}, candidates},
		{mixed, &rl.Teacher{LogProber: serverlike{p, p}, K: 1, Vocab: spelt, PolicyVocab: spelt}, ""},
	} {
		config, _ := setup()
		var log bytes.Buffer
		config.Objective, config.Teacher, config.Logger = c.o, c.teacher, slog.New(slog.NewTextHandler(&log, nil))
		_, err := rl.NewTrainer(config)
		require.NoError(t, err)
		if c.want == "" {
			require.NotContains(t, log.String(), "WARN")
		} else {
			require.Contains(t, log.String(), c.want)
			require.Equal(t, 1, strings.Count(log.String(), "WARN"))
		}
	}
}

// serverlike is a teacher that gives its own candidates and no others.
type serverlike struct {
	rl.LogProber
	rl.TopLogProber
}

// A problem without a reward is distilled, without a warning; it needs a teacher.
func TestProblemsWithoutRewards(t *testing.T) {
	config, p := setup()
	q, err := problems(8)[0].Request()
	require.NoError(t, err)
	var log bytes.Buffer
	config.Source = &rl.SliceSource{Problems: []rl.Problem{rl.NewProblem(q, nil)}}
	config.Batching, config.Logger = rl.Batching{Prompts: 1}, slog.New(slog.NewTextHandler(&log, nil))
	_, err = rl.NewTrainer(config)
	require.ErrorContains(t, err, "it has no reward")
	teacher := wise()
	config.Objective = objective.ReverseKL{}
	config.Teacher = &rl.Teacher{LogProber: teacher, K: 2, Candidates: rl.CandidatesPolicy, Vocab: spelling("abcde"), PolicyVocab: spelling("abcde")}
	before := logits(p)
	run(t, config)
	require.NotEqual(t, before, logits(p))
	require.Equal(t, 1, strings.Count(log.String(), "WARN"), log.String())
	require.Contains(t, log.String(), "truncated=1", "which completions of this table always are")
}

// Of each group the best by the rules: reward, then the end, then steps, then order.
func TestBest(t *testing.T) {
	completion := func(i int, reward float64, verdicts ...rollout.Verdict) rollout.Completion {
		c := rollout.Completion{Index: i, Tokens: []int32{int32(i)}, Rewards: []float64{reward}, Finish: rollout.FinishStop}
		for _, v := range verdicts {
			c.Steps = append(c.Steps, rollout.Step{Verdict: v})
		}
		return c
	}
	right, wrong, broken := rollout.VerdictCorrect, rollout.VerdictIncorrect, rollout.VerdictBroken
	truncated := completion(4, 1, right, right)
	truncated.Finish = rollout.FinishLength
	r := &rl.Rollouts{
		Problems: problems(1)[:3],
		Requests: []rollout.Request{{Prompt: []int32{10}}, {Prompt: []int32{11}}, {Prompt: []int32{12}}},
		Groups: []rollout.Group{
			{completion(0, .5), truncated, completion(1, 1, right, wrong), completion(2, 1, right, right), completion(3, 1, right, right)},
			{completion(0, math.NaN()), completion(1, .4)},
			{completion(0, .6, broken, wrong), completion(1, .6, wrong, rollout.VerdictUnknown)},
		},
	}
	demos, err := r.Best(.5, nil)
	require.NoError(t, err)
	require.Equal(t, []rl.Demonstration{{Prompt: []int32{10}, Tokens: []int32{2}}, {Prompt: []int32{12}, Tokens: []int32{1}}}, demos)
	demos, err = r.Best(.7, func(p rl.Problem, c *rollout.Completion) (rl.Demonstration, error) {
		return rl.Demonstration{Prompt: []int32{p.(successor).Prompt, 99}, Tokens: []int32{c.Tokens[0] + 100}}, nil
	})
	require.NoError(t, err)
	require.Equal(t, []rl.Demonstration{{Prompt: []int32{0, 99}, Tokens: []int32{102}}}, demos)
	_, err = r.Best(0, func(rl.Problem, *rollout.Completion) (rl.Demonstration, error) {
		return rl.Demonstration{}, errors.New("no")
	})
	require.ErrorContains(t, err, "rl: encoding sample 2 of request 0: no")

	// Nobody judged: an error, or with -Inf the best of each by the other rules.
	nobody := &rl.Rollouts{Problems: problems(1)[:2], Requests: r.Requests[:2], Groups: []rollout.Group{
		{completion(0, math.NaN(), wrong), completion(1, math.NaN())}, {{Tokens: []int32{7}}},
	}}
	_, err = nobody.Best(0, nil)
	require.ErrorContains(t, err, "rl: the best of 3 completions: none has a reward of at least 0")
	demos, err = nobody.Best(math.Inf(-1), nil)
	require.NoError(t, err)
	require.Equal(t, []rl.Demonstration{{Prompt: []int32{10}, Tokens: []int32{1}}, {Prompt: []int32{11}, Tokens: []int32{7}}}, demos)
	demos, err = r.Best(math.Inf(-1), nil)
	require.NoError(t, err)
	require.Equal(t, []int32{1}, demos[1].Tokens) // .4 before NaN
	demos, err = (&rl.Rollouts{}).Best(1, nil)
	require.NoError(t, err)
	require.Empty(t, demos)
}

package main

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/relevance/baseline"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// interval is a 95% bootstrap interval.
type interval [2]float64

// scores are the numbers of one model on one test set. Pointers are nil where
// a number does not exist: a classifier has no steps.
type scores struct {
	Examples       int                `json:"examples"`
	Accuracy       float64            `json:"accuracy"`
	BinaryAccuracy float64            `json:"binary_accuracy"`
	MacroF1        float64            `json:"macro_f1"`
	QWK            *float64           `json:"qwk"` // null if every label said is the same
	StepAccuracy   map[string]float64 `json:"step_accuracy,omitempty"`
	// MeanStepAccuracy is the mean over the steps before the label.
	MeanStepAccuracy     *float64 `json:"mean_step_accuracy,omitempty"`
	RightAnswerWrongStep *float64 `json:"right_answer_wrong_step,omitempty"`
	// Unparsable is the share of completions without a readable label. They
	// are wrong in the accuracies, missed in F1, and left out of QWK.
	Unparsable *float64 `json:"unparsable,omitempty"`
	// Intervals holds 95% percentile bootstrap intervals, resampled by query.
	Intervals map[string]interval `json:"intervals"`
	// TokensPerSecond counts sampled tokens, or for a classifier input tokens.
	TokensPerSecond float64 `json:"tokens_per_second"`
}

// outcome is what a model said about one example.
type outcome struct {
	eval.Pair           // of label indices; Pred is -1 if unparsable
	steps     []float64 // per step 1, 0 or NaN (no truth)
	query     string
}

// judgeSet lets the policy answer a test set greedily.
func judgeSet(ctx context.Context, src *rows.Source, t *task.Task[rows.Example], e rollout.Engine, maxTokens int, set rows.TestSet) (*scores, error) {
	greedy, err := t.WithSampling(1, rollout.Params{MaxTokens: maxTokens})
	if err != nil {
		return nil, err
	}
	start, tokens := time.Now(), 0
	var all []outcome
	const chunk = 256
	for from := 0; from < len(set.Examples); from += chunk {
		examples := set.Examples[from:min(from+chunk, len(set.Examples))]
		problems := make([]rl.Problem, len(examples))
		for i, ex := range examples {
			problems[i] = greedy.Bind(ex)
		}
		r, _, err := rl.EvaluateProblems(ctx, e, problems, 0)
		if err != nil {
			return nil, err
		}
		if r.Failed > 0 {
			return nil, r.FirstFailure
		}
		pairs, err := r.Pairs(src.Labels, func(p rl.Problem) string {
			e := p.(*task.Bound[rows.Example]).Example()
			return e.Label()
		})
		if err != nil {
			return nil, err
		}
		for i := range examples {
			c := &r.Groups[i][0]
			tokens += len(c.Tokens)
			o := outcome{Pair: pairs[i], query: examples[i].Query}
			for _, step := range src.Steps {
				o.steps = append(o.steps, stepVerdict(c, step.Name))
			}
			all = append(all, o)
		}
	}
	s := score(src, all, true)
	s.TokensPerSecond = float64(tokens) / time.Since(start).Seconds()
	return s, nil
}

// stepVerdict is 1 for a right step, 0 for a wrong one or one that is broken
// anywhere, NaN for one that nobody can judge.
func stepVerdict(c *rollout.Completion, name string) float64 {
	v := math.NaN()
	for _, s := range c.Steps {
		if s.Name != name {
			continue
		}
		switch s.Verdict {
		case rollout.VerdictIncorrect, rollout.VerdictBroken:
			return 0
		case rollout.VerdictCorrect:
			v = 1
		}
	}
	return v
}

// metric is a number of a list of outcomes; NaN where it is undefined.
type metric func([]outcome) float64

// score computes all numbers of a model's outcomes with their intervals.
func score(src *rows.Source, all []outcome, steps bool) *scores {
	o := eval.BootstrapOptions{Replicates: 1000, Seed: bootstrapStream}
	for i := range all {
		o.Clusters = append(o.Clusters, all[i].query)
	}
	s := &scores{Examples: len(all), Intervals: map[string]interval{}}
	measure := func(name string, m metric) float64 {
		b := eval.Bootstrap(all, m, o)
		if !math.IsNaN(b.Low) && !math.IsNaN(b.High) {
			s.Intervals[name] = interval{b.Low, b.High}
		}
		return b.Estimate
	}
	cut := src.LabelIndex(src.Relevant)
	s.Accuracy = measure("accuracy", share(func(o *outcome) bool { return o.Pred == o.Gold }))
	s.BinaryAccuracy = measure("binary_accuracy", share(func(o *outcome) bool {
		return o.Pred >= 0 && (o.Pred >= cut) == (o.Gold >= cut)
	}))
	labels := make([]int, len(src.Labels))
	for i := range labels {
		labels[i] = i
	}
	s.MacroF1 = measure("macro_f1", func(all []outcome) float64 { return eval.MacroF1(pairs(all, false), labels) })
	if qwk := measure("qwk", func(all []outcome) float64 { return eval.QuadraticKappa(pairs(all, true)) }); !math.IsNaN(qwk) {
		s.QWK = &qwk
	}
	if !steps {
		return s
	}
	unparsable := share(func(o *outcome) bool { return o.Pred < 0 })(all)
	s.Unparsable = &unparsable
	s.StepAccuracy = map[string]float64{}
	for k, step := range src.Steps {
		if v := measure("step_accuracy/"+step.Name, stepMetric(k)); !math.IsNaN(v) {
			s.StepAccuracy[step.Name] = v
		}
	}
	inner := len(src.Steps) - 1
	mean := measure("mean_step_accuracy", func(all []outcome) float64 {
		sum := 0.0
		for k := range inner {
			sum += stepMetric(k)(all)
		}
		return sum / float64(inner)
	})
	s.MeanStepAccuracy = &mean
	wrong := measure("right_answer_wrong_step", share(func(o *outcome) bool {
		if o.Pred != o.Gold {
			return false
		}
		for _, v := range o.steps {
			if v == 0 {
				return true
			}
		}
		return false
	}))
	s.RightAnswerWrongStep = &wrong
	return s
}

func share(is func(*outcome) bool) metric {
	return func(all []outcome) float64 {
		n := 0
		for i := range all {
			if is(&all[i]) {
				n++
			}
		}
		return float64(n) / float64(len(all))
	}
}

// stepMetric is the share of right answers in step k where there is a truth.
func stepMetric(k int) metric {
	return func(all []outcome) float64 {
		right, n := 0.0, 0.0
		for i := range all {
			if v := all[i].steps[k]; !math.IsNaN(v) {
				right, n = right+v, n+1
			}
		}
		return right / n
	}
}

func pairs(all []outcome, parsedOnly bool) []eval.Pair {
	out := make([]eval.Pair, 0, len(all))
	for i := range all {
		if all[i].Pred >= 0 || !parsedOnly {
			out = append(out, all[i].Pair)
		}
	}
	return out
}

// evaluatePolicy judges all test sets with the policy that an engine samples
// from.
func (p *pipeline) evaluatePolicy(ctx context.Context, engine rollout.Engine, r *stageResult) error {
	r.Tests = map[string]*scores{}
	for _, set := range p.src.Tests {
		s, err := judgeSet(ctx, p.src, p.task, engine, p.s.MaxTokens, set)
		if err != nil {
			return err
		}
		r.Tests[set.Name] = s
	}
	return nil
}

// evaluateStudent classifies all test sets with the student.
func (p *pipeline) evaluateStudent(ctx context.Context, s *local.Student, r *stageResult) error {
	r.Tests = map[string]*scores{}
	for _, set := range p.src.Tests {
		start, tokens := time.Now(), 0
		texts := make([]string, len(set.Examples))
		for i, e := range set.Examples {
			texts[i] = p.src.Input(e)
		}
		encode := func(text string) []int32 {
			ids := p.studentTokens(text)
			tokens += len(ids)
			return ids
		}
		probs, err := s.Probs(ctx, encode, texts...)
		if err != nil {
			return err
		}
		seconds := time.Since(start).Seconds()
		all := make([]outcome, len(texts))
		for i, e := range set.Examples {
			said := slices.Index(probs[i], slices.Max(probs[i]))
			all[i] = outcome{Pair: eval.Pair{Gold: p.src.LabelIndex(e.Label()), Pred: said}, query: e.Query}
		}
		sc := score(p.src, all, false)
		sc.TokensPerSecond = float64(tokens) / seconds
		r.Tests[set.Name] = sc
	}
	return nil
}

// baseline fits logistic regression on bags of words: what the label's
// surface gives away.
func (p *pipeline) baseline(ctx context.Context) (*stageResult, error) {
	start := time.Now()
	train := make([]rows.Example, p.s.BaselineSize)
	for i := range train {
		train[i] = p.src.Train(i)
	}
	c, err := baseline.Train(train, p.src.Labels, baseline.BagOfWords, 1e-3)
	if err != nil {
		return nil, err
	}
	r := &stageResult{Tests: map[string]*scores{}}
	for _, set := range p.src.Tests {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		all := make([]outcome, len(set.Examples))
		for i, e := range set.Examples {
			all[i] = outcome{Pair: eval.Pair{Gold: p.src.LabelIndex(e.Label()), Pred: p.src.LabelIndex(c.Predict(e))}, query: e.Query}
		}
		r.Tests[set.Name] = score(p.src, all, false)
	}
	r.Seconds = time.Since(start).Seconds()
	return r, nil
}

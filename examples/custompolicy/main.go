// Command custompolicy trains a custom policy, a table of logits, on a task of three
// steps: do the topics of note and query match, do their places, and so is the note
// relevant? It uses outcome-only credit, then Stepwise Advantage Masking.
//
// The table's label does not depend on its other steps, so the outcome reward teaches
// them nothing. The mask does, but once every label is right only if it fills groups.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"math/rand/v2"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/task"
)

// example is a query and a note that match in topic (bit 1) and place (bit 0).
type example int32

var answers = []string{"no", "yes"}

// truth is the true answer of each step; the label is "yes" if both match.
func (e example) truth(step int) string {
	return answers[[]int32{int32(e) >> 1, int32(e) & 1, int32(e) / 3}[step]]
}

// The policy writes one token per step, a whole boxed answer. Its table holds
// logits for every prompt (one token, 0 to 3) and step.
const prompts, steps, vocab = 4, 3, 2

type table struct {
	w, grad [prompts][steps][vocab]float64
}

func (p *table) probs(prompt int32, step int) [vocab]float64 {
	no, yes := math.Exp(p.w[prompt][step][0]), math.Exp(p.w[prompt][step][1])
	return [vocab]float64{no / (no + yes), yes / (no + yes)}
}

// LogProbs, ForwardBackward, OptimStep, Save and Load make the table an rl.Policy. It
// keeps no checkpoints and supports no clipping; policytest.TablePolicy does it all.
func (p *table) LogProbs(_ context.Context, b *rl.Batch, dst [][]float64) error {
	for i, s := range b.Samples {
		for t, token := range s.Tokens {
			dst[i][t] = math.Log(p.probs(b.Prompts[s.Prompt][0], t)[token])
		}
	}
	return nil
}

func (p *table) ForwardBackward(ctx context.Context, b *rl.Batch, o objective.Objective) (float64, objective.Metrics, error) {
	return rl.TwoPass(ctx, p, b, o, func(_ context.Context, b *rl.Batch) error {
		for _, s := range b.Samples {
			prompt := b.Prompts[s.Prompt][0]
			for t, token := range s.Tokens {
				p.grad[prompt][t][token] += s.Grad[t]
				for v, q := range p.probs(prompt, t) {
					p.grad[prompt][t][v] -= s.Grad[t] * q
				}
			}
		}
		return nil
	})
}

func (p *table) OptimStep(_ context.Context, o rl.OptimOptions) (rl.OptimInfo, error) {
	for i := range prompts * steps {
		for v := range vocab {
			p.w[i/steps][i%steps][v] -= o.LR * p.grad[i/steps][i%steps][v]
		}
	}
	p.grad = [prompts][steps][vocab]float64{}
	return rl.OptimInfo{}, nil
}

func (p *table) Save(context.Context, string) (string, error) { return "", nil }
func (p *table) Load(context.Context, string) error           { return nil }
func (p *table) Supports() rl.Capabilities                    { return 0 }

// Generate makes it a rollout.Engine, too.
func (p *table) Generate(_ context.Context, reqs []rollout.Request, emit func(rollout.Completion) error) error {
	for r, q := range reqs {
		for n := range q.N {
			rng := rand.New(rand.NewPCG(q.Stream[1], q.Stream[2]<<32|uint64(n)))
			c := rollout.Completion{Request: r, Index: n, Finish: rollout.FinishStop}
			for k := range steps {
				pr := p.probs(q.Prompt[0], k)
				token := int32(rng.Float64() + pr[1]) // 1 with probability pr[1]
				c.Tokens, c.LogP = append(c.Tokens, token), append(c.LogP, math.Log(pr[token]))
				c.Text += `\boxed{` + answers[token] + `}`
				c.Ends = append(c.Ends, len(c.Text))
			}
			if err := emit(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func main() {
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	d := task.Definition[example]{
		Input:     func(e example) string { return fmt.Sprint(e) },
		Syntax:    prompt.Boxed{},
		Encode:    func(_ *prompt.Template[example], e example) ([]int32, error) { return []int32{int32(e)}, nil },
		GroupSize: 8,
		Params:    rollout.Params{Temperature: 1, MaxTokens: steps},
	}
	for k, name := range []string{"topic", "place", "label"} {
		rule := reward.ExactLabel(func(e example) string { return e.truth(k) })
		d.Steps = append(d.Steps, task.Step[example]{Name: name, Answers: answers, Rule: rule})
		d.Outcomes = []task.Outcome[example]{{Name: "label", Rule: rule}} // the last step's
	}
	t := must(task.New(d))
	var problems []rl.Problem
	for e := range example(prompts) {
		problems = append(problems, t.Bind(e))
	}
	grpo := advantage.GRPO{Epsilon: 1e-4}
	for i, credit := range []sam.Credit{sam.Outcome{}, sam.Mask{}, sam.Mask{Fill: grpo}} {
		p := &table{}
		trainer := must(rl.NewTrainer(rl.Config{
			Policy: p, Engine: p, Source: &rl.SliceSource{Problems: problems},
			Estimator: advantage.PerGroup(grpo), Credit: credit,
			Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.28}, Aggregation: objective.TokenMean{},
			Batching: rl.Batching{Prompts: 4}, LR: rl.Constant{LR: 4}, Steps: 100,
		}))
		must(0, trainer.Run(context.Background()))
		r := must(rl.Collect(context.Background(), p, problems, [2]uint64{1}))
		m := rl.Summarize(r)
		fmt.Printf("%-12s label %.2f  topic step %.2f  place step %.2f\n", []string{"outcome", "mask", "mask, filled"}[i], m["reward/label"], m["step/topic/correct"], m["step/place/correct"])
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

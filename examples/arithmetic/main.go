// Command arithmetic trains a small model to add numbers in steps. Every step is verified
// by calculation, so nothing has to be labelled: the rules are the whole supervision of
// the reinforcement learning. The model first imitates a teacher that slips in one step
// of seven and then often looks the answer up, so that many right answers have wrong
// steps before them.
//
//	go run ./examples/arithmetic
//	go run ./examples/arithmetic -credit outcome -steps 3
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"

	"github.com/stepwise-rl/stepwise/examples/internal/arithmetic"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/task"
)

// credits are the step credits to choose from.
var credits = map[string]sam.Credit{"outcome": sam.Outcome{}, "mask": sam.Mask{}}

// config is the command line.
type config struct {
	steps, warmup, updates int
	credit                 string
	seed                   uint64
}

// train learns and prints how right answers and steps are before and after.
func train(ctx context.Context, w io.Writer, c config) error {
	credit, ok := credits[c.credit]
	if !ok || c.steps < 2 || c.warmup < 1 || c.updates < 1 {
		return fmt.Errorf("credit is %q, steps %d, warmup %d and updates %d, want outcome or mask, at least 2 steps, and at least 1 of each of the others", c.credit, c.steps, c.warmup, c.updates)
	}
	const end = "<|end|>"
	d := arithmetic.Definition(c.steps)
	template := d.Template()
	teacher := arithmetic.Teacher{Slip: .15, Glance: .5}
	write := func(i int) (arithmetic.Sum, string) {
		s := arithmetic.Example(c.seed, i, c.steps)
		return s, must(template.Write(teacher.Trace(s, rand.New(rand.NewPCG(c.seed, uint64(i))))))
	}
	tok := must(tokenizer.Train(func(yield func(string) bool) {
		for i := range 500 {
			s, text := write(i)
			if !yield(template.Render(s)) || !yield(text) {
				return
			}
		}
	}, tokenizer.TrainOptions{VocabSize: 300, Special: []string{end}, Added: template.Marks()}))
	endID, _ := tok.ID(end)
	d.Encode = task.Plain[arithmetic.Sum](tok.EncodeOrdinary)
	d.GroupSize, d.Params = 8, rollout.Params{Temperature: 1, MaxTokens: 24 * c.steps}
	sampled := must(task.New(d))
	greedy := must(sampled.WithSampling(1, rollout.Params{MaxTokens: 24 * c.steps}))

	decoder := must(model.NewDecoder(must(cpu.New(cpu.Options{})), model.Config{
		Vocab: tok.VocabSize(), Dim: 64, Layers: 3, Heads: 4, KVHeads: 4, FF: 176, MaxSeq: 64 + 32*c.steps, TieEmbeddings: true, QKNorm: true,
	}, c.seed))
	must(0, decoder.SetEOS(endID))
	policy := must(local.NewPolicy(local.PolicyConfig{Decoder: decoder}))
	defer policy.Free()
	engine := must(policy.NewEngine(tok, local.EngineConfig{}))
	bar := progress.New(w, int64(c.warmup), "loss")
	warmup := rl.Imitation{
		Policy: policy, End: []int32{endID}, Batch: 16, Steps: c.warmup, MaxNorm: 1, Recorder: bar,
		LR: rl.WarmupCosine{LR: 3e-3, Warmup: int64(c.warmup / 20), Total: int64(c.warmup)},
		Demonstrations: func(i int) (rl.Demonstration, error) {
			s, text := write(i)
			q, err := sampled.Bind(s).Request()
			return rl.Demonstration{Prompt: q.Prompt, Tokens: tok.EncodeExcept(text, tok.Markup(text, true))}, err
		},
	}
	err := warmup.Run(ctx)
	bar.Close()
	if err != nil {
		return err
	}
	var test, prompts []rl.Problem
	for i := range 400 {
		test = append(test, greedy.Bind(arithmetic.Example(c.seed+1, i, c.steps)))
	}
	evaluate := func(when string) {
		_, m, err := rl.EvaluateProblems(ctx, engine, test, c.seed)
		must(0, err)
		fmt.Fprintf(w, "%s: right sums %.2f  right first steps %.2f  right with a wrong step %.2f\n",
			when, m["reward/sum"], m["step/sum 1/correct"], m["right_answer_wrong_step"])
	}
	evaluate("after the warm-up")

	const perStep = 16
	for i := range c.updates * perStep {
		prompts = append(prompts, sampled.Bind(arithmetic.Example(c.seed+2, i, c.steps)))
	}
	bar = progress.New(w, int64(c.updates), "reward/sum", "right_answer_wrong_step")
	defer bar.Close()
	trainer := must(rl.NewTrainer(rl.Config{
		Policy: policy, Engine: engine, Source: &rl.SliceSource{Problems: prompts, Seed: c.seed}, Credit: credit,
		Batching: rl.Batching{Prompts: perStep}, LR: rl.Constant{LR: 3e-4}, MaxNorm: 1, Seed: c.seed, Steps: int64(c.updates), Recorder: bar, Logger: slog.Default(),
	}))
	if err := trainer.Run(ctx); err != nil {
		return err
	}
	bar.Close()
	evaluate("after reinforcement learning, " + c.credit)
	return nil
}

func main() {
	var c config
	flag.IntVar(&c.steps, "steps", 4, "additions, a reasoning step each")
	flag.IntVar(&c.warmup, "warmup", 1200, "training steps of the warm-up")
	flag.IntVar(&c.updates, "updates", 100, "training steps of the reinforcement learning")
	flag.StringVar(&c.credit, "credit", "mask", "step credit: outcome or mask")
	flag.Uint64Var(&c.seed, "seed", 1, "seed of everything random")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := train(ctx, os.Stdout, c); err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

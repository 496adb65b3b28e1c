// Command grpo trains a model in Hugging Face's layout by GRPO and saves it:
//
//	go run ./examples/grpo FOLDER   # without a folder, a tiny random model
package main

import (
	"context"
	"encoding/json"
	"log"
	"log/slog"
	"os"
	"strings"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/chat/jinja"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/record/progress"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
)

func main() {
	ctx, data, out := context.Background(), "examples/grpo/data.jsonl", "runs/grpo"
	dir, lr := modelFolder()
	tok := must(tokenizer.Load(dir + "/tokenizer.json"))
	template := must(jinja.FromConfig(must(chat.ReadConfig(dir)), "default", jinja.Options{}))
	var problems []rl.Problem
	for lines := json.NewDecoder(must(os.Open(data))); lines.More(); {
		var row struct{ Prompt, Answer string }
		if must(0, lines.Decode(&row)); row.Prompt == "" || row.Answer == "" {
			log.Fatalf("%s: row %d has no prompt or no answer", data, len(problems)+1)
		}
		ids := must(chat.EncodeMessages(ctx, template, tok, []chat.Message{{Role: "user", Content: row.Prompt}}, chat.Options{Generate: true}))
		request := rollout.Request{ID: row.Prompt, Prompt: ids, N: 8, Params: rollout.Params{Temperature: 1, MaxTokens: 32}}
		problems = append(problems, rl.NewProblem(request, func(_ context.Context, c *rollout.Completion) (float64, error) {
			return float64(min(strings.Count(c.Text, row.Answer), 1)), nil // 1 if the answer is there
		}))
	}
	decoder := must(model.LoadDecoder(must(cpu.New(cpu.Options{})), dir))
	policy := must(local.NewPolicy(local.PolicyConfig{Decoder: decoder}))
	generation := must(model.ReadGeneration(dir))
	trainer := must(rl.NewTrainer(rl.Config{ // nil settings are GRPO's
		Policy: policy, Engine: must(policy.NewEngine(tok, local.EngineConfig{})),
		Source: &rl.SliceSource{Problems: problems}, Batching: rl.Batching{Prompts: 8},
		LR: rl.Constant{LR: lr}, MaxNorm: 1, Steps: 50, Recorder: progress.New(os.Stderr, 50), Logger: slog.Default(),
	}))
	must(0, trainer.Run(ctx))
	must(0, decoder.Export(out, model.ExportOptions{Generation: &generation, TokenizerFrom: dir}))
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

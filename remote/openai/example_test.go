package openai_test

import (
	"context"
	"fmt"
	"log"
	"maps"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/openai"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Train here, sample there: two vLLM servers as the engine of a training, a third one
// with frozen weights as its reference policy.
func Example() {
	ctx := context.Background()
	tok, err := tokenizer.Load("qwen3/tokenizer.json")
	if err != nil {
		log.Fatal(err)
	}
	server := func(url string) openai.Server {
		return openai.Server{
			Endpoint: remote.Endpoint{URL: url, Key: remote.Key{Env: "VLLM_API_KEY"}, CAFile: "ca.pem"},
			Dialect:  openai.DialectVLLM,
		}
	}
	eos := []int32{151645}
	engine, err := openai.New(ctx, openai.Config{
		Servers: []openai.Server{server("https://rollout-0:8000"), server("https://rollout-1:8000")},
		Vocab:   tok, EOS: eos,
	})
	if err != nil {
		log.Fatal(err) // names the server, and what it lacks
	}
	defer engine.Close()
	reference, err := openai.New(ctx, openai.Config{
		Servers: []openai.Server{server("https://reference-0:8000")},
		Vocab:   tok, EOS: eos,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer reference.Close()

	// The policy has to publish what the servers can load:
	//
	//	local.NewExporter(policy, local.ExporterConfig{
	//		Form: rollout.FormFolder, Dir: "/shared/weights", Model: "qwen3", Backend: backend,
	//	})
	var (
		policy   rl.Policy
		source   rl.Source   // of problems
		recorder rl.Recorder // of the run
	)
	trainer, err := rl.NewTrainer(rl.Config{
		Policy:    policy,
		Engine:    engine,
		Reference: reference,
		RewardKL:  &objective.RewardKL{Estimator: objective.K1, Beta: 0.01},
		Source:    source,
		Batching:  rl.Batching{Prompts: 64},
		LR:        rl.Constant{LR: 1e-6},
		Steps:     200,
		Recorder: rl.RecorderFunc(func(step int64, metrics map[string]float64) error {
			maps.Copy(metrics, engine.Metrics())
			return recorder.Record(step, metrics)
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := trainer.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

// An engine by itself: samples, failed ones included, and new weights.
func ExampleEngine_Generate() {
	ctx := context.Background()
	var engine *openai.Engine // of openai.New
	reqs := []rollout.Request{{
		ID: "q17", Prompt: []int32{9906, 1917}, N: 8,
		Params: rollout.Params{Temperature: 1, MaxTokens: 256},
		Stream: [3]uint64{1, 0, 17},
	}}
	err := engine.Generate(ctx, reqs, func(c rollout.Completion) error {
		if c.Err != nil {
			fmt.Println("lost:", c.Err)
			return nil
		}
		fmt.Println(c.Text, c.LogP, c.LastVersion)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	err = engine.Refresh(ctx, rollout.Weights{Version: 3, Form: rollout.FormFolder, Ref: "/shared/run/weights/v3"})
	if err != nil {
		log.Fatal(err) // no server is left
	}
}

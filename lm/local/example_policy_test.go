package local_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rollout"
)

// Supervised learning: a policy imitates two completions of a prompt, and then
// samples one. Reinforcement learning differs in the batch and the objective
// only.
func ExamplePolicy() {
	ctx := context.Background()
	decoder, err := model.NewDecoder(reference.New(), model.Config{
		Vocab: 8, Dim: 16, Layers: 1, Heads: 2, KVHeads: 1, FF: 32, MaxSeq: 16,
	}, 1)
	if err != nil {
		panic(err)
	}
	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: decoder})
	if err != nil {
		panic(err)
	}
	defer policy.Free() // the engine and the decoder, too
	engine, err := policy.NewEngine(letters{}, local.EngineConfig{EOS: []int32{0}})
	if err != nil {
		panic(err)
	}
	batch, err := rl.DemonstrationBatch([]rl.Demonstration{
		{Prompt: []int32{1, 2, 3}, Tokens: []int32{4, 5}},
		{Prompt: []int32{1, 2, 3}, Tokens: []int32{6, 0}},
	}, objective.TokenMean{})
	if err != nil {
		panic(err)
	}
	for range 200 {
		if _, _, err := policy.ForwardBackward(ctx, batch, objective.CrossEntropy{}); err != nil {
			panic(err)
		}
		if _, err := policy.OptimStep(ctx, rl.OptimOptions{LR: 3e-3, MaxNorm: 1}); err != nil {
			panic(err)
		}
	}
	// Half of the probability each for the first token, all for the second:
	// the loss goes to (ln 2 + 0)/2.
	loss, _, err := policy.ForwardBackward(ctx, batch, objective.CrossEntropy{})
	if err != nil {
		panic(err)
	}
	fmt.Printf("version %d, loss %.2f\n", policy.Version(), loss)

	request := rollout.Request{Prompt: []int32{1, 2, 3}, N: 1, Params: rollout.Params{MaxTokens: 2}} // greedy
	err = engine.Generate(ctx, []rollout.Request{request}, func(c rollout.Completion) error {
		imitated := slices.Equal(c.Tokens, []int32{4, 5}) || slices.Equal(c.Tokens, []int32{6, 0})
		fmt.Println("samples one of them:", imitated)
		return c.Err
	})
	if err != nil {
		panic(err)
	}
	// Output:
	// version 200, loss 0.35
	// samples one of them: true
}

// A policy that trains adapters only. It saves a folder of adapters, and the
// decoder without them is the reference policy.
func ExamplePolicy_adapters() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	decoder, err := model.NewDecoder(reference.New(), model.Config{ // usually LoadDecoder with Frozen
		Vocab: 8, Dim: 16, Layers: 1, Heads: 2, KVHeads: 1, FF: 32, MaxSeq: 16,
	}, 1)
	if err != nil {
		panic(err)
	}
	lora, err := decoder.AddLoRA(model.LoRAConfig{Rank: 4, Alpha: 8, Targets: model.AllProjections}, 2)
	if err != nil {
		panic(err)
	}
	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: decoder, Dir: dir})
	if err != nil {
		panic(err)
	}
	defer policy.Free()
	before := local.NewLogProber(lora.Base(), 0)
	batch, err := rl.DemonstrationBatch([]rl.Demonstration{{Prompt: []int32{1, 2, 3}, Tokens: []int32{4, 5}}}, objective.TokenMean{})
	if err != nil {
		panic(err)
	}
	for range 100 {
		if _, _, err := policy.ForwardBackward(ctx, batch, objective.CrossEntropy{}); err != nil {
			panic(err)
		}
		if _, err := policy.OptimStep(ctx, rl.OptimOptions{LR: 2e-2, MaxNorm: 1}); err != nil {
			panic(err)
		}
	}
	for _, l := range []rl.LogProber{before, policy} {
		logp := [][]float64{make([]float64, 2)}
		if err := l.LogProbs(ctx, batch, logp); err != nil {
			panic(err)
		}
		fmt.Printf("probability above 0.5: %v\n", math.Exp(logp[0][0]+logp[0][1]) > 0.5)
	}
	ref, err := policy.Save(ctx, "adapter")
	if err != nil {
		panic(err)
	}
	saved, err := model.ReadLoRAConfig(ref)
	if err != nil {
		panic(err)
	}
	fmt.Println("rank", saved.Rank, "of", saved.Targets)
	// Output:
	// probability above 0.5: false
	// probability above 0.5: true
	// rank 4 of q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj
}

// The trained model is saved for other programs: a Hugging Face folder with the
// tokenizer of the model that training began with. A checkpoint (Policy.Save) is for
// training to continue.
func ExamplePolicy_export() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	decoder, err := model.LoadDecoder(reference.New(), "../model/testdata/qwen3")
	if err != nil {
		panic(err)
	}
	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: decoder, Dir: filepath.Join(dir, "checkpoints")})
	if err != nil {
		panic(err)
	}
	defer policy.Free()
	// … train …
	if _, err := policy.Save(context.Background(), "last"); err != nil {
		panic(err)
	}
	pretrained := filepath.Join(dir, "pretrained") // where tokenizer.json is
	if err := os.Mkdir(pretrained, 0o755); err != nil {
		panic(err)
	}
	if err := os.WriteFile(filepath.Join(pretrained, "tokenizer.json"), []byte("{}"), 0o644); err != nil {
		panic(err)
	}
	err = decoder.Export(filepath.Join(dir, "model"), model.ExportOptions{TokenizerFrom: pretrained}) // before policy.Free
	if err != nil {
		panic(err)
	}
	for _, pattern := range []string{"checkpoints/last/*", "model/*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			panic(err)
		}
		for _, f := range files {
			name, _ := filepath.Rel(dir, f)
			fmt.Println(filepath.ToSlash(name))
		}
	}
	// Output:
	// checkpoints/last/config.json
	// checkpoints/last/model.safetensors
	// checkpoints/last/optimizer.safetensors
	// checkpoints/last/state.json
	// model/config.json
	// model/model.safetensors
	// model/tokenizer.json
}

// Train here, sample there: an exporter writes the weights of every version to a folder
// that the engine's servers read. Here a second decoder of the same model stands for
// them; an openai.Engine of vLLM servers takes its place as it is. For llama.cpp the
// form is FormGGUF, for SGLang FormFolder, with ExporterConfig.Model.
func ExampleExporter() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	load := func() *model.Decoder { // usually LoadDecoder with Frozen
		d, err := model.NewDecoder(reference.New(), model.Config{
			Vocab: 8, Dim: 16, Layers: 1, Heads: 2, KVHeads: 1, FF: 32, MaxSeq: 16,
		}, 1)
		if err != nil {
			panic(err)
		}
		return d
	}
	trained := load()
	if _, err := trained.AddLoRA(model.LoRAConfig{Rank: 4, Alpha: 8, Targets: model.AllProjections}, 2); err != nil {
		panic(err)
	}
	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: trained, Dir: filepath.Join(dir, "checkpoints")})
	if err != nil {
		panic(err)
	}
	defer policy.Free()
	exporter, err := local.NewExporter(policy, local.ExporterConfig{Form: rollout.FormAdapter, Dir: filepath.Join(dir, "weights")})
	if err != nil {
		panic(err)
	}
	defer exporter.Close()
	sampled := load()
	defer sampled.Free()
	engine, err := local.NewEngine(sampled, letters{}, local.EngineConfig{EOS: []int32{}}) // openai.New(ctx, …)
	if err != nil {
		panic(err)
	}
	defer engine.Free()
	problem := rl.NewProblem(rollout.Request{
		Prompt: []int32{1, 2}, N: 16, Params: rollout.Params{Temperature: 1, MaxTokens: 2},
	}, func(_ context.Context, c *rollout.Completion) (float64, error) { return float64(c.Tokens[0]), nil })
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: exporter, Engine: engine, // not policy: it publishes nothing that servers can load
		Source:   &rl.SliceSource{Problems: []rl.Problem{problem}},
		Batching: rl.Batching{Prompts: 1}, LR: rl.Constant{LR: 1e-2}, Steps: 3,
		OnRollouts: func(step int64, r *rl.Rollouts) error {
			fmt.Printf("training step %d: sampled with version %d\n", step, r.Groups[0][0].LastVersion)
			return nil
		},
	})
	if err != nil {
		panic(err)
	}
	if err := trainer.Run(context.Background()); err != nil {
		panic(err)
	}
	// Output:
	// training step 1: sampled with version 0
	// training step 2: sampled with version 1
	// training step 3: sampled with version 2
}

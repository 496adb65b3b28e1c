// Command owntask is a task of your own, from data to result. A shop decides about
// parcels that are sent back: up to 20 days, whoever left it closed gets the money and
// whoever opened it a voucher; after that, nothing. The model has to reason in steps,
// and rules in this file judge each of them. It learns the format from demonstrations
// and the rest by reinforcement learning.
//
//	go run ./examples/owntask             # stop it with Ctrl-C, in the warm-up too,
//	go run ./examples/owntask -resume     # and go on
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/eval"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/task"
)

// parcel is a line of the data.
type parcel struct {
	ID       string `json:"id"`
	Note     string `json:"note"` // what the model reads
	Days     int    `json:"days"` // what the rules know
	Opened   bool   `json:"opened"`
	Decision string `json:"decision"`
}

var (
	answers   = map[bool]string{true: "yes", false: "no"}
	decisions = []string{"nothing", "voucher", "money"} // in ascending order
)

// truth is the right answer of each step.
func (p parcel) truth() []string {
	return []string{answers[p.Days <= 20], answers[p.Opened], p.Decision}
}

// citesDays is a rule of our own: a step must name the number of days.
func citesDays(_ context.Context, p parcel, t *prompt.Trace, step int) (reward.Score, error) {
	span := t.Steps[step].Bytes
	if strings.Contains(t.Text[span.Start:span.End], strconv.Itoa(p.Days)) {
		return reward.Score{Value: 1}, nil
	}
	return reward.Score{}, nil
}

// definition is the task: its steps drive prompt, parser, rules and metrics.
func definition() task.Definition[parcel] {
	truth := func(step int) reward.Rule[parcel] {
		return reward.ExactLabel(func(p parcel) string { return p.truth()[step] })
	}
	cites := reward.Part[parcel]{Name: "cites", Rule: reward.RuleFunc[parcel](citesDays), Weight: 0.5}
	inTime := reward.Combine(reward.Part[parcel]{Name: "answer", Rule: truth(0), Weight: 0.5}, cites)
	return task.Definition[parcel]{
		System: "Decide what becomes of a parcel that is sent back.",
		Steps: []task.Step[parcel]{
			{Name: "in time", Instruction: "Was it kept for up to 20 days?", Answers: []string{"yes", "no"}, Rule: inTime},
			{Name: "opened", Instruction: "Was it opened?", Answers: []string{"yes", "no"}, Rule: truth(1)},
			{Name: "decision", Instruction: "Late: nothing. Opened: voucher. Else: money.", Answers: decisions, Rule: truth(2)},
		},
		Compact:  true, // a model as small as this one learns the steps by heart
		Input:    func(p parcel) string { return p.Note },
		Outcomes: []task.Outcome[parcel]{{Name: "decision", Rule: truth(2)}},
		ID:       func(p parcel) string { return p.ID },
	}
}

// readParcels reads JSON lines; errors name the line.
func readParcels(path string) (all []parcel, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		at := fmt.Sprintf("%s:%d", path, len(all)+1)
		p := parcel{ID: at}
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			return nil, fmt.Errorf("%s: %w", at, err)
		}
		if !slices.Contains(decisions, p.Decision) { // a column of another name, too
			return nil, fmt.Errorf("%s: the decision is %q, want one of %q", at, p.Decision, decisions)
		}
		all = append(all, p)
	}
	if len(all) < 22 {
		return nil, fmt.Errorf("%s has %d parcels, want 22 or more: three quarters are to fill a collection of 16", path, len(all))
	}
	return all, nil
}

// demonstration is how we would decide, in the form that the task asks for.
func demonstration(t *prompt.Template[parcel], p parcel) string {
	truth := p.truth()
	days := strconv.Itoa(p.Days) + " days"
	return must(t.Write([]prompt.Written{{Reasoning: days, Answer: truth[0]}, {Answer: truth[1]}, {Answer: truth[2]}}))
}

// learn trains a model in a run's folder, or goes on there, and writes how good it is.
func learn(ctx context.Context, w io.Writer, data, dir string, begin func(run.Config) (*run.Writer, error), steps int64) error {
	const seed, lr, end, length = 1, 2e-3, "<|end|>", 40
	parcels := must(readParcels(data))
	train, test := parcels[:len(parcels)*3/4], parcels[len(parcels)*3/4:]

	d := definition()
	template := d.Template()
	var texts []string
	for _, p := range train {
		texts = append(texts, template.Render(p), demonstration(template, p))
	}
	tok := must(tokenizer.Train(slices.Values(texts), tokenizer.TrainOptions{VocabSize: 400, Special: []string{end}, Added: template.Marks()}))
	endID, _ := tok.ID(end)
	d.Encode = task.Plain[parcel](tok.EncodeOrdinary) // a note cannot end the prompt
	d.GroupSize, d.Params = 8, rollout.Params{Temperature: 1, MaxTokens: length}
	sampled := must(task.New(d))
	greedy := must(sampled.WithSampling(1, rollout.Params{MaxTokens: length}))

	digest := map[string]string{"parcels": must(run.DigestPath(ctx, data))}
	folder := must(begin(run.Config{Dir: dir, Seed: seed, Settings: map[string]any{"lr": lr}, Data: digest, Logger: slog.Default()}))
	defer folder.Close()
	warm, stage := must(folder.Stage("warm-up")), must(folder.Stage("train"))
	backend := must(cpu.New(cpu.Options{}))
	newPolicy := func(s *run.Stage) *local.Policy { // each stage saves its own
		decoder := must(model.NewDecoder(backend, model.Config{
			Vocab: tok.VocabSize(), Dim: 48, Layers: 2, Heads: 4, KVHeads: 4, FF: 128, MaxSeq: 128, TieEmbeddings: true,
		}, seed))
		must(0, decoder.SetEOS(endID))
		return must(local.NewPolicy(local.PolicyConfig{Decoder: decoder, Dir: s.Checkpoints().Dir}))
	}

	var demos []rl.Demonstration // show it how to write
	for _, p := range train[:len(train)/3] {
		q, text := must(sampled.Bind(p).Request()), demonstration(template, p) // which may quote: special tokens are text
		demos = append(demos, rl.Demonstration{Prompt: q.Prompt, Tokens: tok.EncodeExcept(text, tok.Markup(text, true))})
	}
	writer := newPolicy(warm)
	defer writer.Free()
	imitation := rl.Imitation{
		Policy: writer, Demonstrations: rl.Shuffled(demos, seed), End: []int32{endID}, Recorder: warm,
		Batch: 16, Steps: 300, LR: rl.WarmupCosine{LR: lr, Warmup: 10, Total: 300}, MaxNorm: 1,
	}
	loop := &checkpoint.Loop{Weights: writer, Step: imitation.Step, Total: imitation.Steps}
	must(warm.Resume(ctx, loop))
	if err := loop.Run(ctx, 50, warm.Save); err != nil {
		return err
	}

	policy := newPolicy(stage)
	defer policy.Free()
	must(0, policy.Load(ctx, must(warm.Checkpoints().Latest(ctx)).Ref)) // with AdamW's moments
	engine := must(policy.NewEngine(tok, local.EngineConfig{}))
	trainer := must(rl.NewTrainer(rl.Config{
		Policy: policy, Engine: engine, Source: &rl.SliceSource{Problems: bind(sampled, train), Seed: seed},
		Credit:   sam.Mask{}, // all else is GRPO's
		Batching: rl.Batching{Prompts: 16}, LR: rl.Constant{LR: lr / 5}, MaxNorm: 1, Seed: seed, Steps: steps,
		Recorder: stage, Logger: slog.Default(), CheckpointEvery: 10,
		Checkpoint: func(ctx context.Context, t *rl.Trainer) error { return stage.Save(ctx, t) },
	}))
	evaluate := func(when string) {
		r, m, err := rl.EvaluateProblems(ctx, engine, bind(greedy, test), seed)
		pairs := must(must(r, err).Pairs(decisions, func(p rl.Problem) string { return p.(*task.Bound[parcel]).Example().Decision }))
		fmt.Fprintf(w, "%s: decision %.2f (kappa %.2f)  in time %.2f  opened %.2f  right with a wrong step %.2f\n", when,
			eval.Accuracy(pairs), eval.QuadraticKappa(eval.Answered(pairs)), m["step/in time/correct"], m["step/opened/correct"], m["right_answer_wrong_step"])
	}

	if !must(stage.Resume(ctx, trainer)) {
		evaluate("after the warm-up")
	}
	if err := trainer.Run(ctx); err != nil {
		return err
	}
	evaluate(fmt.Sprintf("after %d training steps", trainer.Steps()))
	return nil
}

func bind(t *task.Task[parcel], parcels []parcel) (problems []rl.Problem) {
	for _, p := range parcels {
		problems = append(problems, t.Bind(p))
	}
	return problems
}

func main() {
	data := flag.String("data", "examples/owntask/parcels.jsonl", "the parcels")
	out := flag.String("out", "runs/owntask", "the run's folder")
	resume := flag.Bool("resume", false, "go on with the run in the folder")
	steps := flag.Int64("steps", 200, "training steps")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	begin := run.Start
	if *resume {
		begin = run.Resume
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := learn(ctx, os.Stdout, *data, *out, begin, *steps); err != nil {
		log.Fatal(err, "; -resume goes on with the run in ", *out)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

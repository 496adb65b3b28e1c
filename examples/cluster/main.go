// Command cluster trains on one machine or on many: a configuration file chooses the
// policy that is trained and the engine that samples, and nothing else changes.
//
//	go run ./examples/cluster -tiny /tmp/tiny                          # a small model to try it with
//	go run ./examples/cluster -config examples/cluster/local-local.json
//
// The configurations in this folder are all pairs that go together; docs/scale.md says
// how the weights travel between the two. Stop it with Ctrl-C and add -resume; addresses,
// steps and async may change before that. The task is that of examples/owntask, shortened:
// what becomes of a parcel that is sent back. With -task, the job is package relevance's,
// which takes no async, and of which only addresses may change.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/task"
)

// parcel is a line of the data.
type parcel struct {
	Note     string `json:"note"` // what the model reads
	Days     int    `json:"days"` // what the rules know
	Opened   bool   `json:"opened"`
	Decision string `json:"decision"`
}

var decisions = []string{"nothing", "voucher", "money"}

// truth is the right answer of each step.
func (p parcel) truth() []string {
	return []string{map[bool]string{true: "yes", false: "no"}[p.Days <= 20], p.Decision}
}

func definition() task.Definition[parcel] {
	truth := func(step int) reward.Rule[parcel] {
		return reward.ExactLabel(func(p parcel) string { return p.truth()[step] })
	}
	return task.Definition[parcel]{
		System: "Decide what becomes of a parcel that is sent back.",
		Steps: []task.Step[parcel]{
			{Name: "in time", Instruction: "Was it kept for up to 20 days?", Answers: []string{"yes", "no"}, Rule: truth(0)},
			{Name: "decision", Instruction: "Late: nothing. Opened: voucher. Else: money.", Answers: decisions, Rule: truth(1)},
		},
		Input:     func(p parcel) string { return p.Note },
		Outcomes:  []task.Outcome[parcel]{{Name: "decision", Rule: truth(1)}},
		GroupSize: 8,
		Params:    rollout.Params{Temperature: 1, MaxTokens: 48},
	}
}

// demonstration is how we would decide.
func demonstration(t *prompt.Template[parcel], p parcel) (string, error) {
	var steps []prompt.Written
	for _, answer := range p.truth() {
		steps = append(steps, prompt.Written{Answer: answer})
	}
	return t.Write(steps)
}

// learn trains with the policy and the engine of a configuration, in a run's folder, and
// writes how good they are.
func learn(ctx context.Context, w io.Writer, c config, parcels []parcel, dir string, resume bool, log *slog.Logger) error {
	m, err := readModel(c.Model)
	if err != nil {
		return err
	}
	d := definition()
	d.Encode = chat.Encode[parcel](m.template, m.tok, chat.Options{Generate: true})
	sampled, err := task.New(d)
	if err != nil {
		return err
	}
	greedy, err := sampled.WithSampling(1, rollout.Params{MaxTokens: d.Params.MaxTokens})
	if err != nil {
		return err
	}

	settings, err := c.run(dir)
	if err != nil {
		return err
	}
	var p *pair
	settings.Keep = checkpoint.Keep{Last: 2} // one to fall back on
	settings.Remove = func(ctx context.Context, ref string) error { return p.remove(ctx, ref) }
	begin := run.Start
	if resume && hasRun(dir) {
		begin = run.Resume
	}
	folder, err := begin(settings)
	if err != nil {
		return err
	}
	defer folder.Close()
	stage, err := folder.Stage("train")
	if err != nil {
		return err
	}
	p, err = openPair(ctx, c, m.tok, m.eos, stage.Checkpoints().Dir, log)
	if err != nil {
		return err
	}
	defer p.close()
	train, test := parcels[:len(parcels)*3/4], parcels[len(parcels)*3/4:]
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: p.policy, Engine: p.engine, Source: &rl.SliceSource{Problems: bind(sampled, train), Seed: c.Seed},
		Credit: sam.Mask{}, Objective: objective.Corrected{Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.2}, Max: 2},
		Batching: rl.Batching{Prompts: c.Prompts}, LR: rl.Constant{LR: c.Policy.LR}, MaxNorm: p.maxNorm, Async: c.Async,
		Seed: c.Seed, Steps: c.Steps, Recorder: p.recorder(stage), Logger: log, CheckpointEvery: 10,
		Checkpoint: func(ctx context.Context, t *rl.Trainer) error { return stage.Save(ctx, t) },
	})
	if err != nil {
		return err
	}
	found, err := stage.Resume(ctx, trainer)
	if err != nil {
		return err
	}
	if !found && c.Warmup > 0 { // a new run: show the policy how to write
		// Whatever is wrong with the way of the weights is to be found before that.
		if err := p.refresh(ctx); err != nil {
			return err
		}
		var demos []rl.Demonstration
		for _, p := range train[:len(train)/3] {
			request, err := sampled.Bind(p).Request()
			if err != nil {
				return err
			}
			text, err := demonstration(d.Template(), p)
			if err != nil {
				return err
			}
			demos = append(demos, rl.Demonstration{Prompt: request.Prompt, Tokens: m.tok.EncodeExcept(text, m.tok.Markup(text, true))})
		}
		warmup := rl.Imitation{
			Policy: p.policy, Demonstrations: rl.Shuffled(demos, c.Seed), End: m.eos[:1], Batch: 16,
			Steps: c.Warmup, LR: rl.Constant{LR: c.WarmupLR}, MaxNorm: p.maxNorm,
		}
		if err := warmup.Run(ctx); err != nil {
			return err
		}
	}
	evaluate := func(when string) error {
		if err := p.refresh(ctx); err != nil {
			return err
		}
		_, m, err := rl.EvaluateProblems(ctx, p.engine, bind(greedy, test), c.Seed)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: decision %.2f  in time %.2f  right with a wrong step %.2f\n", when,
			m["reward/decision"], m["step/in time/correct"], m["right_answer_wrong_step"])
		return nil
	}
	if !found {
		if err := evaluate("before"); err != nil {
			return err
		}
	}
	if err := trainer.Run(ctx); err != nil {
		return err
	}
	return evaluate(fmt.Sprintf("after %d training steps", trainer.Steps()))
}

func bind(t *task.Task[parcel], parcels []parcel) (problems []rl.Problem) {
	for _, p := range parcels {
		problems = append(problems, t.Bind(p))
	}
	return problems
}

func readParcels(path string) (all []parcel, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for lines := json.NewDecoder(strings.NewReader(string(text))); lines.More(); {
		var p parcel
		err := lines.Decode(&p)
		if err == nil && !slices.Contains(decisions, p.Decision) {
			err = fmt.Errorf("the decision is %q, want one of %q", p.Decision, decisions)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: parcel %d: %w", path, len(all)+1, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// hasRun reports whether there is a run in a folder. A job that may be restarted asks to
// resume it from the beginning.
func hasRun(dir string) bool {
	_, err := run.Open(dir)
	return !errors.Is(err, run.ErrNoRun)
}

func main() {
	path := flag.String("config", "examples/cluster/local-local.json", "the configuration")
	data := flag.String("data", "examples/owntask/parcels.jsonl", "the parcels")
	job := flag.String("task", "", "a task file of package relevance, to do its main job in place of the parcels")
	out := flag.String("out", "runs/cluster", "the run's folder")
	resume := flag.Bool("resume", false, "go on with the run in the folder, if there is one")
	tiny := flag.String("tiny", "", "write a small model to try it with into this folder, and end")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	parcels, err := readParcels(*data)
	if err == nil && *tiny != "" {
		err = writeTiny(*tiny, parcels, *job)
	} else if err == nil {
		var c config
		if c, err = readConfig(*path); err == nil && *job != "" {
			err = mainJob(ctx, os.Stdout, c, *job, *out, *resume, slog.Default())
		} else if err == nil {
			err = learn(ctx, os.Stdout, c, parcels, *out, *resume, slog.Default())
		}
	}
	if err != nil && ctx.Err() != nil {
		log.Print(err)
		log.Print("stopped; the same command with -resume goes on from the last checkpoint, if there is one")
		os.Exit(130)
	}
	if err != nil {
		log.Fatal(err)
	}
}

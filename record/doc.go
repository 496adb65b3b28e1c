// Package record keeps the metrics of a training run: as JSON lines, as
// TensorBoard event files, or as several things at once. Each is an rl.Recorder,
// which a trainer calls once per training step (rl.Config.Recorder).
//
//	lines, err := record.OpenJSONLines("run/metrics.jsonl", logger)
//	board, err := record.OpenTensorBoard("run/tensorboard")
//	bar := progress.New(os.Stderr, steps)
//	trainer, err := rl.NewTrainer(rl.Config{
//		Recorder: record.Tee(lines, board, bar),
//		Checkpoint: func(ctx context.Context, t *rl.Trainer) error {
//			if err := errors.Join(lines.Sync(), board.Sync()); err != nil {
//				return err
//			}
//			return store.Save(ctx, t)
//		},
//		// ...
//	})
//	found, err := store.Resume(ctx, trainer)
//	err = trainer.Run(ctx)
//	err = errors.Join(err, lines.Close(), board.Close(), bar.Close())
//
// # Every step once
//
// A run that is resumed from its last checkpoint repeats the training steps after
// it. So does one that begins anew, because it was stopped before its first
// checkpoint. Both recorders go by the first step that they are given after they
// were opened: what an earlier process recorded of it and of later steps no
// longer counts. JSONLines cuts these lines off; TensorBoard begins a new file
// that says so. From then on steps must ascend.
//
// This is also the danger: whoever records step 1 to the metrics of a finished
// run has lost them. Give every run a folder of its own.
//
// What was recorded is in the system's hands when Record returns, so it survives
// a kill of the process. It survives a power failure once Sync was called, and
// Sync belongs before the checkpoint, as above.
//
// # JSON lines
//
// One object a line, in UTF-8, in the order of the steps, each ended by "\n":
//
//	{"step":12,"time":"2026-11-29T18:08:00.123Z","metrics":{"grad_norm":0.25,"loss":"NaN","reward/label":0.5}}
//
//	step     the training step, from 1, ascending from line to line
//	time     when it was recorded: RFC 3339, UTC, to the millisecond
//	metrics  an object with a number per metric, in the order of the names' bytes
//
// A number is a float64 in the fewest digits that give it back exactly. JSON has
// no sign for what is no number; the strings "NaN", "Infinity" and "-Infinity"
// stand for it, as in the JSON mapping of Protocol Buffers. A metric that a step
// does not have is left out. Later versions may add fields, which readers skip.
//
// A line counts once its "\n" is there. What follows the last "\n" is being
// written, or was torn by a crash: [Lines] leaves it out, and a recorder that
// reopens the file cuts it off. Any other line that is not in this form is an
// error that gives its number.
//
// # Names
//
// The names of metrics are the trainer's (see rl.Trainer.Step), those of
// rl.Config.Eval and your own; "/" groups them in TensorBoard. All recorders
// write a name the same way: printable characters as they are, whatever the
// script, all others escaped ([EscapeName]). A name must not be empty or longer
// than [MaxNameBytes], and a recorder takes at most [MaxNames]; a step that
// breaks this is an error that names the metric, and nothing of it is recorded.
// Never make a name of what a policy wrote, such as its answer or a step that it
// invented: count those under names fixed beforehand.
//
// # TensorBoard
//
//	pip install tensorboard
//	tensorboard --logdir run/tensorboard
//
// Several runs are compared by keeping them in folders side by side and giving
// their parent as --logdir. TensorBoard 2.21 was checked to read the files, those
// of resumed runs, NaN and Chinese names included (testdata/golden.py). Its fast
// data server drops old points of a metric only when the resumed run records that
// metric again.
//
// # Weights & Biases
//
// W&B takes the event files of a program while it runs. Once W&B knows the
// folder it uploads the files in it that were begun on the same machine after
// its own start, so a few lines of Python are to start the program (checked
// with wandb 0.31.0):
//
//	import subprocess, wandb
//	from tensorboard.summary.writer import event_file_writer
//
//	with wandb.init(project="relevance", sync_tensorboard=True):
//	    event_file_writer.EventFileWriter("run/tensorboard")  # tells W&B the folder
//	    subprocess.run(["./train"], check=True)
//
// The command "wandb sync --sync-tensorboard FOLDER", for a run that is over, is
// no longer in wandb versions after 0.29.0. JSON lines need no command:
//
//	import json, wandb
//
//	with wandb.init(project="relevance") as run:
//	    for line in open("run/metrics.jsonl"):
//	        l = json.loads(line)
//	        run.log({k: float(v) for k, v in l["metrics"].items()}, step=l["step"])
//
// # OpenTelemetry
//
// A recorder is a function, so metrics of a run reach any other system in about
// twenty lines. This one is for OpenTelemetry (go.opentelemetry.io/otel v1.47.0).
// It has one instrument with the name as an attribute, because the names of
// instruments are restricted and the names of metrics are bounded:
//
//	func recorder(meter metric.Meter) (rl.Recorder, error) {
//		gauge, err := meter.Float64Gauge("stepwise.training", metric.WithDescription("metrics of the last training step"))
//		if err != nil {
//			return nil, err
//		}
//		steps, err := meter.Int64Gauge("stepwise.training.step")
//		if err != nil {
//			return nil, err
//		}
//		return rl.RecorderFunc(func(step int64, metrics map[string]float64) error {
//			ctx := context.Background()
//			steps.Record(ctx, step)
//			for name, v := range metrics {
//				if !math.IsNaN(v) && !math.IsInf(v, 0) {
//					gauge.Record(ctx, v, metric.WithAttributes(attribute.String("metric", record.EscapeName(name))))
//				}
//			}
//			return nil
//		}), nil
//	}
//
//	r, err := recorder(otel.Meter("github.com/stepwise-rl/stepwise"))
//
// Examples are in example_test.go.
package record

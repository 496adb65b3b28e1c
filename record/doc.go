// Package record writes the metrics of a training run: as JSON lines, as
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
// it. So does one that starts again because it was stopped before its first
// checkpoint. Both recorders therefore look at the first step recorded after they
// were opened: whatever an earlier process recorded for that step and later ones is
// dropped. JSONLines cuts those lines off; TensorBoard starts a new file that says
// so. After that, steps must ascend.
//
// Take care: recording step 1 to the file of a finished run deletes that run's
// metrics. Give every run its own folder.
//
// When Record returns, the operating system has the metrics, so they survive a kill
// of the process. They survive a power failure once Sync was called; call it before
// saving a checkpoint, as above.
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
// A number is a float64 in the fewest digits that give it back exactly. JSON has no
// such numbers as NaN; the strings "NaN", "Infinity" and "-Infinity" stand for
// them, as in the JSON mapping of Protocol Buffers. A step has only the metrics
// that it recorded. Later versions may add fields, which readers must ignore.
//
// A line is complete with its "\n". Text after the last "\n" is still being
// written, or was torn by a crash: [Lines] leaves it out, and a recorder that
// reopens the file cuts it off. Any other line that is not in this form is an error
// that gives its number.
//
// # Names
//
// The names of metrics are the trainer's (see rl.Trainer.Step), those of
// rl.Config.Eval and your own; "/" groups them in TensorBoard. All recorders write
// a name the same way: printable characters as they are, whatever the script, all
// others escaped ([EscapeName]). A name must not be empty or longer than
// [MaxNameBytes], and a recorder takes at most [MaxNames] names; otherwise Record
// returns an error that names the metric, and records nothing of that step. Never
// put what a policy wrote, such as its answer or a step that it invented, into a
// name: count such things under fixed names.
//
// # TensorBoard
//
//	pip install tensorboard
//	tensorboard --logdir run/tensorboard
//
// To compare runs, keep their folders side by side and pass the parent as --logdir.
// The files were checked with TensorBoard 2.21, including those of resumed runs,
// NaN and Chinese names (testdata/golden.py). Its fast data server drops old points
// of a metric only when the resumed run records that metric again.
//
// # Weights & Biases
//
// W&B uploads the event files of a program while it runs. It must know the folder,
// and it takes only files that were started on the same machine after itself, so
// start the program from a few lines of Python (checked with wandb 0.31.0):
//
//	import subprocess, wandb
//	from tensorboard.summary.writer import event_file_writer
//
//	with wandb.init(project="relevance", sync_tensorboard=True):
//	    event_file_writer.EventFileWriter("run/tensorboard")  # tells W&B the folder
//	    subprocess.run(["./train"], check=True)
//
// For a finished run, the command "wandb sync --sync-tensorboard FOLDER" is gone
// from wandb after version 0.29.0. Upload the JSON lines instead:
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
// A recorder can be a plain function, so about twenty lines send metrics to any
// other system. This one is for OpenTelemetry (go.opentelemetry.io/otel v1.47.0).
// It uses one instrument, with the metric's name as an attribute, because the names
// of instruments are restricted and those of metrics are bounded:
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

// Package relevance trains models that judge how relevant a document is to a query, in
// reasoning steps that a search team names, and uses them.
//
// A task, a [rows.Source], says what is asked: labels, steps with the rules that judge
// them, and data. It comes from a task file (package relevance/taskfile) or is made in
// Go. A run file, [Config], says how a run is done. [Train] does one in a folder:
//
//	import _ "github.com/stepwise-rl/stepwise/lm/tensor/cpu" // registers what models compute with
//
//	task, err := taskfile.Open("my.yaml", taskfile.Options{Seed: 1})
//	c := relevance.Default()
//	c.OpenVocabulary()
//	result, err := relevance.Train(ctx, task.Source, c, "runs/first", relevance.Options{Out: os.Stdout})
//
// A run has baselines, a supervised warm-up, a stage of reinforcement learning for each
// step credit, all from the same warm-up, and a light student that the best policy
// teaches. Checkpoints are chosen on validation rows. Alarms (package rl/monitor) and
// signs of overfitting are said in words. A run that was interrupted goes on and ends
// with the same bits.
//
// # What it leaves
//
// The folder of the run (package rl/run) has report.html and report.json (package
// relevance/report), predictions of every stage ([ReadPredictions]), judged steps to
// check the rules by (package rl/audit), and two model folders: model, which reasons,
// and student, which classifies. A model folder is a Hugging Face folder with
// [ModelFile] beside the weights.
//
// # Scoring
//
// [Open] makes a [Scorer] of a model folder:
//
//	scorer, err := relevance.Open(ctx, "runs/first/student", task.Source, "cpu")
//	scores, err := scorer.Score(ctx, query, documents, relevance.ScoreOptions{})
//
// [OpenReranker] makes one of a published model: Qwen3-Reranker or a cross-encoder.
//
// # Policies of your own
//
// [Options].Models makes the policies of a run: on a server, on another machine, or of a
// kind that this module does not know. Everything else stays the same.
//
// docs/relevance.md is a tutorial. Programs that use it: stepwise relevance, and
// examples/relevance, whose train hands generated data to Train.
package relevance

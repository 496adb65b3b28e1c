package relevance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// A run's folder (package rl/run) has these artefacts beside logs and checkpoints:
//
//	tokenizer.json              the tokenizer, if it was trained on the training data
//	stages/NAME/result.json     the result of a finished stage
//	predictions/NAME.json       what its model said of each row
//	audit/NAME.jsonl            judged steps, for people to check the rules by
//	stages/distill/beliefs.json what the teacher believes about the labels
//	model/ student/             the best policy and the student, as model folders
//	report.json report.html     the report

// reportFile is the name of the artefact with what the run found.
const reportFile = "report.json"

// resultFile is the name of the artefact with a stage's result.
func resultFile(stage string) string { return "stages/" + stage + "/result.json" }

func (p *pipeline) writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return p.f.WriteArtefact(name, append(data, '\n'))
}

// writeCompact is writeJSON of what is large and that nobody reads.
func (p *pipeline) writeCompact(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return p.f.WriteArtefact(name, data)
}

// readJSON reports whether the artefact is there.
func readJSON(f *run.Folder, name string, v any) (bool, error) {
	data, err := f.Artefact(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return false, fmt.Errorf("%s: %w", name, err)
	}
	return true, nil
}

// readLogs returns the metrics and sampled answers of the stages of a run.
func readLogs(f *run.Folder, stages []string) (l report.Logs, err error) {
	for _, stage := range stages {
		for line, err := range f.Lines(stage, run.Metrics) {
			if err != nil {
				return l, err
			}
			m, err := run.ParseMetrics(line)
			if err != nil {
				return l, err
			}
			l.Metrics = append(l.Metrics, report.Metrics{Stage: stage, Step: line.Step, Values: m})
		}
		for line, err := range f.Lines(stage, run.Rollouts) {
			if err != nil {
				return l, err
			}
			a := report.Answered{Stage: stage, Step: line.Step}
			if err := json.Unmarshal(line.Data, &a); err != nil {
				return l, fmt.Errorf("rollouts of stage %s, step %d: %w", stage, line.Step, err)
			}
			l.Answers = append(l.Answers, a)
		}
	}
	return l, nil
}

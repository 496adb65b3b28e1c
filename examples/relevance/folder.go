package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/stepwise-rl/stepwise/rl/run"
)

// A run's folder (package rl/run) has these artefacts beside logs and checkpoints:
//
//	tokenizer.json              the tokenizer, trained on the training data
//	stages/NAME/result.json     the result of a finished stage
//	stages/distill/beliefs.json what the teacher believes about the labels
//	report.json report.html     the report

// resultFile is the name of the artefact with a stage's result.
func resultFile(stage string) string { return "stages/" + stage + "/result.json" }

func (p *pipeline) writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return p.f.WriteArtefact(name, append(data, '\n'))
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

// logLine says what a line of a log is about.
type logLine struct {
	Stage string
	Step  int64
}

// metricsLine has the metrics of a step.
type metricsLine struct {
	logLine
	Metrics map[string]float64
}

// readMetrics returns the metrics of stages.
func readMetrics(f *run.Folder, stages []string) (all []metricsLine, err error) {
	for _, stage := range stages {
		for l, err := range f.Lines(stage, run.Metrics) {
			if err != nil {
				return nil, err
			}
			m, err := run.ParseMetrics(l)
			if err != nil {
				return nil, err
			}
			all = append(all, metricsLine{logLine{stage, l.Step}, m})
		}
	}
	return all, nil
}

// readRollouts returns the sampled answers of stages.
func readRollouts(f *run.Folder, stages []string) (all []rolloutLine, err error) {
	for _, stage := range stages {
		for l, err := range f.Lines(stage, run.Rollouts) {
			if err != nil {
				return nil, err
			}
			line := rolloutLine{logLine: logLine{stage, l.Step}}
			if err := json.Unmarshal(l.Data, &line); err != nil {
				return nil, fmt.Errorf("rollouts of stage %s, step %d: %w", stage, l.Step, err)
			}
			all = append(all, line)
		}
	}
	return all, nil
}

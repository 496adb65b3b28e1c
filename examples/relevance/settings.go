package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/sam"
)

// settings are the numbers of a run; they stand in its report.
type settings struct {
	VocabSize int          `json:"vocab_size"`
	Teacher   model.Config `json:"teacher"`
	Student   model.Config `json:"student"`

	WarmupSteps int     `json:"warmup_steps"`
	WarmupBatch int     `json:"warmup_batch"`
	WarmupLR    float64 `json:"warmup_lr"`

	RLSteps   int     `json:"rl_steps"`
	Prompts   int     `json:"prompts"`
	Group     int     `json:"group"`
	RLLR      float64 `json:"rl_lr"`
	MaxTokens int     `json:"max_tokens"`
	// DocumentTokens is how many tokens of a document the model reads at most,
	// where documents are not generated.
	DocumentTokens int `json:"document_tokens"`
	// ProbePrompts is on how many prompts live groups are counted after the
	// warm-up.
	ProbePrompts int `json:"probe_prompts"`

	DistillExamples int     `json:"distill_examples"`
	DistillSamples  int     `json:"distill_samples"`
	DistillEpochs   int     `json:"distill_epochs"`
	DistillBatch    int     `json:"distill_batch"`
	DistillLR       float64 `json:"distill_lr"`
	Temperature     float64 `json:"distill_temperature"`
	SoftShare       float64 `json:"distill_soft_share"`

	TestSize        int `json:"test_size"`
	BaselineSize    int `json:"baseline_size"`
	CheckpointEvery int `json:"checkpoint_every"`
	ReportEvery     int `json:"report_every"`
	SampleEvery     int `json:"sample_every"`
	SamplePrompts   int `json:"sample_prompts"`
}

// defaultSettings take two minutes on two cores.
func defaultSettings() settings {
	return settings{
		VocabSize: 1000,
		Teacher: model.Config{
			Dim: 64, Layers: 3, Heads: 4, KVHeads: 4, FF: 176, MaxSeq: 320, TieEmbeddings: true, QKNorm: true,
		},
		Student: model.Config{
			Dim: 64, Layers: 2, Heads: 4, KVHeads: 4, FF: 128, MaxSeq: 320, QKNorm: true,
		},
		WarmupSteps: 1600, WarmupBatch: 16, WarmupLR: 3e-3,
		RLSteps: 200, Prompts: 16, Group: 8, RLLR: 4e-4, MaxTokens: 96, DocumentTokens: 96, ProbePrompts: 128,
		DistillExamples: 8000, DistillSamples: 2, DistillEpochs: 12, DistillBatch: 16, DistillLR: 2e-3, Temperature: 1, SoftShare: 0.5,
		TestSize: 1000, BaselineSize: 5000, CheckpointEvery: 25, ReportEvery: 10, SampleEvery: 20, SamplePrompts: 2,
	}
}

// quickSettings check that everything works in a few seconds.
func quickSettings() settings {
	s := defaultSettings()
	s.WarmupSteps = 160
	s.RLSteps, s.Prompts, s.Group, s.ProbePrompts = 6, 8, 4, 16
	s.DistillExamples, s.DistillEpochs, s.DistillSamples = 128, 2, 1
	s.TestSize, s.BaselineSize, s.CheckpointEvery, s.ReportEvery, s.SampleEvery = 100, 500, 3, 20, 2
	return s
}

// adapt fits the settings to data with longer texts.
func (s *settings) adapt(generated bool) {
	if generated {
		return
	}
	s.VocabSize *= 2 // an open vocabulary
}

// credits are the kinds of step credit that -credit knows.
var credits = []struct {
	name   string
	credit sam.Credit
}{
	{"mask", sam.Mask{}},
	{"mask-fill", sam.Mask{Fill: stepNorm}},
	{"step-group", sam.StepGroup{Norm: stepNorm}},
	{"outcome", sam.Outcome{}},
}

// stepNorm normalises step rewards; the outcome has the same estimator.
var (
	stepNorm  = advantage.GRPO{Epsilon: 1e-4}
	estimator = advantage.PerGroup(stepNorm)
)

func creditNames() []string {
	var names []string
	for _, c := range credits {
		names = append(names, c.name)
	}
	return names
}

func creditOf(name string) (sam.Credit, error) {
	i := slices.Index(creditNames(), name)
	if i < 0 {
		return nil, fmt.Errorf("-credit is %q, want one of %s", name, strings.Join(creditNames(), ", "))
	}
	return credits[i].credit, nil
}

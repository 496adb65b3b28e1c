package relevance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/sam"
)

// Config is the run file: how a run is done. What is asked stands in the task, a
// [rows.Source]. The zero value is not valid; begin with [Default] and change what
// differs, in Go or with [ReadConfig].
type Config struct {
	// Seed determines everything random.
	Seed uint64 `json:"seed"`
	// Backend names the tensor backend.
	Backend string `json:"backend"`
	// Policy is where the model that reasons comes from: Scratch or Pretrained.
	Policy PolicyKind `json:"policy"`
	// MaxTokens bounds an answer, and DocumentTokens what is read of a document.
	MaxTokens      int `json:"max_tokens"`
	DocumentTokens int `json:"document_tokens"`

	Warmup    Warmup    `json:"warmup"`
	Reinforce Reinforce `json:"reinforce"`
	// Validation says how checkpoints are chosen.
	Validation Validation `json:"validation"`
	Student    Student    `json:"student"`

	// BaselineRows is how many training rows the baselines learn from at most.
	BaselineRows int `json:"baseline_rows"`
	// CheckpointEvery is how many training steps of reinforcement learning lie
	// between two checkpoints; the warm-up has four times as many.
	CheckpointEvery int `json:"checkpoint_every"`
	// SampleEvery and SamplePrompts say which sampled answers are kept: those of so
	// many prompts of every so many training steps.
	SampleEvery   int `json:"sample_every"`
	SamplePrompts int `json:"sample_prompts"`
	// Smoke marks a run whose numbers mean nothing. It checks itself.
	Smoke bool `json:"smoke"`
}

// PolicyKind is a Scratch or a Pretrained.
type PolicyKind interface {
	Validate() error
	policy()
}

// StudentKind is a Scratch, a Pretrained or a Teacher.
type StudentKind interface {
	Validate() error
	student()
}

// Scratch is a small decoder with random weights, and a vocabulary learnt from the
// training rows.
type Scratch struct {
	Vocab int   `json:"vocab"`
	Shape Shape `json:"shape"`
}

// Pretrained is a decoder in a Hugging Face folder, with its tokenizer and chat
// template.
type Pretrained struct {
	Dir string `json:"dir"`
	// LoRA, if not nil, trains adapters alone.
	LoRA *LoRA `json:"lora"`
}

// LoRA describes the adapters of a Pretrained; they sit on all projections.
type LoRA struct {
	Rank  int     `json:"rank"`
	Alpha float64 `json:"alpha"`
}

// Shape is the size of a transformer.
type Shape struct {
	Dim    int `json:"dim"`
	Layers int `json:"layers"`
	Heads  int `json:"heads"`
	FF     int `json:"ff"`
	MaxSeq int `json:"max_seq"`
}

// Warmup is supervised training on the source's teacher before reinforcement
// learning.
type Warmup struct {
	// Steps is the number of training steps; 0 leaves the warm-up out.
	Steps int `json:"steps"`
	// Passes bounds the steps by the passes over the training rows of a source with an
	// end, so that a small model does not learn few rows by heart. 300 steps are always
	// allowed, for the form of the answers; 0 means no bound.
	Passes float64 `json:"passes"`
	Batch  int     `json:"batch"`
	LR     float64 `json:"lr"`
	// ProbePrompts is on how many prompts live groups are counted afterwards.
	ProbePrompts int `json:"probe_prompts"`
}

// Reinforce is reinforcement learning. Every credit has a stage of its own, which
// begins at the end of the warm-up and sees the same rows and random streams.
type Reinforce struct {
	// Steps is the number of training steps of each stage; 0 leaves them out.
	Steps       int                   `json:"steps"`
	Prompts     int                   `json:"prompts"`
	Group       int                   `json:"group"`
	MiniBatches int                   `json:"mini_batches"`
	LR          float64               `json:"lr"`
	MaxNorm     float64               `json:"max_norm"`
	Estimator   advantage.Estimator   `json:"estimator"`
	Credits     []NamedCredit         `json:"credits"`
	Objective   objective.Objective   `json:"objective"`
	Aggregation objective.Aggregation `json:"aggregation"`
	// Teacher is the decoder that an objective of distillation needs; nil = none.
	Teacher *DecoderTeacher `json:"teacher"`
	// DynamicRounds is the largest number of rounds of dynamic sampling, which
	// replaces dead groups; 0 turns it off.
	DynamicRounds int `json:"dynamic_rounds"`
	// Curriculum draws rows by how much can be learned from them; it needs a source
	// with an end.
	Curriculum bool `json:"curriculum"`
}

// DecoderTeacher is a decoder in a Hugging Face folder that the policy is distilled
// from, on the policy's own answers. It has the policy's tokenizer and reads the
// policy's prompts.
type DecoderTeacher struct {
	Dir string `json:"dir"`
	// K and Candidates are those of rl.Teacher, for the objectives forward_kl,
	// reverse_kl and jsd; distilled needs neither.
	K          int             `json:"k"`
	Candidates rl.CandidatesOf `json:"candidates"`
}

// NamedCredit is a step credit with the name that its stage has: "rl-" and Name.
type NamedCredit struct {
	Name   string     `json:"name"`
	Credit sam.Credit `json:"credit"`
}

// Metric is what a checkpoint is chosen by.
type Metric string

// The metrics of [Validation].
const (
	MetricAccuracy Metric = "accuracy"
	MetricQWK      Metric = "qwk"
)

// Validation says how checkpoints are chosen: the policy answers validation rows
// whenever a checkpoint is saved, and the best one goes on to the tests and to the
// student.
type Validation struct {
	// Rows is how many validation rows are answered each time; 0 leaves it out, and
	// the last checkpoint counts.
	Rows   int    `json:"rows"`
	Metric Metric `json:"metric"`
}

func (Scratch) policy()     {}
func (Pretrained) policy()  {}
func (Scratch) student()    {}
func (Pretrained) student() {}
func (Teacher) student()    {}

// Validate returns an error that names the first invalid setting.
func (s Scratch) Validate() error {
	if s.Vocab < 300 {
		return fmt.Errorf("vocab is %d, want at least 300: there are 256 bytes", s.Vocab)
	}
	return s.Shape.decoder(s.Vocab).Validate()
}

// Validate returns an error that names the first invalid setting.
func (p Pretrained) Validate() error {
	switch {
	case p.Dir == "":
		return errors.New("dir is empty, want a folder in Hugging Face's layout")
	case p.LoRA != nil && (p.LoRA.Rank < 1 || !(p.LoRA.Alpha > 0)):
		return fmt.Errorf("lora is %+v, want a rank of at least 1 and a positive alpha", *p.LoRA)
	}
	return nil
}

// decoder is the model's configuration with a vocabulary.
func (s Shape) decoder(vocab int) model.Config {
	return model.Config{
		Vocab: vocab, Dim: s.Dim, Layers: s.Layers, Heads: s.Heads, KVHeads: s.Heads, FF: s.FF, MaxSeq: s.MaxSeq,
		TieEmbeddings: true, QKNorm: true,
	}
}

// encoder is that of a classifier.
func (s Shape) encoder(vocab, classes int) model.EncoderConfig {
	c := s.decoder(vocab)
	c.TieEmbeddings = false
	return model.EncoderConfig{Config: c, Classes: classes}
}

// optimizer has the second moments of short runs.
var optimizer = optim.Config{Beta1: 0.9, Beta2: 0.98, Eps: 1e-8, WeightDecay: 0.01}

// StepNorm normalises the rewards of a group, and those of a step where a credit does.
var StepNorm = advantage.GRPO{Epsilon: 1e-4}

// Credits are the step credits that have a name on the command line.
func Credits() []NamedCredit {
	return []NamedCredit{
		{"mask", sam.Mask{}},
		{"mask-fill", sam.Mask{Fill: StepNorm}},
		{"step-group", sam.StepGroup{Norm: StepNorm}},
		{"outcome", sam.Outcome{}},
	}
}

// defaultScratch is the smallest model that learns to reason in steps.
var defaultScratch = Scratch{Vocab: 1000, Shape: Shape{Dim: 64, Layers: 3, Heads: 4, FF: 176, MaxSeq: 320}}

// Default takes two minutes on two cores with short texts: a model from nothing,
// outcome-only credit and Stepwise Advantage Masking from the same warm-up.
func Default() Config {
	return Config{
		Seed: 1, Backend: "cpu",
		Policy:    defaultScratch,
		MaxTokens: 96, DocumentTokens: 96,
		Warmup: Warmup{Steps: 1600, Passes: 6, Batch: 16, LR: 3e-3, ProbePrompts: 128},
		Reinforce: Reinforce{
			Steps: 200, Prompts: 16, Group: 8, MiniBatches: 1, LR: 4e-4, MaxNorm: 1,
			Estimator: advantage.PerGroup(StepNorm),
			Credits:   []NamedCredit{{"outcome", sam.Outcome{}}, {"mask", sam.Mask{}}},
			Objective: objective.PPO{ClipLow: 0.2, ClipHigh: 0.28}, Aggregation: objective.TokenMean{},
		},
		Validation: Validation{Rows: 200, Metric: MetricAccuracy},
		Student: Student{
			Encoder: Teacher{}, Form: FormCrossEncoder,
			Examples: 12000, Samples: 0, Epochs: 8, Batch: 16, LR: 2e-3, Temperature: 1, Soft: 0.5, StepWeight: 1, MaxTokens: 320,
			Ranking: distill.MarginMSE{}, Documents: 4, Weak: WeakTraining{Epochs: 1, LR: 1e-4},
		},
		BaselineRows: 5000, CheckpointEvery: 25, SampleEvery: 20, SamplePrompts: 2,
	}
}

// Quick checks that everything works in a few seconds, and learns little.
func Quick() Config {
	c := Default()
	c.Smoke = true
	c.Warmup.Steps, c.Warmup.ProbePrompts = 160, 16
	c.Reinforce.Steps, c.Reinforce.Prompts, c.Reinforce.Group = 6, 8, 4
	c.Validation.Rows = 40
	c.Student.Examples, c.Student.Epochs, c.Student.Samples = 128, 2, 1
	c.BaselineRows, c.CheckpointEvery, c.SampleEvery = 500, 3, 2
	return c
}

// OpenVocabulary doubles the vocabularies of models from nothing, for texts that
// people wrote.
func (c *Config) OpenVocabulary() {
	if s, ok := c.Policy.(Scratch); ok {
		s.Vocab *= 2
		c.Policy = s
	}
	if s, ok := c.Student.Encoder.(Scratch); ok {
		s.Vocab *= 2
		c.Student.Encoder = s
	}
}

// kinds are those of the run file's settings.
func kinds() []settings.Kinds {
	return []settings.Kinds{
		{"scratch": defaultScratch, "pretrained": Pretrained{}, "teacher": Teacher{}},
		{"margin_mse": distill.MarginMSE{}, "list_kl": distill.ListKL{}},
		advantage.BuiltInKinds(), sam.BuiltInKinds(), objective.BuiltInKinds(),
	}
}

// ReadConfig reads a run file, YAML or JSON, over a base such as [Default]. What the
// file does not name stays as it is there. An unknown setting or kind, or an invalid
// value, is an error that gives its path.
func ReadConfig(path string, base Config) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, err
	}
	c, err := DecodeConfig(text, base)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// DecodeConfig is [ReadConfig] of the file's text.
func DecodeConfig(text []byte, base Config) (Config, error) {
	var v any
	if err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&v); err != nil {
		return Config{}, err
	}
	asJSON, err := json.Marshal(v)
	if err != nil {
		return Config{}, err
	}
	return settings.Decode(asJSON, base, kinds()...)
}

// MarshalJSON writes all settings, as DecodeConfig reads them.
func (c Config) MarshalJSON() ([]byte, error) {
	type plain Config // without this method
	return settings.Encode(plain(c), kinds()...)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Config) UnmarshalJSON(text []byte) (err error) {
	*c, err = settings.Decode(text, Config{}, kinds()...)
	return err
}

// Validate returns an error that names every invalid setting.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("relevance: Config."+format, args...))
	}
	part := func(name string, v interface{ Validate() error }) {
		if v == nil {
			add("%s is missing", name)
		} else if err := v.Validate(); err != nil {
			add("%s: %w", name, err)
		}
	}
	if c.Backend == "" {
		add("Backend is empty, want the name of a tensor backend such as cpu")
	}
	part("Policy", c.Policy)
	w, r, s := c.Warmup, c.Reinforce, c.Student
	for _, f := range []struct {
		name  string
		v     int
		least int
	}{
		{"MaxTokens", c.MaxTokens, 1}, {"DocumentTokens", c.DocumentTokens, 1},
		{"CheckpointEvery", c.CheckpointEvery, 1}, {"SampleEvery", c.SampleEvery, 1},
		{"SamplePrompts", c.SamplePrompts, 0}, {"BaselineRows", c.BaselineRows, 1},
		{"Warmup.Steps", w.Steps, 0}, {"Warmup.Batch", w.Batch, min(w.Steps, 1)}, {"Warmup.ProbePrompts", w.ProbePrompts, 0},
		{"Reinforce.Steps", r.Steps, 0}, {"Reinforce.Prompts", r.Prompts, 1}, {"Reinforce.Group", r.Group, 1},
		{"Reinforce.DynamicRounds", r.DynamicRounds, 0}, {"Validation.Rows", c.Validation.Rows, 0},
	} {
		if f.v < f.least {
			add("%s is %d, want at least %d", f.name, f.v, f.least)
		}
	}
	if r.Steps > 0 && c.SamplePrompts > r.Prompts {
		add("SamplePrompts is %d, want at most the %d of a training step", c.SamplePrompts, r.Prompts)
	}
	if !(w.Passes >= 0) {
		add("Warmup.Passes is %v, want at least 0", w.Passes)
	}
	if w.Steps > 0 {
		part("Warmup.LR", rl.Constant{LR: w.LR})
	}
	if c.Validation.Rows > 0 && c.Validation.Metric != MetricAccuracy && c.Validation.Metric != MetricQWK {
		add("Validation.Metric is %q, want accuracy or qwk", c.Validation.Metric)
	}
	if r.Steps > 0 {
		part("Reinforce.LR", rl.Constant{LR: r.LR})
		part("Reinforce.Estimator", r.Estimator)
		part("Reinforce.Objective", r.Objective)
		part("Reinforce.Aggregation", r.Aggregation)
		if r.Objective != nil {
			if r.Objective.Needs()&objective.InputRef != 0 {
				add("Reinforce.Objective needs a reference policy, which a run does not have: want one without a KL term")
			}
			switch taught := r.Objective.Needs()&(objective.InputTeacher|objective.InputCandidates) != 0; {
			case taught && (r.Teacher == nil || r.Teacher.Dir == ""):
				add("Reinforce.Teacher.Dir is missing, but the objective needs a teacher")
			case !taught && r.Teacher != nil:
				add("Reinforce.Teacher is set, but the objective reads nothing of it")
			case taught && r.Objective.Needs()&objective.InputCandidates != 0 && r.Teacher.K < 1:
				add("Reinforce.Teacher.K is %d, want the number of candidates at each position", r.Teacher.K)
			}
		}
		var names []string
		for i, n := range r.Credits {
			part(fmt.Sprintf("Reinforce.Credits[%d].Credit", i), n.Credit)
			if n.Name == "" || slices.Contains(names, n.Name) {
				add("Reinforce.Credits[%d].Name is %q, want a name of its own", i, n.Name)
			}
			names = append(names, n.Name)
		}
		if len(r.Credits) == 0 {
			add("Reinforce.Credits is empty, want at least one")
		}
	}
	if s.Encoder != nil {
		s.check(add, part)
	}
	return errors.Join(errs...)
}

// formSteps is how many steps of warm-up it takes to learn the form of the answers,
// however few the rows are.
const formSteps = 300

// bounded is the number of steps over a source of so many training rows, 0 if it has no
// end.
func (w *Warmup) bounded(size int) int {
	if size == 0 || w.Passes == 0 {
		return w.Steps
	}
	return min(w.Steps, max(int(w.Passes*float64(size))/max(w.Batch, 1), formSteps))
}

// schedule is the learning rate of the reinforcement stages.
func (r *Reinforce) schedule() rl.Schedule {
	steps := int64(max(r.MiniBatches, 1) * r.Steps)
	return rl.WarmupLinear{LR: r.LR, Warmup: min(5, steps), Total: steps, Final: 0.2 * r.LR}
}

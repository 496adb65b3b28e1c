package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LoRAConfigFile and LoRAWeightsFile are the names of the files of saved
// adapters, as in PEFT.
const (
	LoRAConfigFile  = "adapter_config.json"
	LoRAWeightsFile = "adapter_model.safetensors"
)

// Projections is a set of the linear layers in every block of a decoder, such
// as QProj|VProj.
type Projections uint8

// The projections of a block: those of attention, and those of the feed-forward
// layer.
const (
	QProj Projections = 1 << iota
	KProj
	VProj
	OProj
	GateProj
	UpProj
	DownProj

	AttentionProjections = QProj | KProj | VProj | OProj
	AllProjections       = AttentionProjections | GateProj | UpProj | DownProj
)

// projections are the modules of a block, in the order of the bits.
var projections = [...]struct {
	parent, name string
	layer        func(*block) *linear
}{
	{"self_attn", "q_proj", func(b *block) *linear { return b.Attention.Q }},
	{"self_attn", "k_proj", func(b *block) *linear { return b.Attention.K }},
	{"self_attn", "v_proj", func(b *block) *linear { return b.Attention.V }},
	{"self_attn", "o_proj", func(b *block) *linear { return b.Attention.O }},
	{"mlp", "gate_proj", func(b *block) *linear { return b.MLP.Gate }},
	{"mlp", "up_proj", func(b *block) *linear { return b.MLP.Up }},
	{"mlp", "down_proj", func(b *block) *linear { return b.MLP.Down }},
}

// names lists the modules of the set.
func (p Projections) names() []string {
	names := []string{}
	for i, m := range projections {
		if p&(1<<i) != 0 {
			names = append(names, m.name)
		}
	}
	return names
}

// String returns the modules' names, joined by "|".
func (p Projections) String() string { return strings.Join(p.names(), "|") }

// LoRAConfig describes low-rank adapters (Hu et al., arXiv:2106.09685).
type LoRAConfig struct {
	// Rank is the adapters' rank, r: at least 1.
	Rank int
	// Alpha > 0 scales what adapters add by Alpha/Rank.
	Alpha float64
	// Targets are the projections that get an adapter in every block, at least
	// one. The paper has QProj|VProj; AllProjections learns more for the same
	// memory.
	Targets Projections
	// Base is the name or path of the model that the adapters belong to, for
	// programs that read saved adapters; may be empty.
	Base string
}

// Validate returns an error that names the first invalid field.
func (c LoRAConfig) Validate() error {
	switch {
	case c.Rank < 1 || c.Rank > math.MaxInt32:
		return fmt.Errorf("model: LoRAConfig.Rank is %d, want at least 1", c.Rank)
	case !(c.Alpha > 0) || math.IsInf(c.Alpha, 0):
		return fmt.Errorf("model: LoRAConfig.Alpha is %g, want a positive number", c.Alpha)
	case c.Targets == 0 || c.Targets&^AllProjections != 0:
		return fmt.Errorf("model: LoRAConfig.Targets is %#x, want some of AllProjections", uint8(c.Targets))
	}
	return nil
}

// peftConfig is what Save writes: all that PEFT, vLLM and this package need.
type peftConfig struct {
	PEFTType  string   `json:"peft_type"`
	TaskType  string   `json:"task_type"`
	Base      *string  `json:"base_model_name_or_path"`
	Rank      int      `json:"r"`
	Alpha     float64  `json:"lora_alpha"`
	Dropout   float64  `json:"lora_dropout"`
	Targets   []string `json:"target_modules"`
	Bias      string   `json:"bias"`
	Inference bool     `json:"inference_mode"`
	Init      bool     `json:"init_lora_weights"`
	FanInOut  bool     `json:"fan_in_fan_out"`
	DoRA      bool     `json:"use_dora"`
	RSLoRA    bool     `json:"use_rslora"`
	Modules   []string `json:"modules_to_save"`
}

func (c LoRAConfig) peft() *peftConfig {
	p := &peftConfig{
		PEFTType: "LORA", TaskType: "CAUSAL_LM", Rank: c.Rank, Alpha: c.Alpha,
		Targets: c.Targets.names(), Bias: "none", Inference: true, Init: true,
	}
	if c.Base != "" {
		p.Base = &c.Base
	}
	return p
}

// ReadLoRAConfig reads the configuration of adapters that LoRA.Save or PEFT
// saved into a directory. A setting that this package does not know is an error
// that names it, unless it is off. lora_dropout may have any value: it matters
// in training only, and training here has no dropout.
func ReadLoRAConfig(dir string) (LoRAConfig, error) {
	path := filepath.Join(dir, LoRAConfigFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return LoRAConfig{}, err
	}
	c, err := parseLoRAConfig(text)
	if err != nil {
		return LoRAConfig{}, fmt.Errorf("model: %s: %w", path, err)
	}
	return c, nil
}

// loraIgnored are settings of PEFT that change nothing here: facts about the
// file, dropout, and parameters of methods that must be off anyway.
var loraIgnored = []string{
	"auto_mapping", "inference_mode", "lora_dropout", "megatron_core", "peft_version", "qalora_group_size", "revision",
}

func parseLoRAConfig(text []byte) (LoRAConfig, error) {
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil {
		return LoRAConfig{}, err
	}
	var c LoRAConfig
	var kind, task, bias string
	var targets json.RawMessage
	for _, f := range []struct {
		name string
		into any
	}{
		{"peft_type", &kind}, {"task_type", &task}, {"bias", &bias}, {"base_model_name_or_path", &c.Base},
		{"r", &c.Rank}, {"lora_alpha", &c.Alpha}, {"target_modules", &targets},
	} {
		value, ok := fields[f.name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(value, f.into); err != nil {
			return LoRAConfig{}, fmt.Errorf("%s: %w", f.name, err)
		}
		delete(fields, f.name)
	}
	switch {
	case kind != "LORA":
		return LoRAConfig{}, fmt.Errorf("peft_type is %q, want %q", kind, "LORA")
	case task != "" && task != "CAUSAL_LM":
		return LoRAConfig{}, fmt.Errorf("task_type is %q, want %q", task, "CAUSAL_LM")
	case bias != "" && bias != "none":
		return LoRAConfig{}, fmt.Errorf("bias is %q, want %q", bias, "none")
	}
	var err error
	if c.Targets, err = parseTargets(targets); err != nil {
		return LoRAConfig{}, fmt.Errorf("target_modules: %w", err)
	}
	// Other initialisations change the base model's weights.
	switch init := string(fields["init_lora_weights"]); init {
	case "", "true", "false", `"gaussian"`, `"orthogonal"`, `"eva"`:
		delete(fields, "init_lora_weights")
	default:
		return LoRAConfig{}, fmt.Errorf("init_lora_weights is %s, which is not known", init)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !slices.Contains(loraIgnored, name) && !off(fields[name]) {
			return LoRAConfig{}, fmt.Errorf("%s is %s, which is not known", name, fields[name])
		}
	}
	return c, c.Validate()
}

// parseTargets reads a list of modules, or "all-linear".
func parseTargets(text json.RawMessage) (Projections, error) {
	if string(text) == `"all-linear"` {
		return AllProjections, nil
	}
	var names []string
	if json.Unmarshal(text, &names) != nil {
		return 0, errors.New(`want a list of modules, or "all-linear"`)
	}
	var p Projections
	for _, name := range names {
		i := slices.Index(AllProjections.names(), name)
		if i < 0 {
			return 0, fmt.Errorf("%q is none of %s", name, AllProjections)
		}
		p |= 1 << i
	}
	return p, nil
}

// off reports whether a setting's value means that it is not in use: null,
// false, 0 or empty.
func off(value json.RawMessage) bool {
	var v any
	if json.Unmarshal(value, &v) != nil {
		return false
	}
	switch v := v.(type) {
	case nil:
		return true
	case bool:
		return !v
	case float64:
		return v == 0
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
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
	// RSLoRA scales by Alpha/√Rank instead (Kalajdzievski, arXiv:2312.03732).
	RSLoRA bool
	// Targets are the projections that get an adapter in every block. The
	// paper has QProj|VProj; AllProjections learns more for the same memory.
	// There must be at least one, unless Select has target_modules.
	Targets Projections
	// Select, if not empty, says more about which modules are trained and how:
	// a JSON object with settings of PEFT, which have PEFT's meaning:
	// target_modules (a list of names and paths, or a regular expression, in
	// place of Targets), exclude_modules, layers_to_transform, layers_pattern,
	// rank_pattern, alpha_pattern, and modules_to_save, of which the weights
	// themselves are trained. As with PEFT, a name there that no module has is
	// ignored, and the trained copy of one half of a tied model is not tied to
	// the other: of such a model name both embed_tokens and lm_head, or neither.
	Select string
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
	case c.Targets&^AllProjections != 0:
		return fmt.Errorf("model: LoRAConfig.Targets is %#x, want some of AllProjections", uint8(c.Targets))
	}
	s, err := c.selection()
	switch {
	case err != nil:
		return fmt.Errorf("model: LoRAConfig.Select: %w", err)
	case c.Targets == 0 && !s.targets.given():
		return errors.New("model: LoRAConfig.Targets is 0, want some of AllProjections")
	case c.Targets != 0 && s.targets.given():
		return fmt.Errorf("model: LoRAConfig.Targets is %s, want 0 with target_modules in Select", c.Targets)
	}
	return nil
}

// peftConfig is what Save writes: all that PEFT, vLLM and this package need.
type peftConfig struct {
	PEFTType  string  `json:"peft_type"`
	TaskType  string  `json:"task_type"`
	Base      *string `json:"base_model_name_or_path"`
	Rank      int     `json:"r"`
	Alpha     float64 `json:"lora_alpha"`
	Dropout   float64 `json:"lora_dropout"`
	Bias      string  `json:"bias"`
	Inference bool    `json:"inference_mode"`
	Init      bool    `json:"init_lora_weights"`
	FanInOut  bool    `json:"fan_in_fan_out"`
	DoRA      bool    `json:"use_dora"`
	RSLoRA    bool    `json:"use_rslora"`
	peftSelect
}

// peftSelect are the settings of LoRAConfig.Select, in PEFT's own form.
type peftSelect struct {
	Targets       json.RawMessage `json:"target_modules,omitempty"`
	Exclude       json.RawMessage `json:"exclude_modules,omitempty"`
	Layers        json.RawMessage `json:"layers_to_transform,omitempty"`
	LayersPattern json.RawMessage `json:"layers_pattern,omitempty"`
	Ranks         json.RawMessage `json:"rank_pattern,omitempty"`
	Alphas        json.RawMessage `json:"alpha_pattern,omitempty"`
	Modules       json.RawMessage `json:"modules_to_save,omitempty"`
}

// peft returns the form of c that PEFT reads. c is valid.
func (c LoRAConfig) peft() *peftConfig {
	p := &peftConfig{
		PEFTType: "LORA", TaskType: "CAUSAL_LM", Rank: c.Rank, Alpha: c.Alpha,
		Bias: "none", Inference: true, Init: true, RSLoRA: c.RSLoRA,
	}
	if c.Base != "" {
		p.Base = &c.Base
	}
	if c.Select != "" {
		_ = json.Unmarshal([]byte(c.Select), &p.peftSelect) // it is valid
	}
	if c.Targets != 0 {
		p.Targets, _ = json.Marshal(c.Targets.names())
	}
	if p.Modules == nil {
		p.Modules = null
	}
	return p
}

// asRead returns c, which is valid, in the one form that ReadLoRAConfig has for it, however
// Select was laid out: without settings that are off, and with Targets in place of
// target_modules that it can express.
func (c LoRAConfig) asRead() (LoRAConfig, error) {
	text, err := json.Marshal(c.peft())
	if err != nil {
		return LoRAConfig{}, fmt.Errorf("model: LoRAConfig: %w", err)
	}
	return parseLoRAConfig(text)
}

// ReadLoRAConfig reads the configuration of adapters that LoRA.Save or PEFT
// saved into a directory. A setting that this package does not know is an error
// that names it, unless it is off. lora_dropout may have any value: it matters
// in training only, and training here has no dropout.
func ReadLoRAConfig(dir string) (LoRAConfig, error) {
	path := filepath.Join(dir, LoRAConfigFile)
	text, err := readFile(path)
	if err != nil {
		return LoRAConfig{}, err
	}
	c, err := parseLoRAConfig(text)
	if err != nil {
		return LoRAConfig{}, fmt.Errorf("model: %s: %w", path, err)
	}
	return c, nil
}

// peftVocabulary is what an adapter_config.json holds besides what is read: facts
// about the file, dropout, and parameters of methods that must be off anyway.
var peftVocabulary = vocabulary{
	harmless: map[string][]string{
		"where the file comes from":    {"auto_mapping", "peft_version", "revision"},
		"training only":                {"inference_mode", "lora_dropout"},
		"for methods that must be off": {"megatron_core", "qalora_group_size"},
	},
	// Other initialisations change the base model's weights.
	neutral: map[string][]any{
		"init_lora_weights": {true, false, "gaussian", "orthogonal", "eva"},
		"bias":              {"none"},
		"peft_type":         {"LORA"},
		"task_type":         {"CAUSAL_LM"},
	},
}

func parseLoRAConfig(text []byte) (LoRAConfig, error) {
	fields, err := parseFields(text)
	if err != nil {
		return LoRAConfig{}, err
	}
	if kind := fields["peft_type"]; kind == nil || isNull(kind) {
		return LoRAConfig{}, errors.New(`no peft_type, want "LORA"`)
	}
	maps.DeleteFunc(fields, func(name string, value json.RawMessage) bool {
		number := name == "r" || name == "lora_alpha" || name == "layers_to_transform" // of which 0 is one
		return !number && off(value)
	})
	h := struct {
		Rank   int     `json:"r"`
		Alpha  float64 `json:"lora_alpha"`
		Base   string  `json:"base_model_name_or_path"`
		RSLoRA bool    `json:"use_rslora"`
		Tied   bool    `json:"ensure_weight_tying"`
		peftSelect
	}{Rank: 8, Alpha: 8} // the defaults of PEFT
	if err := peftVocabulary.decode(fields, &h); err != nil {
		return LoRAConfig{}, err
	}
	c := LoRAConfig{Rank: h.Rank, Alpha: h.Alpha, RSLoRA: h.RSLoRA, Base: h.Base}
	if h.Tied && h.Modules != nil {
		return LoRAConfig{}, errors.New("ensure_weight_tying is true, want false with modules_to_save")
	}
	if c.Targets = parseTargets(h.Targets); c.Targets != 0 {
		h.Targets = nil
	}
	if c.Select, err = h.peftSelect.text(); err != nil {
		return LoRAConfig{}, err
	}
	return c, c.Validate()
}

// parseTargets returns the projections that target_modules lists by name; 0 if it
// says anything else.
func parseTargets(text json.RawMessage) (p Projections) {
	if string(text) == `"all-linear"` {
		return AllProjections
	}
	var names []string
	if json.Unmarshal(text, &names) != nil {
		return 0
	}
	for _, name := range names {
		i := slices.Index(AllProjections.names(), name)
		if i < 0 {
			return 0
		}
		p |= 1 << i
	}
	return p
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

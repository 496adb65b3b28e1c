package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// hfHeader is the part of a config.json that says how to read the rest.
type hfHeader struct {
	Architectures []string  `json:"architectures"`
	ModelType     string    `json:"model_type"`
	Encoder       *hfLabels `json:"stepwise_encoder,omitempty"`
}

// hfLabels is what an encoder adds to a config.json.
type hfLabels struct {
	Classes int     `json:"classes"`
	Pooling Pooling `json:"pooling"`
	Causal  bool    `json:"causal,omitempty"`

	dense bool // the classifier is that of transformers
}

// hfLabelNames are the classes of transformers' classifiers, from which it knows how
// many there are, and what other programs make of their logits.
type hfLabelNames struct {
	ID2Label json.RawMessage `json:"id2label,omitempty"`
	Label2ID json.RawMessage `json:"label2id,omitempty"`

	Problem    json.RawMessage `json:"problem_type,omitempty"`
	Activation json.RawMessage `json:"sentence_transformers,omitempty"`
	// OldActivation is Activation before sentence-transformers 4.
	OldActivation json.RawMessage `json:"sbert_ce_default_activation_function,omitempty"`
}

// origin is what the folder of a loaded model says to other programs. It changes
// no number here; Export writes it again. The zero value is that of a model that was not
// loaded, whose special tokens nobody knows.
type origin struct {
	loaded        bool
	bos, eos, pad json.RawMessage
	labels        hfLabelNames // of a classifier that was loaded
	ends          TokenIDs     // of a decoder, see Decoder.EOS; they go before eos
}

// readOrigin reads what dir's config.json says, of its labels too if the classifier is
// loaded.
func readOrigin(dir string, classifier bool) (o origin, err error) {
	_, fields, err := readFields(dir, ConfigFile)
	if err != nil {
		return o, err
	}
	o = origin{loaded: true, bos: fields["bos_token_id"], eos: fields["eos_token_id"], pad: fields["pad_token_id"]}
	if !classifier {
		return o, nil
	}
	o.labels = hfLabelNames{
		Problem: fields["problem_type"], Activation: fields["sentence_transformers"], OldActivation: fields["sbert_ce_default_activation_function"],
	}
	if names := fields["id2label"]; names != nil && !isNull(names) {
		o.labels.ID2Label, o.labels.Label2ID = names, fields["label2id"]
	}
	return o, nil
}

// writeTokens completes what Export writes of the special tokens, with g or without.
func (o *origin) writeTokens(s *hfShape, g *Generation) {
	pad := s.Pad
	switch {
	case g != nil:
		s.BOS, s.EOS, s.Pad = g.tokens()
	case o.loaded:
		s.BOS, s.EOS, s.Pad = o.bos, o.eos, o.pad
	default:
		s.BOS, s.EOS, s.Pad = null, null, null // not transformers' defaults
	}
	if g == nil && len(o.ends) > 0 {
		s.EOS = raw(o.ends)
	}
	if pad != nil { // positions count from it
		s.Pad = pad
	}
}

// writeLabels completes what Export writes of a classifier of transformers.
func (o *origin) writeLabels(names *hfLabelNames) {
	if names.ID2Label == nil {
		return
	}
	kept := o.labels
	if kept.ID2Label == nil {
		kept.ID2Label, kept.Label2ID = names.ID2Label, names.Label2ID
	}
	*names = kept
}

// labelNames returns the names that transformers gives to classes without names.
func labelNames(classes int) hfLabelNames {
	names, ids := map[int]string{}, map[string]int{}
	for i := range classes {
		name := fmt.Sprintf("LABEL_%d", i)
		names[i], ids[name] = name, i
	}
	var n hfLabelNames
	var err1, err2 error
	n.ID2Label, err1 = json.Marshal(names)
	n.Label2ID, err2 = json.Marshal(ids)
	if err := errors.Join(err1, err2); err != nil {
		panic("model: " + err.Error()) // strings and numbers
	}
	return n
}

// classifierSuffix ends the architectures of transformers' classifiers.
const classifierSuffix = "ForSequenceClassification"

// classifier returns the only architecture of h without its suffix, if it is one of
// transformers' classifiers.
func (h *hfHeader) classifier() (family string, ok bool) {
	if len(h.Architectures) != 1 {
		return "", false
	}
	return strings.CutSuffix(h.Architectures[0], classifierSuffix)
}

// classes returns the number of classes that a configuration of transformers has.
func classes(fields map[string]json.RawMessage, path string) (int, error) {
	if text, ok := fields["id2label"]; ok && !isNull(text) {
		names, err := parseFields(text)
		if err != nil {
			return 0, fmt.Errorf("model: %s: id2label: %w", path, err)
		}
		return len(names), nil
	}
	n := 2
	if text, ok := fields["num_labels"]; ok && !isNull(text) {
		if err := json.Unmarshal(text, &n); err != nil {
			return 0, fmt.Errorf("model: %s: num_labels is %.80s, want an integer", path, text)
		}
	}
	return n, nil
}

// hfShape is what the configurations of decoders and encoders share.
type hfShape struct {
	Vocab  int    `json:"vocab_size"`
	Dim    int    `json:"hidden_size"`
	Layers int    `json:"num_hidden_layers"`
	Heads  int    `json:"num_attention_heads"`
	FF     int    `json:"intermediate_size"`
	MaxSeq int    `json:"max_position_embeddings"`
	Act    string `json:"hidden_act,omitempty"`

	// DType is "float32", "float16" or "bfloat16". Reading ignores it, because
	// the weights' own type counts.
	DType string `json:"torch_dtype,omitempty"`

	// The tokens that begin, end and pad a sequence; ReadGeneration reads them.
	BOS json.RawMessage `json:"bos_token_id,omitempty"`
	EOS json.RawMessage `json:"eos_token_id,omitempty"`
	Pad json.RawMessage `json:"pad_token_id,omitempty"`
}

// readConfig reads dir's config.json and its header. The path is for errors.
func readConfig(dir string) (path string, fields map[string]json.RawMessage, h *hfHeader, err error) {
	if path, fields, err = readFields(dir, ConfigFile); err != nil {
		return path, nil, nil, err
	}
	h, err = parseHeader(fields, path)
	return path, fields, h, err
}

func parseHeader(fields map[string]json.RawMessage, path string) (*hfHeader, error) {
	var h hfHeader
	known := map[string]json.RawMessage{}
	for _, name := range []string{"architectures", "model_type", "stepwise_encoder"} {
		if value, ok := fields[name]; ok {
			known[name] = value
		}
	}
	if err := configVocabulary.decode(known, &h); err != nil {
		return nil, fmt.Errorf("model: %s: %w", path, err)
	}
	return &h, nil
}

// checkArchitecture returns an error unless every architecture that h names is
// one of known. The files of this package's llama-style encoders name none.
func (h *hfHeader) checkArchitecture(path string, known ...string) error {
	for _, a := range h.Architectures {
		if !slices.Contains(known, a) {
			return optionError(path, "architectures", fmt.Sprintf("%q", a), fmt.Sprintf("%q", known))
		}
	}
	return nil
}

// optionError says that a field of a configuration is not what it should be.
func optionError(path, field string, got any, want string) error {
	return fmt.Errorf("model: %s: %s is %v, want %s", path, field, got, want)
}

// or returns *p, or v if p is nil.
func or[T any](p *T, v T) T {
	if p == nil {
		return v
	}
	return *p
}

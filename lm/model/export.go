package model

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/internal/infile"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// ExportOptions say how a model is written for other programs. The zero value
// gives what Save writes.
type ExportOptions struct {
	// DType is the type of the weights: F32 (also if empty), F16 or BF16. A
	// value that it cannot hold is an error that names the tensor.
	DType safetensors.DType
	// ShardBytes spreads the weights over several files with an index, each
	// with at most this many bytes of tensors, or a single larger tensor; 0
	// means one file.
	ShardBytes int64
	// Generation, if not nil, is written to generation_config.json, and its
	// special tokens to config.json too; a nil EOS means the decoder's
	// (Decoder.EOS). Without it config.json gets the decoder's EOS, and so does a
	// generation_config.json that is there already and has others; else config.json says
	// of special tokens what it said where the model was loaded.
	Generation *Generation
	// TokenizerFrom is a directory whose tokenizer files are copied unchanged;
	// empty means none. It must have at least one. If it is of sentence-transformers,
	// an encoder becomes such a folder too, with the encoder's pooling.
	TokenizerFrom string
	// Body leaves out an encoder's classifier, and the layer before it. What is written
	// is a BertModel, Qwen3Model or the like, as programs want it that serve sentence
	// embeddings; PretrainedEncoder reads it. The pooling is written only with a
	// TokenizerFrom that is of sentence-transformers.
	Body bool
}

// Save writes the decoder's weights in float32 and its configuration, EOS included, into
// a directory, which it makes if need be, in the format of Hugging Face's transformers.
func (d *Decoder) Save(dir string) error { return d.Export(dir, ExportOptions{}) }

// Export writes the decoder into a directory, which it makes if need be, for
// LoadDecoder, transformers, vLLM and others. Every file appears whole or not at
// all; config.json comes last. A decoder with adapters is an error: LoRA.Save
// saves them, and LoRA.Merge makes them part of its weights.
func (d *Decoder) Export(dir string, o ExportOptions) error {
	if d.lora != nil {
		return errors.New("model: the decoder has adapters; LoRA.Save saves them, and LoRA.Merge makes them part of the weights to save")
	}
	if o.Body {
		return errors.New("model: ExportOptions.Body is true, want false: a decoder has no classifier to leave out")
	}
	if g := o.Generation; g != nil && g.EOS == nil {
		whole := *g
		whole.EOS, o.Generation = d.EOS(), &whole
	}
	if o.Generation == nil {
		if err := d.replaceEnds(dir); err != nil {
			return err
		}
	}
	h := decoderConfig(d.cfg)
	d.origin.writeTokens(&h.hfShape, o.Generation)
	return export(dir, d.b, d.params, h, &h.hfShape, o)
}

// Save writes the encoder's weights in float32 and its configuration into a
// directory, which it makes if need be.
func (e *Encoder) Save(dir string) error { return e.Export(dir, ExportOptions{}) }

// Export writes the encoder into a directory, which it makes if need be, for
// LoadEncoder. With DenseHead or ModernBERTStyle, and with Causal and LastPooling, the
// whole is a …ForSequenceClassification of transformers. With BERTStyle and its
// relatives otherwise, BertModel and the like read the body, without a pooling layer.
// The names of the classes, problem_type and the activation of sentence-transformers
// are those of the folder that the classifier was loaded from.
// Every file appears whole or not at all; config.json comes last.
func (e *Encoder) Export(dir string, o ExportOptions) error {
	config := encoderConfig(e.cfg)
	var header *hfHeader
	var shape *hfShape
	var labels *hfLabelNames
	switch h := config.(type) {
	case *hfDecoder:
		header, shape, labels = &h.hfHeader, &h.hfShape, &h.hfLabelNames
	case *hfBERT:
		header, shape, labels = &h.hfHeader, &h.hfShape, &h.hfLabelNames
	case *hfModernBERT:
		header, shape, labels = &h.hfHeader, &h.hfShape, &h.hfLabelNames
	}
	params := e.params
	if o.Body {
		if e.cfg.Style == LlamaStyle && !e.cfg.Causal {
			return fmt.Errorf("model: ExportOptions.Body is true, want false: transformers has no body of Style %q without Causal", LlamaStyle)
		}
		header.Architectures, header.Encoder, *labels = []string{e.cfg.bodyArchitecture()}, nil, hfLabelNames{}
		params = e.bodyParams()
	}
	if err := e.exportModules(dir, o.TokenizerFrom); err != nil {
		return err
	}
	e.origin.writeTokens(shape, o.Generation)
	e.origin.writeLabels(labels)
	return export(dir, e.b, params, config, shape, o)
}

// bodyArchitecture is what transformers calls the body alone.
func (c *EncoderConfig) bodyArchitecture() string {
	switch {
	case c.Style.bert():
		return bertFamilies[c.Style].name + "Model"
	case c.Style == ModernBERTStyle:
		return modernBERTArchitectures[0]
	}
	return hfFamilies[c.Family()].architectures[1]
}

// bodyParams are the parameters of the body, named as in transformers' model of it alone.
func (e *Encoder) bodyParams() []*tensor.Param {
	n, prefix := len(e.params)-1, "model."
	if e.score.Bias != nil {
		n--
	}
	if e.head != nil {
		n -= headTensors
	}
	if e.cfg.Style.bert() {
		prefix = e.cfg.bertPrefix()
	}
	params := make([]*tensor.Param, n)
	for i, p := range e.params[:n] {
		body := *p
		body.Name = strings.TrimPrefix(p.Name, prefix)
		params[i] = &body
	}
	return params
}

// exportModules writes what makes a folder one of sentence-transformers, if from is one.
func (e *Encoder) exportModules(dir, from string) error {
	if from == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join(from, modulesFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	pooling := filepath.Join(dir, "1_Pooling")
	if err := durable.MkdirAll(pooling); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	for _, name := range []string{modulesFile, "config_sentence_transformers.json", sentenceFile} {
		if _, err := copyFile(dir, from, name); err != nil {
			return err
		}
	}
	config := map[string]any{"word_embedding_dimension": e.cfg.Dim, "include_prompt": true}
	for field, mode := range poolingModes {
		config[field] = mode == e.cfg.Pooling
	}
	return writeJSON(filepath.Join(pooling, ConfigFile), config)
}

// export writes config, of which shape is a part, and params.
func export(dir string, b tensor.Backend, params []*tensor.Param, config any, shape *hfShape, o ExportOptions) error {
	o.DType = cmp.Or(o.DType, safetensors.F32)
	names := map[safetensors.DType]string{safetensors.F32: "float32", safetensors.F16: "float16", safetensors.BF16: "bfloat16"}
	if shape.DType = names[o.DType]; shape.DType == "" {
		return fmt.Errorf("model: ExportOptions.DType is %q, want F32, F16 or BF16", o.DType)
	}
	if o.ShardBytes < 0 {
		return fmt.Errorf("model: ExportOptions.ShardBytes is %d, want 0 (for one file) or more", o.ShardBytes)
	}
	if err := durable.MkdirAll(dir); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if err := writeWeights(dir, b, params, o); err != nil {
		return err
	}
	if g := o.Generation; g != nil {
		if err := writeJSON(filepath.Join(dir, GenerationFile), g); err != nil {
			return err
		}
	}
	if o.TokenizerFrom != "" {
		if err := copyTokenizer(dir, o.TokenizerFrom); err != nil {
			return err
		}
	}
	return writeJSON(filepath.Join(dir, ConfigFile), config)
}

// writeWeights writes params in one file, or in several with an index, and then
// removes those of an earlier export that are no part of it.
func writeWeights(dir string, b tensor.Backend, params []*tensor.Param, o ExportOptions) error {
	shards := divide(params, o)
	stale, parts := IndexFile, 0
	if len(shards) == 1 {
		if err := writeParams(b, params, filepath.Join(dir, WeightsFile), o.DType); err != nil {
			return err
		}
	} else {
		stale, parts = WeightsFile, len(shards)
		if err := writeShards(dir, b, shards, o.DType); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(dir, stale)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("model: %w", err)
	}
	return removeShards(dir, parts)
}

// shardName is the name of part i of n, from 1 on.
func shardName(i, n int) string { return fmt.Sprintf("model-%05d-of-%05d.safetensors", i, n) }

// removeShards removes the parts of exports with another number of parts.
func removeShards(dir string, parts int) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	for _, e := range entries {
		var i, n int
		if _, err := fmt.Sscanf(e.Name(), "model-%d-of-%d.safetensors", &i, &n); err != nil || n == parts || e.Name() != shardName(i, n) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("model: %w", err)
		}
	}
	return nil
}

// divide cuts params into runs of at most o.ShardBytes.
func divide(params []*tensor.Param, o ExportOptions) (shards [][]*tensor.Param) {
	from, size := 0, int64(0)
	for i, p := range params {
		n := bytesOf(p, o.DType)
		if o.ShardBytes > 0 && i > from && size+n > o.ShardBytes {
			shards = append(shards, params[from:i])
			from, size = i, 0
		}
		size += n
	}
	return append(shards, params[from:])
}

// bytesOf returns the size of a parameter in a file.
func bytesOf(p *tensor.Param, dtype safetensors.DType) int64 {
	t := safetensors.Tensor{DType: dtype, Shape: p.Shape}
	return t.Bytes()
}

func writeShards(dir string, b tensor.Backend, shards [][]*tensor.Param, dtype safetensors.DType) error {
	var index struct {
		Metadata struct {
			Size int64 `json:"total_size"`
		} `json:"metadata"`
		Files map[string]string `json:"weight_map"`
	}
	index.Files = map[string]string{}
	for i, params := range shards {
		name := shardName(i+1, len(shards))
		if err := writeParams(b, params, filepath.Join(dir, name), dtype); err != nil {
			return err
		}
		for _, p := range params {
			index.Files[p.Name] = name
			index.Metadata.Size += bytesOf(p, dtype)
		}
	}
	return writeJSON(filepath.Join(dir, IndexFile), index)
}

// writeParams writes the values of params to a safetensors file of a type and
// syncs it to disk. It appears whole or not at all.
func writeParams(b tensor.Backend, params []*tensor.Param, path string, dtype safetensors.DType) error {
	infos := make([]safetensors.Tensor, len(params))
	for i, p := range params {
		infos[i] = safetensors.Tensor{Name: p.Name, DType: dtype, Shape: p.Shape}
	}
	return writeFile(path, func(f io.Writer) error {
		w, err := safetensors.NewWriter(f, infos, map[string]string{"format": "pt"})
		if err != nil {
			return err
		}
		for _, p := range params {
			if err := readValues(b, p.Value, w.Write); err != nil {
				return fmt.Errorf("tensor %q: %w", p.Name, err)
			}
		}
		return w.Close()
	})
}

func writeJSON(path string, v any) error {
	return writeFile(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	})
}

// writeFile writes a file that appears whole or not at all.
func writeFile(path string, write func(w io.Writer) error) error {
	if err := durable.Replace(path, write); err != nil {
		return fmt.Errorf("model: %s: %w", path, err)
	}
	return nil
}

// tokenizerFiles are the files of Hugging Face's tokenizers, old and new.
var tokenizerFiles = []string{
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"chat_template.jinja", "chat_template.json", "vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "sentencepiece.bpe.model",
}

// templatesDir is where a tokenizer has chat templates besides its default one.
const templatesDir = "additional_chat_templates"

// CheckTokenizer returns an error (fs.ErrNotExist) unless a folder has files of a
// tokenizer, which Export can copy.
func CheckTokenizer(dir string) error {
	if !slices.ContainsFunc(tokenizerFiles, func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }) {
		return fmt.Errorf("model: %s has no tokenizer file (%s, …): %w", dir, tokenizerFiles[0], fs.ErrNotExist)
	}
	return nil
}

// copyTokenizer copies the tokenizer files that from has, which must be at least
// one.
func copyTokenizer(dir, from string) error {
	if err := CheckTokenizer(from); err != nil {
		return err
	}
	templates, err := fs.Glob(os.DirFS(from), templatesDir+"/*.jinja")
	if err == nil && len(templates) > 0 {
		err = durable.MkdirAll(filepath.Join(dir, templatesDir))
	}
	if err != nil {
		return fmt.Errorf("model: %w", err)
	}
	for _, name := range slices.Concat(tokenizerFiles, templates) {
		if _, err := copyFile(dir, from, name); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file if there is one.
func copyFile(dir, from, name string) (there bool, err error) {
	src, _, err := infile.Open(filepath.Join(from, name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("model: %w", err)
	}
	defer src.Close()
	return true, writeFile(filepath.Join(dir, name), func(w io.Writer) error {
		_, err := io.Copy(w, src)
		return err
	})
}

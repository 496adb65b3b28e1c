package gguf

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Options say how Export writes a decoder.
type Options struct {
	// Type is the type of matrices; the zero value is F32. Vectors are always
	// F32. A value that it cannot hold is an error that names the tensor.
	Type Type
	// Name is the model's display name; empty means its family's name.
	Name string
	// TokenizerFrom is the folder of tokenizer.json, and of the chat templates
	// if there are any. If empty, the file has no vocabulary, for programs that
	// work with token ids.
	TokenizerFrom string
	// Generation gives the special tokens. At most three of them may end a text
	// (EOS). If it is nil, they are those of the generation settings in the folder
	// TokenizerFrom. If none ends a text by these, the decoder's EOS do.
	Generation *model.Generation
}

// Export writes a decoder to a GGUF file, which appears whole or not at all. A
// model that llama.cpp cannot run, a tokenizer that does not fit the model, and
// adapters that are not merged are errors.
func Export(path string, d *model.Decoder, o Options) error {
	if d.LoRA() != nil {
		return errors.New("gguf: the decoder has adapters that are not merged")
	}
	if o.Type != F32 && o.Type != F16 && o.Type != BF16 {
		return fmt.Errorf("gguf: Options.Type is %v, want F32, F16 or BF16", o.Type)
	}
	metadata, err := describe(d, o)
	if err != nil {
		return err
	}
	err = durable.Replace(path, func(w io.Writer) error { return write(w, d, metadata, o) })
	if err != nil {
		return fmt.Errorf("gguf: %s: %w", path, err)
	}
	return nil
}

// describe returns the metadata of a model.
func describe(d *model.Decoder, o Options) ([]KV, error) {
	c := d.Config()
	family := c.Family()
	switch {
	case c.QKNorm && c.QKVBias:
		return nil, errors.New("gguf: llama.cpp has no model with both q and k norms and biases")
	case c.RopeScaling.Type == model.RopeLlama3 && family != "llama":
		return nil, fmt.Errorf("gguf: llama.cpp scales frequencies as llama3 does for family llama only, not %s", family)
	}
	fileType := map[Type]uint32{F32: 0, F16: 1, BF16: 32}[o.Type]
	o.Name = cmp.Or(o.Name, family)
	metadata := []KV{
		{"general.architecture", family},
		{"general.name", o.Name},
		{"general.file_type", fileType},
	}
	for _, kv := range []KV{
		{"vocab_size", uint32(c.Vocab)},
		{"context_length", uint32(c.MaxSeq)},
		{"embedding_length", uint32(c.Dim)},
		{"block_count", uint32(c.Layers)},
		{"feed_forward_length", uint32(c.FF)},
		{"attention.head_count", uint32(c.Heads)},
		{"attention.head_count_kv", uint32(c.KVHeads)},
		{"attention.key_length", uint32(c.HeadDim)},
		{"attention.value_length", uint32(c.HeadDim)},
		{"attention.layer_norm_rms_epsilon", float32(c.NormEps)},
		{"rope.dimension_count", uint32(c.HeadDim)},
		{"rope.freq_base", float32(c.RopeTheta)},
	} {
		metadata = append(metadata, KV{family + "." + kv.Key, kv.Value})
	}
	if c.RopeScaling.Type == model.RopeLinear {
		metadata = append(metadata,
			KV{family + ".rope.scaling.type", "linear"},
			KV{family + ".rope.scaling.factor", float32(c.RopeScaling.Factor)})
	}
	if o.TokenizerFrom == "" {
		metadata = append(metadata, KV{"tokenizer.ggml.model", "no_vocab"})
	} else {
		tokenizer, err := readTokenizer(o.TokenizerFrom, c.Vocab)
		if err != nil {
			return nil, err
		}
		metadata = append(metadata, tokenizer...)
	}
	if o.Generation == nil && o.TokenizerFrom != "" {
		switch g, err := model.ReadGeneration(o.TokenizerFrom); {
		case err == nil:
			o.Generation = &g
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	if o.TokenizerFrom != "" && (o.Generation == nil || o.Generation.EOS == nil) {
		var g model.Generation
		if o.Generation != nil {
			g = *o.Generation
		}
		g.EOS, o.Generation = d.EOS(), &g
	}
	metadata, err := specialTokens(metadata, o.Generation, c.Vocab)
	if err != nil {
		return nil, err
	}
	if o.TokenizerFrom != "" && !slices.ContainsFunc(metadata, func(kv KV) bool { return kv.Key == endKey }) {
		return nil, errors.New("gguf: no token ends a text (Options.Generation.EOS, or Decoder.SetEOS); llama.cpp would choose one itself")
	}
	return metadata, nil
}

// endKey is the key of the token that ends a text.
const endKey = "tokenizer.ggml.eos_token_id"

// specialTokens sets the special tokens that g gives.
func specialTokens(metadata []KV, g *model.Generation, vocab int) ([]KV, error) {
	if g == nil {
		return metadata, nil
	}
	ids := map[string]int32{}
	if g.BOS != nil {
		ids["bos"] = *g.BOS
	}
	if g.Pad != nil {
		ids["padding"] = *g.Pad
	}
	ends := []string{"eos", "eot", "eom"}
	if len(g.EOS) > len(ends) {
		return nil, fmt.Errorf("gguf: %d tokens end a text, but a file has room for %d", len(g.EOS), len(ends))
	}
	for i, id := range g.EOS {
		ids[ends[i]] = id
	}
	for _, name := range []string{"bos", "eos", "eot", "eom", "padding"} {
		id, ok := ids[name]
		if !ok {
			continue
		}
		if id < 0 || int(id) >= vocab {
			return nil, fmt.Errorf("gguf: the %s token is %d, but the model has %d tokens", name, id, vocab)
		}
		key := "tokenizer.ggml." + name + "_token_id"
		metadata = slices.DeleteFunc(metadata, func(kv KV) bool { return kv.Key == key }) // the tokenizer's
		metadata = append(metadata, KV{key, uint32(id)})
	}
	return metadata, nil
}

// write writes the file of a decoder.
func write(w io.Writer, d *model.Decoder, metadata []KV, o Options) error {
	c := d.Config()
	var tensors []Tensor
	if c.RopeScaling.Type == model.RopeLlama3 {
		tensors = append(tensors, Tensor{Name: "rope_freqs.weight", Type: F32, Shape: []int{c.HeadDim / 2}})
	}
	for _, p := range d.Params() {
		name, err := tensorName(p.Name)
		if err != nil {
			return err
		}
		t := Tensor{Name: name, Type: o.Type, Shape: p.Shape}
		if len(p.Shape) == 1 {
			t.Type = F32
		}
		tensors = append(tensors, t)
	}
	out, err := NewWriter(w, metadata, tensors)
	if err != nil {
		return err
	}
	if c.RopeScaling.Type == model.RopeLlama3 {
		divisors := make([]float32, c.HeadDim/2)
		for i, v := range c.RopeDivisors() {
			divisors[i] = float32(v)
		}
		if err := out.Write(divisors); err != nil {
			return err
		}
	}
	for _, p := range d.Params() {
		if err := writeParam(out, d.Backend(), p, c); err != nil {
			return fmt.Errorf("tensor %q: %w", p.Name, err)
		}
	}
	return out.Close()
}

// names translates parts of tensor names to llama.cpp's.
var names = strings.NewReplacer(
	"model.embed_tokens.", "token_embd.",
	"model.norm.", "output_norm.",
	"lm_head.", "output.",
	"model.layers.", "blk.",
	"input_layernorm.", "attn_norm.",
	"post_attention_layernorm.", "ffn_norm.",
	"self_attn.q_proj.", "attn_q.",
	"self_attn.k_proj.", "attn_k.",
	"self_attn.v_proj.", "attn_v.",
	"self_attn.o_proj.", "attn_output.",
	"self_attn.q_norm.", "attn_q_norm.",
	"self_attn.k_norm.", "attn_k_norm.",
	"mlp.gate_proj.", "ffn_gate.",
	"mlp.up_proj.", "ffn_up.",
	"mlp.down_proj.", "ffn_down.",
)

func tensorName(param string) (string, error) {
	name := names.Replace(param)
	if strings.Contains(name, "model.") || strings.Contains(name, "self_attn.") || strings.Contains(name, "mlp.") {
		return "", fmt.Errorf("no name for tensor %q", param)
	}
	return name, nil
}

// writeParam writes a parameter's values. The rows of projections that are
// rotated are put in llama.cpp's order.
func writeParam(w *Writer, b tensor.Backend, p *tensor.Param, c model.Config) error {
	heads := 0
	if c.Family() == "llama" {
		switch {
		case strings.Contains(p.Name, "q_proj."):
			heads = c.Heads
		case strings.Contains(p.Name, "k_proj."):
			heads = c.KVHeads
		}
	}
	part := ioBlock
	if heads > 0 {
		part = p.Len() / heads // one head at a time
	}
	values := make([]float32, min(part, p.Len()))
	for from := 0; from < p.Len(); from += part {
		to := min(from+part, p.Len())
		v := values[:to-from]
		if err := b.Read(v, b.Slice(p.Value, from, to)); err != nil {
			return err
		}
		if heads > 0 {
			v = interleave(v, c.HeadDim)
		}
		if err := w.Write(v); err != nil {
			return err
		}
	}
	return nil
}

// interleave moves the rows i and i+n/2 of a head of n rows to 2i and 2i+1.
func interleave(v []float32, n int) []float32 {
	cols := len(v) / n
	out := make([]float32, 0, len(v))
	for i := range n / 2 {
		out = append(out, v[i*cols:(i+1)*cols]...)
		out = append(out, v[(i+n/2)*cols:(i+n/2+1)*cols]...)
	}
	return out
}

package gguf_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/gguf"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

var (
	from = flag.String("from", "", "a directory of checkpoints that TestConvert converts, for testdata/check_llamacpp.py")
	to   = flag.String("to", "", "where TestConvert puts the GGUF files")
)

// TestConvert converts what testdata/check_llamacpp.py made.
func TestConvert(t *testing.T) {
	if *from == "" {
		t.Skip("no -from: testdata/check_llamacpp.py gives it")
	}
	dirs, err := os.ReadDir(*from)
	require.NoError(t, err)
	for _, dir := range dirs {
		path := filepath.Join(*from, dir.Name())
		d, err := model.LoadDecoder(reference.New(), path)
		require.NoError(t, err)
		g, err := model.ReadGeneration(path)
		require.NoError(t, err)
		o := gguf.Options{Generation: &g}
		if _, err := os.Stat(filepath.Join(path, "tokenizer.json")); err == nil {
			o.TokenizerFrom = path
		}
		for name, kind := range map[string]gguf.Type{"f32": gguf.F32, "bf16": gguf.BF16} {
			o.Type = kind
			require.NoError(t, gguf.Export(filepath.Join(*to, dir.Name()+"."+name+".gguf"), d, o))
		}
		d.Free()
	}
}

// export writes a checkpoint of ../testdata and opens the file.
func export(t *testing.T, name string, o gguf.Options) (*model.Decoder, *gguf.Reader) {
	t.Helper()
	d, err := model.LoadDecoder(reference.New(), filepath.Join("../testdata", name))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "model.gguf")
	require.NoError(t, gguf.Export(path, d, o))
	r, err := gguf.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return d, r
}

// values reads a parameter.
func values(t *testing.T, d *model.Decoder, name string) []float32 {
	t.Helper()
	for _, p := range d.Params() {
		if p.Name == name {
			v := make([]float32, p.Len())
			require.NoError(t, d.Backend().Read(v, p.Value))
			return v
		}
	}
	require.Fail(t, "no parameter "+name)
	return nil
}

func tensor(t *testing.T, r *gguf.Reader, name string) []float32 {
	t.Helper()
	for _, info := range r.Tensors() {
		if info.Name == name {
			v := make([]float32, info.Len())
			require.NoError(t, r.Read(v, name))
			return v
		}
	}
	require.Fail(t, "no tensor "+name)
	return nil
}

func TestExportKeepsEveryTensor(t *testing.T) {
	for name, tensors := range map[string]int{"llama": 21, "llama-linear": 21, "llama-dynamic": 21, "llama3": 22, "smollm": 20, "qwen2": 26, "qwen3": 24} {
		t.Run(name, func(t *testing.T) {
			d, r := export(t, name, gguf.Options{})
			require.Len(t, r.Tensors(), tensors)
			require.Equal(t, values(t, d, "model.layers.1.mlp.down_proj.weight"), tensor(t, r, "blk.1.ffn_down.weight"))
			require.Equal(t, values(t, d, "model.norm.weight"), tensor(t, r, "output_norm.weight"))
			family := d.Config().Family()
			require.Equal(t, family, r.Value("general.architecture"))
			require.Equal(t, uint32(d.Config().HeadDim), r.Value(family+".attention.key_length"))
			require.Equal(t, float32(d.Config().RopeTheta), r.Value(family+".rope.freq_base"))
			require.Equal(t, "no_vocab", r.Value("tokenizer.ggml.model"))
		})
	}
}

func TestExportReordersRotatedRows(t *testing.T) {
	d, r := export(t, "llama", gguf.Options{})
	k, got := values(t, d, "model.layers.0.self_attn.k_proj.weight"), tensor(t, r, "blk.0.attn_k.weight")
	// Two heads of four rows of 16: row i of a head and row i+2 turn together.
	for row, want := range []int{0, 2, 1, 3, 4, 6, 5, 7} {
		require.Equal(t, k[want*16:want*16+16], got[row*16:row*16+16], "row %d", row)
	}
	require.Equal(t, values(t, d, "model.layers.0.self_attn.v_proj.weight"), tensor(t, r, "blk.0.attn_v.weight"))

	d, r = export(t, "qwen2", gguf.Options{})
	require.Equal(t, values(t, d, "model.layers.0.self_attn.k_proj.weight"), tensor(t, r, "blk.0.attn_k.weight"))
	require.Equal(t, values(t, d, "model.layers.0.self_attn.k_proj.bias"), tensor(t, r, "blk.0.attn_k.bias"))
}

func TestExportOfRotaryScaling(t *testing.T) {
	_, r := export(t, "llama-linear", gguf.Options{})
	require.Equal(t, "linear", r.Value("llama.rope.scaling.type"))
	require.Equal(t, float32(2.5), r.Value("llama.rope.scaling.factor"))
	d, r := export(t, "llama3", gguf.Options{})
	require.Nil(t, r.Value("llama.rope.scaling.type"))
	divisors := tensor(t, r, "rope_freqs.weight")
	for i, v := range d.Config().RopeDivisors() {
		require.InDelta(t, v, divisors[i], 1e-6)
	}
	require.Equal(t, float32(8), divisors[1], "a low frequency")
}

func TestExportInOtherTypes(t *testing.T) {
	_, r := export(t, "qwen3", gguf.Options{Type: gguf.BF16, Name: "mine"})
	require.Equal(t, uint32(32), r.Value("general.file_type"))
	require.Equal(t, "mine", r.Value("general.name"))
	for _, info := range r.Tensors() {
		want := gguf.BF16
		if len(info.Shape) == 1 {
			want = gguf.F32
		}
		require.Equal(t, want, info.Type, info.Name)
	}
}

// trained writes a small tokenizer into a directory.
func trained(t *testing.T) (dir string, tok *tokenizer.Tokenizer) {
	t.Helper()
	dir = t.TempDir()
	corpus := func(yield func(string) bool) { yield("low lower lowest low lower lowest") }
	tok, err := tokenizer.Train(corpus, tokenizer.TrainOptions{VocabSize: 270, Special: []string{"<end>"}, Added: []string{"<step>"}})
	require.NoError(t, err)
	require.NoError(t, tok.Save(filepath.Join(dir, "tokenizer.json")))
	return dir, tok
}

// decoder returns a decoder of so many tokens.
func decoder(t *testing.T, change func(c *model.Config)) *model.Decoder {
	t.Helper()
	c := model.Config{Vocab: 280, Dim: 8, Layers: 1, Heads: 2, KVHeads: 1, FF: 8, MaxSeq: 16}
	change(&c)
	d, err := model.NewDecoder(reference.New(), c, 1)
	require.NoError(t, err)
	return d
}

func TestExportWithATokenizer(t *testing.T) {
	dir, tok := trained(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(`{"chat_template":"{{ x }}"}`), 0o666))
	d := decoder(t, func(*model.Config) {})
	path := filepath.Join(dir, "model.gguf")
	require.NoError(t, gguf.Export(path, d, gguf.Options{TokenizerFrom: dir, Generation: &model.Generation{BOS: new(int32(3)), EOS: model.TokenIDs{0, 7}}}))
	r, err := gguf.Open(path)
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, "gpt2", r.Value("tokenizer.ggml.model"))
	require.Equal(t, "gpt-2", r.Value("tokenizer.ggml.pre"))
	require.Equal(t, "{{ x }}", r.Value("tokenizer.chat_template"))
	require.Equal(t, uint32(3), r.Value("tokenizer.ggml.bos_token_id"))
	require.Equal(t, uint32(0), r.Value("tokenizer.ggml.eos_token_id"))
	require.Equal(t, uint32(7), r.Value("tokenizer.ggml.eot_token_id"))
	require.Equal(t, false, r.Value("tokenizer.ggml.add_bos_token"))
	tokens, types := r.Value("tokenizer.ggml.tokens").([]string), r.Value("tokenizer.ggml.token_type").([]int32)
	require.Len(t, tokens, 280)
	require.Equal(t, []string{"<end>", "<step>"}, tokens[:2])
	require.Equal(t, []int32{3, 4, 1}, types[:3])
	for i := tok.VocabSize(); i < 280; i++ {
		require.Equal(t, fmt.Sprintf("[PAD%d]", i), tokens[i])
		require.Equal(t, int32(5), types[i])
	}
	require.Equal(t, "l o", r.Value("tokenizer.ggml.merges").([]string)[0])
}

// A folder may have several chat templates, as a list or as files.
func TestExportOfSeveralChatTemplates(t *testing.T) {
	dir, tok := trained(t)
	d := decoder(t, func(*model.Config) {})
	o := gguf.Options{TokenizerFrom: dir, Generation: &model.Generation{EOS: model.TokenIDs{0}}}
	exported := func() map[string]any {
		path := filepath.Join(t.TempDir(), "model.gguf")
		require.NoError(t, gguf.Export(path, d, o))
		r, err := gguf.Open(path)
		require.NoError(t, err)
		defer r.Close()
		values := map[string]any{}
		for _, kv := range r.Metadata() {
			if strings.Contains(kv.Key, "chat_template") {
				values[kv.Key] = kv.Value
			}
		}
		return values
	}
	require.Empty(t, exported())
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666))
	}
	write("tokenizer_config.json", `{"chat_template":[{"name":"tool_use","template":"T"},{"name":"default","template":"D"}]}`)
	require.Equal(t, map[string]any{"tokenizer.chat_template": "D", "tokenizer.chat_template.tool_use": "T"}, exported())
	require.NoError(t, os.Mkdir(filepath.Join(dir, "additional_chat_templates"), 0o777))
	write("additional_chat_templates/rag.jinja", "R")
	write("chat_template.jinja", "F")
	require.Equal(t, map[string]any{"tokenizer.chat_template": "F", "tokenizer.chat_template.rag": "R"}, exported())

	// An old file does not say its model's type.
	text, err := json.Marshal(tok)
	require.NoError(t, err)
	write("tokenizer.json", strings.Replace(string(text), `"type":"BPE",`, "", 1))
	exported()
}

func TestExportRefuses(t *testing.T) {
	dir, tok := trained(t)
	end := &model.Generation{EOS: model.TokenIDs{0}}
	path := filepath.Join(t.TempDir(), "model.gguf")
	refused := func(want string, d *model.Decoder, o gguf.Options) {
		t.Helper()
		require.ErrorContains(t, gguf.Export(path, d, o), want)
		require.NoFileExists(t, path)
	}
	plain := decoder(t, func(*model.Config) {})
	refused("Options.Type is type 9", plain, gguf.Options{Type: 9})
	refused("no token ends a text", plain, gguf.Options{TokenizerFrom: dir})
	told := decoder(t, func(*model.Config) {})
	require.NoError(t, told.SetEOS(0))
	require.NoError(t, gguf.Export(path, told, gguf.Options{TokenizerFrom: dir}))
	require.NoError(t, os.Remove(path))
	settings := filepath.Join(dir, model.GenerationFile)
	require.NoError(t, os.WriteFile(settings, []byte(`{"eos_token_id": "last"}`), 0o666))
	refused(model.GenerationFile, plain, gguf.Options{TokenizerFrom: dir})
	require.NoError(t, os.Remove(settings))
	refused("4 tokens end a text", plain, gguf.Options{Generation: &model.Generation{EOS: model.TokenIDs{1, 2, 3, 4}}})
	refused("the eos token is 280, but the model has 280 tokens", plain, gguf.Options{Generation: &model.Generation{EOS: model.TokenIDs{280}}})
	refused("no such file", plain, gguf.Options{TokenizerFrom: path})
	refused("both q and k norms and biases", decoder(t, func(c *model.Config) { c.QKNorm, c.QKVBias = true, true }), gguf.Options{})
	refused("for family llama only, not qwen3", decoder(t, func(c *model.Config) {
		c.QKNorm = true
		c.RopeScaling = model.RopeScaling{Type: model.RopeLlama3, Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxSeq: 8}
	}), gguf.Options{})
	refused("but the model has embeddings for 260", decoder(t, func(c *model.Config) { c.Vocab = 260 }), gguf.Options{TokenizerFrom: dir, Generation: end})
	large := decoder(t, func(*model.Config) {})
	large.Backend().Fill(large.Params()[0].Value, 1e9)
	refused(`tensor "model.embed_tokens.weight"`, large, gguf.Options{Type: gguf.F16})

	text, err := json.Marshal(tok)
	require.NoError(t, err)
	for want, change := range map[string]func(t map[string]any){
		`model.type is "WordPiece"`:      func(t map[string]any) { t["model"].(map[string]any)["type"] = "WordPiece" },
		"pre_tokenizer is null":          func(t map[string]any) { t["pre_tokenizer"] = nil },
		"does not end in ByteLevel":      func(t map[string]any) { t["pre_tokenizer"] = map[string]any{"type": "Whitespace"} },
		`normalizer "Lowercase" is not`:  func(t map[string]any) { t["normalizer"] = map[string]any{"type": "Lowercase"} },
		"ignore_merges is true":          func(t map[string]any) { t["model"].(map[string]any)["ignore_merges"] = true },
		`post_processor is "BertProcess`: func(t map[string]any) { t["post_processor"] = map[string]any{"type": "BertProcessing"} },
		`has the pattern "x"`: func(t map[string]any) {
			t["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{
				map[string]any{"type": "Split", "behavior": "Isolated", "pattern": map[string]any{"Regex": "x"}},
				map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
			}}
		},
	} {
		var changed map[string]any
		require.NoError(t, json.Unmarshal(text, &changed))
		change(changed)
		other, err := json.Marshal(changed)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), other, 0o666))
		refused(want, plain, gguf.Options{TokenizerFrom: dir, Generation: end})
	}
}

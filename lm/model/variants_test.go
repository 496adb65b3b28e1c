package model_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// variants is testdata/variants.json: how published folders differ from what
// transformers writes today, and the logits that it computes with them.
type variants struct {
	IDs      []int32
	Variants []struct {
		Name, Base, Weights string
		Config              map[string]any
		Drop                []string
		Logits              []float32
	}
}

// stored is a tensor in a file.
type stored struct {
	safetensors.Tensor
	values []float32
}

func readStored(t testing.TB, path string) map[string]stored {
	r, err := safetensors.Open(path)
	require.NoError(t, err)
	defer r.Close()
	all := map[string]stored{}
	for _, info := range r.Tensors() {
		v := make([]float32, info.Len())
		require.NoError(t, r.Read(v, info.Name, 0))
		all[info.Name] = stored{info, v}
	}
	return all
}

func writeStored(t testing.TB, path string, all map[string]stored) {
	var infos []safetensors.Tensor
	names := slices.Sorted(maps.Keys(all))
	for _, name := range names {
		info := all[name].Tensor
		info.Name = name
		infos = append(infos, info)
	}
	f, err := os.Create(path)
	require.NoError(t, err)
	w, err := safetensors.NewWriter(f, infos, nil)
	require.NoError(t, err)
	for _, name := range names {
		require.NoError(t, w.Write(all[name].values))
	}
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
}

// renamed gives every tensor another name.
func renamed(all map[string]stored, name func(string) string) map[string]stored {
	out := map[string]stored{}
	for k, v := range all {
		out[name(k)] = v
	}
	return out
}

// changeWeights does what the function of that name in testdata/variants.py does.
func changeWeights(t testing.TB, change string, all map[string]stored) map[string]stored {
	const embed, head = "model.embed_tokens.weight", "lm_head.weight"
	body := func(name string) string { return strings.TrimPrefix(name, "model.") }
	switch change {
	case "":
	case "reversed_head", "body_reversed_head":
		rows := slices.Collect(slices.Chunk(all[embed].values, all[embed].Shape[1]))
		slices.Reverse(rows)
		all[head] = stored{all[embed].Tensor, slices.Concat(rows...)}
		if change == "body_reversed_head" {
			all = renamed(all, body)
		}
	case "same_head":
		all[head] = all[embed]
	case "only_head":
		all = renamed(all, func(name string) string {
			if name == embed {
				return head
			}
			return name
		})
	case "body":
		all = renamed(all, body)
	case "some_without":
		all = renamed(all, func(name string) string {
			if strings.Contains(name, "layers.1") {
				return body(name)
			}
			return name
		})
	case "old_tables":
		all["model.layers.0.self_attn.rotary_emb.inv_freq"] = stored{safetensors.Tensor{DType: "F32", Shape: []int{2}}, []float32{1, 1}}
	default:
		t.Fatalf("change of weights %q", change)
	}
	return all
}

func readVariants(t testing.TB) (v variants) {
	text, err := os.ReadFile("testdata/variants.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &v))
	require.Len(t, v.Variants, 27)
	return v
}

// logitsOf returns the logits [tokens×vocab] of a sequence.
func logitsOf(t testing.TB, d *model.Decoder, ids []int32) []float32 {
	var p model.Pack
	p.Add(ids, -1)
	rows := make([]int32, len(ids))
	for i := range rows {
		rows[i] = int32(i)
	}
	logits := make([]float32, len(ids)*d.Config().Vocab)
	require.NoError(t, d.Logits(&p, rows, logits))
	return logits
}

func TestVariantsAgreeWithTransformers(t *testing.T) {
	all := readVariants(t)
	for _, v := range all.Variants {
		t.Run(v.Name, func(t *testing.T) {
			base := filepath.Join("testdata", v.Base)
			dir := changed(t, base, v.Config)
			path := filepath.Join(dir, model.ConfigFile)
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			fields := map[string]any{}
			require.NoError(t, json.Unmarshal(text, &fields))
			for _, name := range v.Drop {
				delete(fields, name)
			}
			text, err = json.Marshal(fields)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, text, 0o666))
			weights := filepath.Join(dir, model.WeightsFile)
			writeStored(t, weights, changeWeights(t, v.Weights, readStored(t, weights)))

			var log bytes.Buffer
			d, err := model.LoadDecoder(reference.New(), dir, model.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			require.NoError(t, err)
			require.InDeltaSlice(t, v.Logits, logitsOf(t, d, all.IDs), 1e-5)

			// Only the one warning that transformers gives too.
			if strings.HasPrefix(v.Name, "tied, another head") {
				require.Contains(t, log.String(), "the output projection is not the embedding: they are not tied")
				require.False(t, d.Config().TieEmbeddings)
			} else {
				require.Empty(t, log.String())
			}

			// What Inspect says is what is loaded.
			in, err := model.Inspect(dir)
			require.NoError(t, err)
			require.NoError(t, in.Problem)
			require.Equal(t, d.Config(), *in.Decoder)
			loaded := 0
			for _, p := range d.Params() {
				loaded += p.Len()
			}
			require.Equal(t, loaded, in.Loaded)

			// And what is exported of it is the same model.
			out := t.TempDir()
			require.NoError(t, d.Export(out, model.ExportOptions{ShardBytes: 2000}))
			again, err := model.LoadDecoder(reference.New(), out)
			require.NoError(t, err)
			require.Equal(t, d.Config(), again.Config())
			require.Equal(t, logitsOf(t, d, all.IDs), logitsOf(t, again, all.IDs))
		})
	}
}

// What transformers computes and this package does not is refused, by name.
func TestVariantsThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		base, want string
		config     map[string]any
		drop       string
		weights    func(map[string]stored)
	}{
		{base: "mistral", want: "sliding_window is 4096, want null", config: map[string]any{"sliding_window": 4096}},
		{base: "mistral", want: "sliding_window is 4096, want null", drop: "sliding_window"},
		{base: "mistral", want: `layer_types[1] is "sliding_attention"`, config: map[string]any{"layer_types": []string{"full_attention", "sliding_attention"}}},
		{base: "qwen3", want: "use_sliding_window is true, want false", config: map[string]any{"use_sliding_window": true, "max_window_layers": 1, "sliding_window": 4, "layer_types": nil}},
		{base: "llama", want: "partial_rotary_factor is 0.5, want 1", config: map[string]any{"partial_rotary_factor": 0.5}},
		{base: "llama", want: "rope_parameters: full_attention is", config: map[string]any{"rope_parameters": map[string]any{"full_attention": map[string]any{}}}},
		{base: "llama", want: `is_encoder_decoder is true, want false; pruned_heads is {"1":[0]}, want {}`, config: map[string]any{"is_encoder_decoder": true, "pruned_heads": map[string]any{"1": []int{0}}}},
		{base: "llama", want: `no tensor "lm_head.weight"`, weights: func(all map[string]stored) { delete(all, "lm_head.weight") }},
		{base: "llama", want: `tensors "model.norm.weight" and "norm.weight" are both "model.norm.weight"`, weights: func(all map[string]stored) { all["norm.weight"] = all["model.norm.weight"] }},
		{base: "qwen3", want: `tensor "lm_head.weight" has shape [16], want [29 16]`, weights: func(all map[string]stored) { all["lm_head.weight"] = all["model.norm.weight"] }},
		{base: "llama", want: `tensor "model.layers.0.self_attn.q_proj.weight_scale" is none of the model's`, weights: func(all map[string]stored) {
			all["model.layers.0.self_attn.q_proj.weight_scale"] = all["model.norm.weight"]
		}},
	} {
		dir := changed(t, filepath.Join("testdata", c.base), c.config)
		if c.drop != "" {
			path := filepath.Join(dir, model.ConfigFile)
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			text = bytes.Replace(text, []byte(`"`+c.drop+`":`), []byte(`"prefix":`), 1)
			require.NoError(t, os.WriteFile(path, text, 0o666))
		}
		if c.weights != nil {
			path := filepath.Join(dir, model.WeightsFile)
			all := readStored(t, path)
			c.weights(all)
			writeStored(t, path, all)
		}
		_, err := model.LoadDecoder(reference.New(), dir)
		require.ErrorContains(t, err, c.want)
		require.ErrorContains(t, err, dir)
		in, inspected := model.Inspect(dir)
		require.NoError(t, inspected)
		require.EqualError(t, in.Problem, err.Error(), "Inspect and the loader agree")
		require.NotEmpty(t, in.Tensors)
	}
}

// Cases from the field, where they are.
func TestSharedFolders(t *testing.T) {
	const dir = "../../../shared/cases/files/"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no shared cases: ", err)
	}
	ids := []int32{1, 17, 5, 9, 33, 2, 60, 41, 7, 7, 12, 25}
	for name, logits := range map[string]bool{"no-model-prefix": true, "tied-other-head": true, "rope-linear-original": false} {
		d, err := model.LoadDecoder(reference.New(), dir+name)
		require.NoError(t, err, name)
		if !logits {
			continue
		}
		text, err := os.ReadFile(dir + name + "/logits.json")
		require.NoError(t, err)
		var want [][]float32
		require.NoError(t, json.Unmarshal(text, &want), "%.80s", text)
		require.InDeltaSlice(t, slices.Concat(want...), logitsOf(t, d, ids), 1e-4, name)
	}
	for _, name := range []string{"st-f8-e8m0", "st-lead-space"} {
		r, err := safetensors.Open(dir + name + "/model.safetensors")
		require.NoError(t, err, name)
		require.Len(t, r.Tensors(), 1)
		require.NoError(t, r.Close())
	}
	e, err := model.PretrainedEncoder(reference.New(), dir+"bert-info", 2, 1)
	require.NoError(t, err)
	e.Free()
}

package model_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// loraVariant is one of testdata/lora_variants.json.
type loraVariant struct {
	Name, Base string
	Config     json.RawMessage
	Tensors    map[string][]int
	Grads      map[string]float64
	Logits     []float32
}

// write makes the adapter's folder.
func (v *loraVariant) write(t *testing.T) string {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, model.LoRAConfigFile), v.Config, 0o666))
	all := map[string]stored{}
	for name, shape := range v.Tensors {
		s := stored{Tensor: safetensors.Tensor{DType: safetensors.F32, Shape: shape}}
		for i := range s.Len() {
			s.values = append(s.values, float32(0.3*math.Sin(0.7*float64(i)+float64(len(name)))))
		}
		all[name] = s
	}
	writeStored(t, filepath.Join(dir, model.LoRAWeightsFile), all)
	return dir
}

func TestAdaptersSelectAsPEFTDoes(t *testing.T) {
	var all struct {
		IDs      []int32
		Variants []loraVariant
	}
	text, err := os.ReadFile("testdata/lora_variants.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &all))
	require.Len(t, all.Variants, 31)
	for i, v := range all.Variants {
		t.Run(v.Name, func(t *testing.T) {
			b := &counting{Backend: reference.New()}
			d, err := model.LoadDecoder(b, filepath.Join("testdata", v.Base))
			require.NoError(t, err)
			before := logitsOf(t, d, all.IDs)
			dir := v.write(t)
			lora, err := d.LoadLoRA(dir)
			require.NoError(t, err)
			require.InDeltaSlice(t, v.Logits, logitsOf(t, d, all.IDs), 5e-5)
			base := lora.Base()
			require.Equal(t, before, logitsOf(t, base, all.IDs), "the base is what it was")
			base.Free()

			// What is trained, and its gradient.
			shapes := map[string][]int{}
			for _, p := range lora.Params() {
				shapes[p.Name] = p.Shape
			}
			require.Equal(t, v.Tensors, shapes)
			p, tg := packAll([][]int32{all.IDs})
			meanLoss(t, d, p, tg)
			for _, p := range d.Params() {
				if p.Grad == nil {
					continue
				}
				sum := 0.0
				for _, g := range values(t, b, p.Grad) {
					sum += float64(g) * float64(g)
				}
				require.InEpsilon(t, v.Grads[p.Name], math.Sqrt(sum), 1e-4, p.Name)
				delete(v.Grads, p.Name)
			}
			require.Empty(t, v.Grads, "tensors without a gradient")

			// What is saved selects the same, in PEFT's words.
			out := t.TempDir()
			if *exportDir != "" {
				out = filepath.Join(*exportDir, strconv.Itoa(i)) // for PEFT
			}
			require.NoError(t, lora.Save(out))
			again, err := model.ReadLoRAConfig(out)
			require.NoError(t, err)
			require.Equal(t, lora.Config(), again)
			for _, field := range []string{"exclude_modules", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern", "modules_to_save", "use_rslora"} {
				require.Equal(t, setting(t, dir, field), setting(t, out, field), field)
			}
			other, err := model.LoadDecoder(reference.New(), filepath.Join("testdata", v.Base))
			require.NoError(t, err)
			_, err = other.LoadLoRA(out)
			require.NoError(t, err)
			require.InDeltaSlice(t, v.Logits, logitsOf(t, other, all.IDs), 5e-5)

			// Merged it is a plain model, also after a save.
			other.LoRA().Merge()
			require.InDeltaSlice(t, v.Logits, logitsOf(t, other, all.IDs), 5e-5)
			merged := t.TempDir()
			require.NoError(t, other.Save(merged))
			whole, err := model.LoadDecoder(reference.New(), merged)
			require.NoError(t, err)
			require.Equal(t, other.Config(), whole.Config())
			require.Equal(t, logitsOf(t, other, all.IDs), logitsOf(t, whole, all.IDs))

			// Freed it is what it was, and nothing is left.
			lora.Free()
			require.Equal(t, before, logitsOf(t, d, all.IDs))
			d.Free()
			require.Zero(t, b.elements)
		})
	}
}

// setting returns a field of a folder's adapter_config.json, nil if it is off.
func setting(t *testing.T, dir, field string) any {
	text, err := os.ReadFile(filepath.Join(dir, model.LoRAConfigFile))
	require.NoError(t, err)
	fields := map[string]any{}
	require.NoError(t, json.Unmarshal(text, &fields))
	switch v := fields[field].(type) {
	case bool:
		if !v {
			return nil
		}
	case map[string]any:
		if len(v) == 0 {
			return nil
		}
	}
	return fields[field]
}

// AddLoRA takes the same settings, and begins with the decoder's own weights.
func TestNewAdaptersMaySelect(t *testing.T) {
	b := &counting{Backend: reference.New()}
	d := newDecoder(t, b, tiny)
	before := logProbs(t, d)
	lora, err := d.AddLoRA(model.LoRAConfig{
		Rank: 2, Alpha: 4, RSLoRA: true, Targets: model.QProj | model.DownProj,
		Select: `{"layers_to_transform": [0], "modules_to_save": ["lm_head", "model.norm"]}`,
	}, 1)
	require.NoError(t, err)
	require.Equal(t, before, logProbs(t, d))
	shapes := map[string][]int{}
	for _, p := range lora.Params() {
		shapes[p.Name] = p.Shape
	}
	require.Equal(t, []string{
		"base_model.model.lm_head.weight",
		"base_model.model.model.layers.0.mlp.down_proj.lora_A.weight",
		"base_model.model.model.layers.0.mlp.down_proj.lora_B.weight",
		"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
		"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight",
		"base_model.model.model.norm.weight",
	}, slices.Sorted(maps.Keys(shapes)))
	d.Free()
	require.Zero(t, b.elements)

	d = newDecoder(t, b, tiny)
	for text, want := range map[string]string{
		`{"target_modules": ["q_proj"]}`: "LoRAConfig.Targets is q_proj, want 0 with target_modules in Select",
		`{"nothing": 1}`:                 "LoRAConfig.Select: nothing is 1, which is not known here",
		`[]`:                             "LoRAConfig.Select: array, want an object",
	} {
		_, err := d.AddLoRA(model.LoRAConfig{Rank: 1, Alpha: 1, Targets: model.QProj, Select: text}, 1)
		require.ErrorContains(t, err, want)
	}
	// An expression that backtracks without end is stopped.
	_, err = d.AddLoRA(model.LoRAConfig{Rank: 1, Alpha: 1, Select: `{"target_modules": "((.*)*)*x"}`}, 1)
	require.ErrorContains(t, err, "match timeout")
}

// However Select is laid out, new adapters have the configuration that is read from what
// they save, so that a checkpoint of them can be loaded.
func TestNewAdaptersAreConfiguredAsTheyAreSaved(t *testing.T) {
	for text, want := range map[string]model.LoRAConfig{
		`{"target_modules": ["v_proj", "q_proj"]}`: {Targets: model.QProj | model.VProj},
		`{"target_modules": "all-linear"}`:         {Targets: model.AllProjections},
		`{ "target_modules": ".*[<]?q_proj" }`:     {Select: `{"target_modules":".*[\u003c]?q_proj"}`},
		`{"modules_to_save": ["lm_head"], "target_modules": ["layers.0.mlp.up_proj"], "rank_pattern": {}, "exclude_modules": null}`: {
			Select: `{"target_modules":["layers.0.mlp.up_proj"],"modules_to_save":["lm_head"]}`,
		},
	} {
		want.Rank, want.Alpha, want.Base = 2, 4, "a/b"
		d := newDecoder(t, reference.New(), tiny)
		lora, err := d.AddLoRA(model.LoRAConfig{Rank: 2, Alpha: 4, Select: text, Base: "a/b"}, 1)
		require.NoError(t, err)
		require.Equal(t, want, lora.Config())
		dir := t.TempDir()
		require.NoError(t, lora.Save(dir))
		read, err := model.ReadLoRAConfig(dir)
		require.NoError(t, err)
		require.Equal(t, want, read)
	}
}

// The adapters that PEFT made for all linear layers of a published case.
func TestSharedAdaptersOfAllLinearLayers(t *testing.T) {
	dir := "../../../shared/cases/files/peft-all-linear"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no shared cases: ", err)
	}
	d := newDecoder(t, reference.New(), model.Config{Vocab: 64, Dim: 32, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 8, FF: 48, MaxSeq: 64})
	lora, err := d.LoadLoRA(dir)
	require.NoError(t, err)
	require.Len(t, lora.Params(), 2*7*2)
	require.False(t, bytes.Contains([]byte(lora.Config().Select), []byte("null")))
}

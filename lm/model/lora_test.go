package model_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/optim"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

// readTensors reads a whole safetensors file.
func readTensors(t *testing.T, path string) (map[string][]float32, map[string][]int) {
	t.Helper()
	r, err := safetensors.Open(path)
	require.NoError(t, err)
	defer r.Close()
	values, shapes := map[string][]float32{}, map[string][]int{}
	for _, info := range r.Tensors() {
		v := make([]float32, info.Len())
		require.NoError(t, r.Read(v, info.Name, 0))
		values[info.Name], shapes[info.Name] = v, info.Shape
	}
	return values, shapes
}

func values(t *testing.T, b tensor.Backend, buf tensor.Buffer) []float32 {
	t.Helper()
	v := make([]float32, buf.Len())
	require.NoError(t, b.Read(v, buf))
	return v
}

// loraGolden is a directory of testdata/lora, made by testdata/lora.py.
type loraGolden struct {
	IDs     [][]int32
	LogP    [][]float64
	Losses  []float64
	tensors map[string][]float32
	dir     string
}

func readLoRAGolden(t *testing.T, name string) *loraGolden {
	t.Helper()
	g := &loraGolden{dir: filepath.Join("testdata", "lora", name)}
	text, err := os.ReadFile(filepath.Join(g.dir, "golden.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, g))
	g.tensors, _ = readTensors(t, filepath.Join(g.dir, "golden.safetensors"))
	return g
}

// logits compares the logits of every sequence.
func (g *loraGolden) logits(t *testing.T, d *model.Decoder, prefix string, tol float64) {
	t.Helper()
	for i, ids := range g.IDs {
		var p model.Pack
		p.Add(ids, -1)
		rows := make([]int32, len(ids))
		for j := range rows {
			rows[j] = int32(j)
		}
		logits := make([]float32, len(ids)*d.Config().Vocab)
		require.NoError(t, d.Logits(&p, rows, logits))
		name := prefix + string(rune('0'+i))
		requireClose(t, g.tensors[name], logits, tol, name)
	}
}

func TestLoRAAgreesWithPEFT(t *testing.T) {
	for _, name := range []string{"llama", "qwen2", "qwen3"} {
		for backend, c := range backends {
			t.Run(name+"/"+backend, func(t *testing.T) {
				g, b := readLoRAGolden(t, name), c.open()
				d, err := model.LoadDecoder(b, filepath.Join("testdata", name))
				require.NoError(t, err)
				lora, err := d.LoadLoRA(g.dir)
				require.NoError(t, err)
				require.Same(t, lora, d.LoRA())
				g.logits(t, d, "logits.", c.tol)
				g.logits(t, lora.Base(), "base.", c.tol)

				p, tg := packAll(g.IDs)
				opt, err := optim.NewAdamW(b, d.Params(), optim.DefaultConfig())
				require.NoError(t, err)
				for step, want := range g.Losses {
					loss, logp := meanLoss(t, d, p, tg)
					require.InEpsilon(t, want, loss, 10*c.tol, "step %d", step)
					if step == 0 {
						at := 0
						for _, sequence := range g.LogP {
							for _, v := range sequence {
								require.InDelta(t, v, logp[at], 10*c.tol, "log-prob %d", at)
								at++
							}
						}
						for _, q := range lora.Params() {
							requireClose(t, g.tensors["grad."+q.Name], values(t, b, q.Grad), 10*c.tol, "gradient of "+q.Name)
						}
					}
					if step < 10 {
						_, err := opt.Step(1e-2, 0)
						require.NoError(t, err)
						opt.ZeroGrad()
					}
				}
				for _, q := range lora.Params() {
					requireClose(t, g.tensors["trained."+q.Name], values(t, b, q.Value), 20*c.tol, q.Name)
				}
			})
		}
	}
}

func TestMergedLoRAAgreesWithPEFT(t *testing.T) {
	for _, name := range []string{"llama", "qwen2", "qwen3"} {
		g, b := readLoRAGolden(t, name), reference.New()
		d, err := model.LoadDecoder(b, filepath.Join("testdata", name))
		require.NoError(t, err)
		lora, err := d.LoadLoRA(g.dir)
		require.NoError(t, err)
		lora.Merge()
		require.Nil(t, d.LoRA())
		g.logits(t, d, "logits.", 1e-5)

		// What is saved of it needs no adapters.
		dir := t.TempDir()
		require.NoError(t, d.Save(dir))
		saved, err := model.LoadDecoder(b, dir)
		require.NoError(t, err)
		g.logits(t, saved, "logits.", 1e-5)
	}
}

// TestSavedAdaptersAreThoseOfPEFT: the same tensors of the same names, and the
// same value of every setting.
func TestSavedAdaptersAreThoseOfPEFT(t *testing.T) {
	for _, name := range []string{"llama", "qwen2", "qwen3"} {
		g := readLoRAGolden(t, name)
		d, err := model.LoadDecoder(reference.New(), filepath.Join("testdata", name))
		require.NoError(t, err)
		lora, err := d.LoadLoRA(g.dir)
		require.NoError(t, err)
		require.Equal(t, "testdata/"+name, lora.Config().Base)
		dir := filepath.Join(t.TempDir(), "made", "at need")
		require.NoError(t, lora.Save(dir))

		wantValues, wantShapes := readTensors(t, filepath.Join(g.dir, model.LoRAWeightsFile))
		gotValues, gotShapes := readTensors(t, filepath.Join(dir, model.LoRAWeightsFile))
		require.Equal(t, wantShapes, gotShapes)
		require.Equal(t, wantValues, gotValues)

		settings := func(dir string) (all map[string]any) {
			text, err := os.ReadFile(filepath.Join(dir, model.LoRAConfigFile))
			require.NoError(t, err)
			require.NoError(t, json.Unmarshal(text, &all))
			return all
		}
		want := settings(g.dir)
		for field, value := range settings(dir) {
			if field == "target_modules" { // a set in PEFT
				require.ElementsMatch(t, want[field], value)
				continue
			}
			require.Contains(t, want, field)
			require.Equal(t, want[field], value, field)
		}
	}
}

var adapters = model.LoRAConfig{Rank: 2, Alpha: 4, Targets: model.AllProjections, Base: "tiny"}

// logProbs are those of a fixed pack.
func logProbs(t *testing.T, d *model.Decoder) []float32 {
	t.Helper()
	p, tg := packAll([][]int32{{1, 2, 3, 4}, {4, 3, 2}})
	logp := make([]float32, len(tg.IDs))
	require.NoError(t, d.Score(p, tg, logp, nil))
	return logp
}

func TestFreshAdaptersChangeNothing(t *testing.T) {
	b := reference.New()
	d := newDecoder(t, b, tiny)
	before := logProbs(t, d)
	lora, err := d.AddLoRA(adapters, 1)
	require.NoError(t, err)
	require.Equal(t, before, logProbs(t, d))
	for i, p := range lora.Params() {
		v := values(t, b, p.Value)
		if strings.HasSuffix(p.Name, "lora_B.weight") {
			require.Equal(t, make([]float32, p.Len()), v)
			continue
		}
		// Uniform in ±1/√in: not beyond, and not all alike.
		limit := float32(1)
		for _, x := range v {
			require.LessOrEqual(t, x*x*float32(p.Shape[1]), limit, "%d", i)
		}
		require.NotEqual(t, v[0], v[1])
	}
	other := newDecoder(t, b, tiny)
	again, err := other.AddLoRA(adapters, 1)
	require.NoError(t, err)
	require.Equal(t, values(t, b, lora.Params()[0].Value), values(t, b, again.Params()[0].Value))
	lora.Free()
	require.Nil(t, d.LoRA())
	require.Equal(t, before, logProbs(t, d))
}

func TestLoRASurvivesSaveAndLoad(t *testing.T) {
	b := reference.New()
	d := newDecoder(t, b, tiny)
	before := logProbs(t, d)
	lora, err := d.AddLoRA(adapters, 1)
	require.NoError(t, err)
	for _, p := range lora.Params() {
		b.Fill(p.Value, 0.1)
	}
	want := logProbs(t, d)
	require.NotEqual(t, before, want)
	base := lora.Base()
	require.Equal(t, before, logProbs(t, base))
	base.Free()
	require.Equal(t, want, logProbs(t, d), "the base shares the weights, and leaves them")

	dir := t.TempDir()
	require.NoError(t, lora.Save(dir))
	other := newDecoder(t, b, tiny)
	loaded, err := other.LoadLoRA(dir)
	require.NoError(t, err)
	require.Equal(t, adapters, loaded.Config())
	require.Equal(t, want, logProbs(t, other))
}

func TestADecoderWithAdaptersIsNotTakenForAPlainOne(t *testing.T) {
	b := reference.New()
	d, plain := newDecoder(t, b, tiny), newDecoder(t, b, tiny)
	lora, err := d.AddLoRA(adapters, 1)
	require.NoError(t, err)
	require.ErrorContains(t, d.Save(t.TempDir()), "LoRA.Merge")
	require.Panics(t, func() { d.Clone() })
	require.Panics(t, func() { _, _ = d.First(1) })
	require.Panics(t, func() { _, _ = model.EncoderOf(d, 1, 2, 1) })
	require.Panics(t, func() { _ = d.CopyFrom(plain) })
	require.Panics(t, func() { _ = plain.CopyFrom(d) })
	require.Panics(t, func() { _, _ = d.AddLoRA(adapters, 1) })
	require.Len(t, d.Params(), len(plain.Params())+len(lora.Params()))
	for i, p := range d.Params() {
		require.Equal(t, i >= len(plain.Params()), p.Grad != nil, p.Name)
	}
	d.Freeze()
	for _, p := range d.Params() {
		require.Nil(t, p.Grad, p.Name)
	}
	require.NotEmpty(t, logProbs(t, d))

	// The base may have adapters of its own, but its weights are the decoder's.
	base := lora.Base()
	require.Panics(t, func() { _ = base.CopyFrom(plain) })
	others, err := base.AddLoRA(adapters, 2)
	require.NoError(t, err)
	require.PanicsWithValue(t, "model: LoRA.Merge would change the weights of the decoder that this one is the base of (LoRA.Base)", others.Merge)
	base.Free()
	d.Free()

	for want, change := range map[string]func(c *model.LoRAConfig){
		"Rank is 0":       func(c *model.LoRAConfig) { c.Rank = 0 },
		"Alpha is 0":      func(c *model.LoRAConfig) { c.Alpha = 0 },
		"Targets is 0":    func(c *model.LoRAConfig) { c.Targets = 0 },
		"Targets is 0x80": func(c *model.LoRAConfig) { c.Targets = 128 },
	} {
		c := adapters
		change(&c)
		_, err := plain.AddLoRA(c, 1)
		require.ErrorContains(t, err, want)
		require.Nil(t, plain.LoRA())
	}
}

func TestLoadLoRARefuses(t *testing.T) {
	for want, change := range map[string]map[string]any{
		`peft_type is "IA3"`:                      {"peft_type": "IA3"},
		`task_type is "SEQ_CLS"`:                  {"task_type": "SEQ_CLS"},
		`bias is "lora_only"`:                     {"bias": "lora_only"},
		`r is "8", want an integer`:               {"r": "8"},
		"LoRAConfig.Rank is 0":                    {"r": 0},
		"use_dora is true":                        {"use_dora": true},
		"fan_in_fan_out is true":                  {"fan_in_fan_out": true},
		`no tensor "base_model.model.lm_head`:     {"modules_to_save": []string{"lm_head"}},
		`lora_A.weight" has shape [4 16], want [`: {"rank_pattern": map[string]int{"q_proj": 3}},
		`lora_A.weight" is none of the model's`:   {"layers_to_transform": []int{1}},
		"rank_pattern: 1.5, want integers":        {"rank_pattern": map[string]float64{"q_proj": 1.5}},
		"rank_pattern: [1], want an object":       {"rank_pattern": []int{1}},
		"alpha_pattern: -1, want positive":        {"alpha_pattern": map[string]float64{"q_proj": -1}},
		`alpha_pattern: "(": error parsing`:       {"alpha_pattern": map[string]int{"(": 1}},
		"ensure_weight_tying is true, want false": {"ensure_weight_tying": true, "modules_to_save": []string{"lm_head"}},
		"layers_to_transform: want none where":    {"layers_to_transform": []int{1}, "target_modules": ".*_proj"},
		"target_modules select no layer":          {"target_modules": []string{"c_attn"}},
		`select "model.embed_tokens", want only`:  {"target_modules": []string{"q_proj", "embed_tokens"}},
		`both select "model.layers.0.self_attn.q`: {"modules_to_save": []string{"roj"}},
		"target_modules: 3, want a list":          {"target_modules": 3},
		"no peft_type":                            {"peft_type": nil},
		"something_new is 3":                      {"something_new": 3},
		`init_lora_weights is "pissa"`:            {"init_lora_weights": "pissa"},
		`target_modules select "lm_head", want o`: {"target_modules": []string{"q_proj", "lm_head"}},
		"target_modules: \"(\": error parsing":    {"target_modules": "("},
		"lora_A.weight\" has shape [4 16], want":  {"r": 3},
		"no tensor \"base_model.model.model.laye": {"target_modules": []string{"q_proj", "v_proj", "o_proj"}},
		"is none of the model's":                  {"target_modules": []string{"q_proj"}},
	} {
		g := readLoRAGolden(t, "qwen3")
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(g.dir)))
		path := filepath.Join(dir, model.LoRAConfigFile)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var settings map[string]any
		require.NoError(t, json.Unmarshal(text, &settings))
		maps.Copy(settings, change)
		text, err = json.Marshal(settings)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, text, 0o666))
		d, err := model.LoadDecoder(reference.New(), "testdata/qwen3")
		require.NoError(t, err)
		_, err = d.LoadLoRA(dir)
		require.ErrorContains(t, err, want, "%v", change)
		require.ErrorContains(t, err, dir)
		require.Nil(t, d.LoRA())
		require.NotNil(t, d.Params()[0].Grad, "the decoder is as it was")
	}
	d := newDecoder(t, reference.New(), tiny)
	_, err := d.LoadLoRA(t.TempDir())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestLoRATakesLessMemory counts weights, gradients and moments: 4·P elements
// for training P parameters, P + 4·A with A in adapters.
func TestLoRATakesLessMemory(t *testing.T) {
	cfg := model.Config{Vocab: 1024, Dim: 128, Layers: 4, Heads: 4, KVHeads: 2, FF: 384, MaxSeq: 64, TieEmbeddings: true}
	// Per layer: q and o 128×128, k and v 64×128, gate, up and down 384×128,
	// and two norms; then the embedding and the last norm.
	const whole = 4*(2*128*128+2*64*128+3*384*128+2*128) + 1024*128 + 128
	const norm = 1 // a squared gradient norm for each trained parameter
	for _, c := range []struct {
		name    string
		targets model.Projections
		rank    int
		want    int // elements of the adapters
		params  int
	}{
		{"full", 0, 0, 0, 4*9 + 2},
		{"q and v, rank 8", model.QProj | model.VProj, 8, 4 * 8 * ((128 + 128) + (128 + 64)), 4 * 2 * 2},
		{"all, rank 16", model.AllProjections, 16, 4 * 16 * (2*(128+128) + 2*(128+64) + 3*(384+128)), 4 * 7 * 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &counting{Backend: reference.New()}
			d := newDecoder(t, b, cfg)
			require.Equal(t, 2*whole, b.elements)
			want := 4*whole + c.params*norm
			if c.rank > 0 {
				_, err := d.AddLoRA(model.LoRAConfig{Rank: c.rank, Alpha: 16, Targets: c.targets}, 1)
				require.NoError(t, err)
				want = whole + 4*c.want + c.params*norm
			}
			opt, err := optim.NewAdamW(b, d.Params(), optim.DefaultConfig())
			require.NoError(t, err)
			require.Equal(t, want, b.elements)
			t.Logf("%d bytes", 4*b.elements)
			opt.Free()
			d.Free()
			require.Zero(t, b.elements)
		})
	}
}

func TestFrozenModelsHaveNoGradients(t *testing.T) {
	b := &counting{Backend: reference.New()}
	d, err := model.LoadDecoder(b, "testdata/llama", model.Frozen())
	require.NoError(t, err)
	n := 0
	for _, p := range d.Params() {
		require.Nil(t, p.Grad, p.Name)
		n += p.Len()
	}
	require.Equal(t, n, b.elements)
	lora, err := d.LoadLoRA("testdata/lora/llama", model.Frozen())
	require.NoError(t, err)
	for _, p := range lora.Params() {
		require.Nil(t, p.Grad, p.Name)
		n += p.Len()
	}
	require.Equal(t, n, b.elements)
	d.Free()
	require.Zero(t, b.elements)

	e, err := model.NewEncoder(b, model.EncoderConfig{Config: tiny, Classes: 3}, 1)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, e.Save(dir))
	e.Free()
	e, err = model.LoadEncoder(b, dir, model.Frozen())
	require.NoError(t, err)
	require.Nil(t, e.Params()[0].Grad)
	e.Free()
	require.Zero(t, b.elements)
}

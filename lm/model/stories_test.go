package model_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tensor/reference"
)

const shared = "../../../shared/models"

// TestTrainedModelAgreesWithItsAuthorsCode compares stories260K, a small
// trained model, with what llama2.c's model.py computes on it.
func TestTrainedModelAgreesWithItsAuthorsCode(t *testing.T) {
	dir := filepath.Join(shared, "stories260K")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		t.Skip("shared/models/stories260K is not here")
	}
	var golden struct {
		IDs        []int32
		Loss       float64
		LastLogits []float32          `json:"last_logits"`
		LogP       []float64          `json:"token_logprobs"`
		GradNorms  map[string]float64 `json:"grad_norms"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &golden))

	d := readLlama2c(t, reference.New(), filepath.Join(dir, "stories260K.bin"))
	p, tg := packAll([][]int32{golden.IDs})
	logits := make([]float32, d.Config().Vocab)
	require.NoError(t, d.Logits(p, []int32{int32(p.Rows() - 2)}, logits)) // the last row that predicts
	require.InDeltaSlice(t, golden.LastLogits, logits, 1e-4)

	loss, logp := meanLoss(t, d, p, tg)
	require.InDelta(t, golden.Loss, loss, 1e-5)
	require.Len(t, logp, len(golden.LogP))
	for i, v := range golden.LogP {
		require.InDelta(t, v, logp[i], 1e-5, "log-prob %d", i)
	}
	require.Len(t, golden.GradNorms, len(d.Params()))
	for i, g := range gradients(t, d) {
		sum := 0.0
		for _, v := range g {
			sum += float64(v) * float64(v)
		}
		name := llama2cName(d.Params()[i].Name)
		require.InEpsilon(t, golden.GradNorms[name], math.Sqrt(sum), 1e-4, name)
	}
}

// TestTrainedModelWritesTheSameStory compares stories260K's greedy text with
// what testdata/stories.py wrote.
func TestTrainedModelWritesTheSameStory(t *testing.T) {
	dir := filepath.Join(shared, "stories260K")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		t.Skip("shared/models/stories260K is not here")
	}
	var golden struct {
		Prompt, IDs []int32
		Text        string
	}
	text, err := os.ReadFile("testdata/stories.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &golden))
	pieces := readPieces(t, filepath.Join(dir, "tok512.bin"))
	for name, c := range backends {
		t.Run(name, func(t *testing.T) {
			d := readLlama2c(t, c.open(), filepath.Join(dir, "stories260K.bin"))
			story := ""
			ids := greedy(t, d, golden.Prompt, len(golden.IDs))
			for _, id := range ids {
				story += pieces[id]
			}
			require.Equal(t, golden.IDs, ids)
			require.Equal(t, golden.Text, story)
		})
	}
}

// greedy continues a prompt with the n most likely tokens.
func greedy(t *testing.T, d *model.Decoder, prompt []int32, n int) []int32 {
	cache := d.NewCache(len(prompt) + n)
	defer cache.Free()
	logits := make([]float32, d.Config().Vocab)
	ids, next := []int32(nil), prompt
	for at := int32(0); len(ids) < n; {
		s := model.CacheBatch{Tokens: next, LogitRows: []int32{int32(len(next) - 1)}}
		for range next {
			s.Pos, s.Slots = append(s.Pos, at), append(s.Slots, at)
			s.Ranges = append(s.Ranges, []tensor.Range{{Start: 0, End: int(at) + 1}})
			at++
		}
		require.NoError(t, d.Append(cache, &s, logits))
		best := int32(0)
		for i, v := range logits {
			if v > logits[best] {
				best = int32(i)
			}
		}
		next = []int32{best}
		ids = append(ids, best)
	}
	return ids
}

// readPieces reads the texts of the tokens in llama2.c's tokenizer file.
func readPieces(t *testing.T, path string) (pieces []string) {
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	for file = file[4:]; len(file) > 0; { // after each score, a length and a text
		n := binary.LittleEndian.Uint32(file[4:])
		pieces = append(pieces, strings.ReplaceAll(string(file[8:8+n]), "<0x0A>", "\n"))
		file = file[8+n:]
	}
	return pieces
}

// llama2cName translates a Hugging Face tensor name.
func llama2cName(name string) string {
	return strings.NewReplacer(
		"model.", "", "embed_tokens", "tok_embeddings",
		"self_attn.q_proj", "attention.wq", "self_attn.k_proj", "attention.wk",
		"self_attn.v_proj", "attention.wv", "self_attn.o_proj", "attention.wo",
		"mlp.gate_proj", "feed_forward.w1", "mlp.down_proj", "feed_forward.w2", "mlp.up_proj", "feed_forward.w3",
		"input_layernorm", "attention_norm", "post_attention_layernorm", "ffn_norm",
	).Replace(name)
}

// readLlama2c reads a llama2.c checkpoint of version 0.
func readLlama2c(t *testing.T, b tensor.Backend, path string) *model.Decoder {
	file, err := os.ReadFile(path)
	require.NoError(t, err)
	var h [7]int
	for i := range h {
		h[i] = int(int32(binary.LittleEndian.Uint32(file[4*i:])))
	}
	file = file[28:]
	require.Positive(t, h[5], "a positive vocabulary size means tied embeddings")
	d := newDecoder(t, b, model.Config{
		Dim: h[0], FF: h[1], Layers: h[2], Heads: h[3], KVHeads: h[4], Vocab: h[5], MaxSeq: h[6],
		NormEps: 1e-5, TieEmbeddings: true,
	})
	params := map[string]*tensor.Param{}
	for _, p := range d.Params() {
		params[p.Name] = p
	}
	load := func(name string, heads int) {
		p := params[name]
		v := make([]float32, p.Len())
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(file[4*i:]))
		}
		file = file[4*len(v):]
		if heads > 0 {
			v = halfSplit(v, heads, p.Shape[0]/heads, p.Shape[1])
		}
		b.Write(p.Value, v)
	}
	load("model.embed_tokens.weight", 0)
	for _, kind := range []struct {
		name  string
		heads int
	}{
		{"input_layernorm", 0}, {"self_attn.q_proj", h[3]}, {"self_attn.k_proj", h[4]}, {"self_attn.v_proj", 0}, {"self_attn.o_proj", 0},
		{"post_attention_layernorm", 0}, {"mlp.gate_proj", 0}, {"mlp.down_proj", 0}, {"mlp.up_proj", 0},
	} {
		for i := range h[2] {
			load(fmt.Sprintf("model.layers.%d.%s.weight", i, kind.name), kind.heads)
		}
	}
	load("model.norm.weight", 0)
	return d
}

// halfSplit reorders the rows [heads·dim×cols] of a projection from
// interleaved rotary pairs (2i, 2i+1) to Hugging Face's (i, i+dim/2).
func halfSplit(v []float32, heads, dim, cols int) []float32 {
	out := make([]float32, len(v))
	for h := range heads {
		for i := range dim {
			from := 2 * i
			if i >= dim/2 {
				from = 2*(i-dim/2) + 1
			}
			copy(out[(h*dim+i)*cols:], v[(h*dim+from)*cols:][:cols])
		}
	}
	return out
}

func TestReadsAHuggingFaceCheckpoint(t *testing.T) {
	dir := filepath.Join(shared, "verl_arith")
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		t.Skip("shared/models/verl_arith is not here")
	}
	d, err := model.LoadDecoder(reference.New(), dir)
	require.NoError(t, err)
	require.Equal(t, model.Config{
		Vocab: 16, Dim: 128, Layers: 4, Heads: 4, KVHeads: 4, HeadDim: 32, FF: 344, MaxSeq: 2048, RopeTheta: 10000, NormEps: 1e-6,
	}, d.Config())
	var p model.Pack
	p.Add([]int32{1, 2, 3}, -1)
	logits := make([]float32, 16)
	require.NoError(t, d.Logits(&p, []int32{2}, logits))
	for _, v := range logits {
		require.False(t, math.IsNaN(float64(v)))
	}
}

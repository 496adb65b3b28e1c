package peers

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/model/gguf"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// End is the end-of-text token of the tiny models.
const End = "<|im_end|>"

// NewTokenizer returns the tokenizer of the tiny models: a token for each byte and
// three special ones.
func NewTokenizer() (*tokenizer.Tokenizer, error) {
	return tokenizer.Train(iter.Seq[string](slices.Values([]string{"a"})), tokenizer.TrainOptions{
		VocabSize: 259, Special: []string{"<|endoftext|>", "<|im_start|>", End},
	})
}

// NewModel returns a tiny Qwen3 with random weights, for the tokenizer of NewTokenizer.
//
// Heads have 64 elements, because vLLM's attention on CPU refuses fewer. Weights have a
// standard deviation of 0.12, so that distributions are far from uniform. All bytes but
// printable ASCII have a logit below -50: llama.cpp fails a request whose text is not
// UTF-8, as nearly all samples of random bytes are not. For that the first element of
// the residual stream is the same constant everywhere, and the output projection
// subtracts a multiple of it from those tokens.
func NewModel(b tensor.Backend, tok *tokenizer.Tokenizer, seed uint64) (*model.Decoder, error) {
	d, err := model.NewDecoder(b, model.Config{
		Vocab: tok.VocabSize(), Dim: 64, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 64, FF: 128, MaxSeq: 512,
		RopeTheta: 1e6, NormEps: 1e-6, QKNorm: true,
	}, seed)
	if err != nil {
		return nil, err
	}
	r := rand.New(rand.NewPCG(seed, 0))
	for _, p := range d.Params() {
		if len(p.Shape) != 2 {
			continue // norms stay 1
		}
		w := make([]float32, p.Len())
		rows, columns := p.Shape[0], p.Shape[1]
		for i := range w {
			w[i] = float32(0.12 * r.NormFloat64())
		}
		switch {
		case p.Name == "model.embed_tokens.weight":
			for id := range rows {
				w[id*columns] = 1
			}
		case strings.HasSuffix(p.Name, "o_proj.weight"), strings.HasSuffix(p.Name, "down_proj.weight"):
			clear(w[:columns]) // what they would add to the constant
		case p.Name == "lm_head.weight":
			for id := range rows {
				text := tok.Bytes(int32(id))
				w[id*columns] = 0
				if id < 2 || len(text) == 1 && (text[0] < ' ' || text[0] > '~') {
					w[id*columns] = -50
				}
			}
		}
		b.Write(p.Value, w)
	}
	return d, nil
}

// WriteFolder writes a model with its tokenizer as a Hugging Face folder.
func WriteFolder(dir string, d *model.Decoder, tok *tokenizer.Tokenizer) error {
	end, ok := tok.ID(End)
	if !ok {
		return fmt.Errorf("peers: the tokenizer has no %s", End)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := tok.Save(filepath.Join(dir, "tokenizer.json")); err != nil {
		return err
	}
	const config = `{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "` + End + `", "pad_token": "<|endoftext|>",
 "chat_template": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"}`
	if err := os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(config), 0o666); err != nil {
		return err
	}
	return d.Export(dir, model.ExportOptions{Generation: &model.Generation{EOS: model.TokenIDs{end}}})
}

// WriteGGUF writes a model as a GGUF file in float32, with the tokenizer of the folder
// that WriteFolder wrote.
func WriteGGUF(path, folder string, d *model.Decoder) error {
	generation, err := model.ReadGeneration(folder)
	if err != nil {
		return err
	}
	return gguf.Export(path, d, gguf.Options{TokenizerFrom: folder, Generation: &generation})
}

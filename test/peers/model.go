package peers

import (
	"math/rand/v2"
	"strings"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// Randomize gives a decoder random weights that suit tests with real servers.
//
// They have a standard deviation of 0.12, so that distributions are far from uniform.
// Tokens of anything but printable ASCII, and special ones but end, have a logit below
// -50: llama.cpp fails a request whose text is not UTF-8, as nearly all samples of
// random bytes are not. For that the first element of the residual stream is the same
// constant everywhere, and the output projection subtracts a multiple of it from those
// tokens. The decoder's output projection must not be tied to its embedding.
func Randomize(d *model.Decoder, tok *tokenizer.Tokenizer, end int32, seed uint64) {
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
				w[id*columns] = 0
				if int32(id) != end && !printable(tok.Bytes(int32(id))) {
					w[id*columns] = -50
				}
			}
		}
		d.Backend().Write(p.Value, w)
	}
}

// printable reports whether text is printable ASCII, and there is some.
func printable(text []byte) bool {
	for _, b := range text {
		if b < ' ' || b > '~' {
			return false
		}
	}
	return len(text) > 0
}

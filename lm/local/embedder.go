package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/eval/posir"
	"github.com/stepwise-rl/stepwise/internal/infile"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// TextTokenizer is what an embedder needs of a tokenizer.Tokenizer.
type TextTokenizer interface {
	EncodeOrdinary(text string) []int32
	AddSpecial(ids []int32) []int32
	Clip(text string, n int) string
}

// EmbedderConfig holds the settings of an embedder.
type EmbedderConfig struct {
	Encoder   *model.Encoder
	Tokenizer TextTokenizer
	// MaxTokens is where texts are cut off, special tokens included; 0 means at the
	// encoder's MaxSeq. ReadMaxTokens says where sentence-transformers does it.
	MaxTokens int
	// MaxRows bounds the rows (tokens) that are computed at a time; 0 means 4096.
	MaxRows int
}

// Validate returns an error that names the first invalid setting.
func (c EmbedderConfig) Validate() error {
	switch {
	case c.Encoder == nil:
		return errors.New("local: EmbedderConfig.Encoder is nil")
	case c.Tokenizer == nil:
		return errors.New("local: EmbedderConfig.Tokenizer is nil")
	case c.MaxRows < 0:
		return fmt.Errorf("local: EmbedderConfig.MaxRows is %d, want at least 0", c.MaxRows)
	}
	special := len(c.Tokenizer.AddSpecial(nil))
	if most := c.Encoder.Config().MaxSeq; c.MaxTokens != 0 && c.MaxTokens <= special || c.MaxTokens > most || most <= special {
		return fmt.Errorf("local: EmbedderConfig.MaxTokens is %d, want 0 or more than the %d special tokens and at most MaxSeq (%d)", c.MaxTokens, special, most)
	}
	return nil
}

// Embedder makes sentence embeddings of texts with an encoder such as MiniLM, BGE or
// Qwen3-Embedding. With prefixes ([posir.Prefixed], [ReadPrompts]) it is a
// posir.Embedder. One goroutine uses an embedder, and its encoder, at a time.
type Embedder struct {
	c      EmbedderConfig
	room   int // tokens of a text, without special ones
	before int // special tokens before a text
	pack   model.Pack
}

// NewEmbedder returns an embedder. The error is c.Validate's.
func NewEmbedder(c EmbedderConfig) (*Embedder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.MaxTokens == 0 {
		c.MaxTokens = c.Encoder.Config().MaxSeq
	}
	c.MaxRows = rowBound(c.MaxRows)
	const mark = -1 // no token
	return &Embedder{
		c: c, room: c.MaxTokens - len(c.Tokenizer.AddSpecial(nil)),
		before: slices.Index(c.Tokenizer.AddSpecial([]int32{mark}), mark),
	}, nil
}

// ReadPrompts returns what the folder of a sentence-transformers model says is put
// before each query and each document, such as Qwen3-Embedding's instruction: the prompts
// named query, and document or passage, of its config_sentence_transformers.json. Both
// are empty if there is no such file.
func ReadPrompts(dir string) (query, document string, err error) {
	var config struct {
		Prompts map[string]string `json:"prompts"`
	}
	if _, err := readSettings(dir, "config_sentence_transformers.json", &config); err != nil {
		return "", "", err
	}
	return config.Prompts["query"], cmp.Or(config.Prompts["document"], config.Prompts["passage"]), nil
}

// ReadMaxTokens returns where sentence-transformers cuts texts, or pairs of them, off for the
// model in a folder, for MaxTokens of EmbedderConfig and CrossEncoderConfig: max_seq_length of its
// sentence_bert_config.json, else model_max_length of its tokenizer_config.json, but no
// more than maxSeq, which is the encoder's MaxSeq, and is returned if the folder does not
// say. all-MiniLM-L6-v2, which could read 512 tokens, is cut off at 256.
func ReadMaxTokens(dir string, maxSeq int) (int, error) {
	var model struct {
		Max *int `json:"max_seq_length"`
	}
	switch path, err := readSettings(dir, "sentence_bert_config.json", &model); {
	case err != nil:
		return 0, err
	case model.Max != nil && *model.Max < 1:
		return 0, fmt.Errorf("local: %s: max_seq_length is %d, want at least 1", path, *model.Max)
	case model.Max != nil:
		return min(*model.Max, maxSeq), nil
	}
	var tokenizer struct {
		Max *float64 `json:"model_max_length"` // 1e30 where there is no bound
	}
	switch path, err := readSettings(dir, "tokenizer_config.json", &tokenizer); {
	case err != nil:
		return 0, err
	case tokenizer.Max != nil && !(*tokenizer.Max >= 1):
		return 0, fmt.Errorf("local: %s: model_max_length is %v, want at least 1", path, *tokenizer.Max)
	case tokenizer.Max != nil:
		return int(min(*tokenizer.Max, float64(maxSeq))), nil
	}
	return maxSeq, nil
}

// readSettings reads a file of a folder, which may lack it, and returns its path.
func readSettings(dir, name string, v any) (path string, err error) {
	path = filepath.Join(dir, name)
	text, err := infile.Read(path, 16<<20)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if err != nil {
		return path, fmt.Errorf("local: %w", err)
	}
	if err := infile.JSON(text, v); err != nil {
		return path, fmt.Errorf("local: %s: %w", path, err)
	}
	return path, nil
}

// tokens returns the tokens of a text: its first ones, with the special tokens around
// them.
func (e *Embedder) tokens(text string) []int32 {
	ids := e.c.Tokenizer.EncodeOrdinary(text)
	return e.c.Tokenizer.AddSpecial(ids[:min(len(ids), e.room)])
}

// Embed returns one vector [Dim] per text, not scaled. Text that looks like special tokens is
// ordinary text. An error names the text that has no tokens, or is the encoder's or the
// context's.
func (e *Embedder) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	dim := e.c.Encoder.Config().Dim
	vectors := make([][]float32, 0, len(texts))
	flush := func() error {
		if e.pack.Rows() == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		states := make([]float32, len(e.pack.Segments)*dim)
		if err := e.c.Encoder.Embed(&e.pack, states); err != nil {
			return cleared(e.c.Encoder.Backend(), err)
		}
		for from := 0; from < len(states); from += dim {
			vectors = append(vectors, states[from:from+dim:from+dim])
		}
		e.pack.Reset()
		return nil
	}
	e.pack.Reset()
	for i, text := range texts {
		ids := e.tokens(text)
		if len(ids) == 0 {
			return nil, fmt.Errorf("local: text %d to embed has no tokens", i)
		}
		if e.pack.Rows()+len(ids) > e.c.MaxRows {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		e.pack.Add(ids, -1)
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return vectors, nil
}

// Chunks cuts a text into parts that the embedder reads whole; an empty text is its own
// part. It is a posir.SearchOptions.Chunk for a prefix that is empty.
func (e *Embedder) Chunks(text string) []string {
	var chunks []string
	for {
		chunk := e.c.Tokenizer.Clip(text, e.room)
		if chunk == "" || len(chunk) == len(text) {
			return append(chunks, text)
		}
		chunks, text = append(chunks, chunk), text[len(chunk):]
	}
}

// Saliency returns how much each token of a document moves the cosine with a query: the
// length of the gradient with respect to the token's embedding, special tokens left
// out. posir.SummarizeSaliency averages it over documents.
func (e *Embedder) Saliency(ctx context.Context, query, document string) ([]float64, error) {
	vectors, err := e.Embed(ctx, []string{query})
	if err != nil {
		return nil, err
	}
	ids := e.tokens(document)
	text := len(ids) - len(e.c.Tokenizer.AddSpecial(nil))
	if text == 0 {
		return nil, errors.New("local: the document has no tokens")
	}
	e.pack.Reset()
	e.pack.Add(ids, -1)
	dim := e.c.Encoder.Config().Dim
	dinputs := make([]float32, len(ids)*dim)
	err = e.c.Encoder.InputGradient(&e.pack, make([]float32, dim), dinputs, func(state, dstate []float32) {
		cosineGradient(dstate, state, vectors[0])
	})
	if err != nil {
		return nil, cleared(e.c.Encoder.Backend(), err)
	}
	norms := make([]float64, text)
	for i := range norms {
		from := (e.before + i) * dim
		for _, v := range dinputs[from : from+dim] {
			norms[i] += float64(v) * float64(v)
		}
		norms[i] = math.Sqrt(norms[i])
	}
	return norms, nil
}

// cosineGradient computes d = the gradient of the cosine of x and y with respect to x:
// (y/|y| - cos·x/|x|)/|x|.
func cosineGradient(d, x, y []float32) {
	var xx, xy, yy float64
	for i := range x {
		a, b := float64(x[i]), float64(y[i])
		xx, xy, yy = xx+a*a, xy+a*b, yy+b*b
	}
	nx, ny := math.Sqrt(xx), math.Sqrt(yy)
	for i := range x {
		d[i] = float32((float64(y[i])/ny - xy/(nx*ny)*float64(x[i])/nx) / nx)
	}
}

// Products returns the products of posir.SearchOptions on a backend, which are faster
// than those of package posir.
func Products(b tensor.Backend) posir.Products {
	return func(dst, x, y []float32, m, n, k int) error {
		bx, by, out := b.Alloc(m*k), b.Alloc(n*k), b.Alloc(m*n)
		defer b.Free(bx)
		defer b.Free(by)
		defer b.Free(out)
		b.Write(bx, x)
		b.Write(by, y)
		b.MatMul(tensor.OpN, tensor.OpT, m, n, k, 1, bx, by, 0, out)
		return cleared(b, b.Read(dst, out))
	}
}

package relevance

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/chat/jinja"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

// Models makes the policies of a run: those of Config.Policy, or yours, which may be
// anywhere.
type Models interface {
	// New returns a policy with the weights that training begins with, and an engine
	// that samples from it. The policy's checkpoints go to a directory, if they are
	// files; an empty one means that none are saved.
	New(dir string) (*Model, error)
	// Tokenizer is the one that texts are encoded and cut with.
	Tokenizer() *tokenizer.Tokenizer
	// EncodePrompt makes the tokens of a prompt.
	EncodePrompt(t *prompt.Template[rows.Example], e rows.Example) ([]int32, error)
	// End holds the token that ends a completion.
	End() []int32
	// MaxSeq is how many tokens prompt and answer may have together.
	MaxSeq() int
}

// Model is a policy with its engine.
type Model struct {
	Policy rl.Policy
	Engine rollout.Engine
	// Export, if not nil, writes a Hugging Face folder without a tokenizer.
	Export func(dir string) error
	// Free, if not nil, releases the memory of both.
	Free func()
}

func (m *Model) free() {
	if m.Free != nil {
		m.Free()
	}
}

// endOfText ends every completion of a model from nothing.
const endOfText = "<|end|>"

// scratch is the Models of a Scratch.
type scratch struct {
	config  Scratch
	seed    uint64
	backend tensor.Backend
	tok     *tokenizer.Tokenizer
}

func (s *scratch) Tokenizer() *tokenizer.Tokenizer { return s.tok }
func (s *scratch) MaxSeq() int                     { return s.config.Shape.MaxSeq }

func (s *scratch) End() []int32 {
	end, _ := s.tok.ID(endOfText)
	return []int32{end}
}

// EncodePrompt encodes other people's text, so nothing in it is a special token.
func (s *scratch) EncodePrompt(t *prompt.Template[rows.Example], e rows.Example) ([]int32, error) {
	return task.Plain[rows.Example](s.tok.EncodeOrdinary)(t, e)
}

func (s *scratch) New(dir string) (*Model, error) {
	d, err := model.NewDecoder(s.backend, s.config.Shape.decoder(s.tok.VocabSize()), streamOf(initStream, s.seed, 0).Uint64())
	if err != nil {
		return nil, err
	}
	m, err := localModel(d, s.tok, s.End(), dir)
	if err == nil {
		m.Export = func(dir string) error { return d.Export(dir, model.ExportOptions{}) }
	}
	return m, err
}

// localModel returns a model that ends its completions, and is saved, with end.
func localModel(d *model.Decoder, tok *tokenizer.Tokenizer, end []int32, dir string) (*Model, error) {
	if err := d.SetEOS(end...); err != nil {
		return nil, err
	}
	p, err := local.NewPolicy(local.PolicyConfig{Decoder: d, Optimizer: optimizer, Dir: dir})
	if err != nil {
		return nil, err
	}
	e, err := p.NewEngine(tok, local.EngineConfig{})
	if err != nil {
		p.Free()
		return nil, err
	}
	return &Model{Policy: p, Engine: e, Free: p.Free}, nil
}

// pretrained is the Models of a Pretrained.
type pretrained struct {
	config   Pretrained
	seed     uint64
	backend  tensor.Backend
	tok      *tokenizer.Tokenizer
	template chat.Template // nil: the prompt is plain text
	end      []int32
	maxSeq   int
}

// newPretrained reads what is beside the weights.
func newPretrained(c Pretrained, seed uint64, b tensor.Backend) (*pretrained, error) {
	tok, err := tokenizer.Load(filepath.Join(c.Dir, "tokenizer.json"))
	if err != nil {
		return nil, err
	}
	config, err := model.ReadConfig(c.Dir)
	if err != nil {
		return nil, err
	}
	g, err := model.ReadGeneration(c.Dir)
	if err != nil {
		return nil, err
	}
	if m, err := ReadModelInfo(c.Dir); err == nil && len(m.End) > 0 { // of a run
		g.EOS = m.End
	}
	if len(g.EOS) == 0 {
		return nil, fmt.Errorf("%s: neither generation_config.json nor config.json names an end-of-text token (eos_token_id)", c.Dir)
	}
	p := &pretrained{config: c, seed: seed, backend: b, tok: tok, end: g.EOS, maxSeq: config.MaxSeq}
	p.template, err = readChatTemplate(c.Dir)
	return p, err
}

// readChatTemplate returns nil if the folder has none: the prompt is then plain text.
func readChatTemplate(dir string) (chat.Template, error) {
	c, err := chat.ReadConfig(dir)
	if err != nil || len(c.Templates) == 0 {
		return nil, err
	}
	return jinja.FromConfig(c, "default", jinja.Options{})
}

func (p *pretrained) Tokenizer() *tokenizer.Tokenizer { return p.tok }
func (p *pretrained) End() []int32                    { return p.end[:1] }
func (p *pretrained) MaxSeq() int                     { return p.maxSeq }

func (p *pretrained) EncodePrompt(t *prompt.Template[rows.Example], e rows.Example) ([]int32, error) {
	if p.template == nil {
		return task.Plain[rows.Example](p.tok.EncodeOrdinary)(t, e)
	}
	return chat.EncodeMessages(context.Background(), p.template, p.tok, []chat.Message{{Role: "user", Content: t.Render(e)}}, chat.Options{Generate: true})
}

func (p *pretrained) New(dir string) (*Model, error) {
	var options []model.LoadOption
	if p.config.LoRA != nil {
		options = append(options, model.Frozen())
	}
	d, err := model.LoadDecoder(p.backend, p.config.Dir, options...)
	if err != nil {
		return nil, err
	}
	var lora *model.LoRA
	if l := p.config.LoRA; l != nil {
		c := model.LoRAConfig{Rank: l.Rank, Alpha: l.Alpha, Targets: model.AllProjections, Base: p.config.Dir}
		if lora, err = d.AddLoRA(c, streamOf(initStream, p.seed, 0).Uint64()); err != nil {
			return nil, err
		}
	}
	m, err := localModel(d, p.tok, p.end, dir)
	if err != nil {
		return nil, err
	}
	m.Export = func(dir string) error {
		if lora != nil {
			lora.Merge()
		}
		return d.Export(dir, model.ExportOptions{TokenizerFrom: p.config.Dir})
	}
	return m, nil
}

// trainTokenizer learns the vocabulary from prompts and traces of training examples,
// of long documents from their beginning, which is what a model reads; the marks of the
// task's syntax are tokens of their own.
func trainTokenizer(ctx context.Context, src *rows.Source, vocab, documentTokens int) (*tokenizer.Tokenizer, error) {
	d := src.Definition()
	t := d.Template()
	corpus := func(yield func(string) bool) {
		for i := range 3000 {
			if ctx.Err() != nil {
				return
			}
			e := src.Train(i)
			e.Document.Body = beginning(e.Document.Body, 4*documentTokens)
			if !yield(t.Render(e)) {
				return
			}
			if e.Teach != nil && !yield(trace(t, e, streamOf(tokenizerStream, 0, uint64(i)))) {
				return
			}
		}
	}
	o := tokenizer.TrainOptions{VocabSize: vocab, Special: []string{endOfText}, Added: t.Marks()}
	tok, err := tokenizer.Train(iter.Seq[string](corpus), o)
	if ctx.Err() != nil {
		return nil, ctx.Err() // it has not seen all
	}
	return tok, err
}

// beginning is the first characters of a text.
func beginning(text string, characters int) string {
	for i := range text {
		if characters--; characters < 0 {
			return text[:i]
		}
	}
	return text
}

// trace writes one trace of an example's teacher as a completion's text.
func trace(t *prompt.Template[rows.Example], e rows.Example, rng *rand.Rand) string {
	text, err := t.Write(e.Teach(rng))
	if err != nil {
		panic("the teacher wrote what the template does not allow: " + err.Error())
	}
	return text
}

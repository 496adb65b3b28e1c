package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/stepwise-rl/stepwise/lm/chat"
	"github.com/stepwise-rl/stepwise/lm/chat/jinja"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/cuda"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/opencl"
	_ "github.com/stepwise-rl/stepwise/lm/tensor/reference"
	"github.com/stepwise-rl/stepwise/rollout"
)

// exitInterrupted is what shells report of a program that Ctrl-C has ended. After SIGTERM
// it is the same.
const exitInterrupted = 130

const generateAbout = `Streams the text with which a model continues a prompt. The model is a folder
in Hugging Face's layout with config.json, model.safetensors and tokenizer.json.
Ctrl-C ends it.`

// generateOptions are the flags of generate; nil means that one is not given.
type generateOptions struct {
	model, lora, prompt, system, backend string
	chat                                 bool
	weights                              tensor.Format
	maxTokens                            int
	seed                                 uint64
	stop                                 []string
	temperature, topP                    *float64
	topK                                 *int
}

func runGenerate(args []string, in io.Reader, out, errs io.Writer) int {
	const prog = "stepwise generate"
	var o generateOptions
	flags := flag.NewFlagSet(prog, flag.ContinueOnError)
	flags.StringVar(&o.model, "model", "", "`DIR` of the model")
	flags.StringVar(&o.lora, "lora", "", "`DIR` of LoRA adapters for it, as PEFT and this library save them")
	flags.StringVar(&o.prompt, "prompt", "", "`TEXT` to continue; - reads it from standard input")
	flags.BoolVar(&o.chat, "chat", false, "the prompt is a user's message: put it into the model's chat template")
	flags.StringVar(&o.system, "system", "", "`TEXT` of a system message before the user's, with -chat")
	flags.IntVar(&o.maxTokens, "max-tokens", 256, "most tokens to generate; the model's context may end earlier")
	flags.Uint64Var(&o.seed, "seed", 0, "seed of the random numbers")
	backendFlag(flags, &o.backend)
	flags.Func("weights", "`TYPE` in which weights are held: float32, or bfloat16, which is faster and rounds them\n(default float32)", func(s string) (err error) {
		o.weights, err = parseFormat(s)
		return err
	})
	flags.Func("stop", "end with this `TEXT`, which is still printed; may be given several times", func(s string) error {
		o.stop = append(o.stop, s)
		return nil
	})
	const advised = "\n(default as the model's generation_config.json advises, else "
	real := func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
	optional(flags, "temperature", "divide the logits by `N`; 0 takes the most likely token"+advised+"0)", &o.temperature, real)
	optional(flags, "top-p", "sample from the most likely tokens whose probabilities add up to `N`"+advised+"1)", &o.topP, real)
	optional(flags, "top-k", "sample from the `N` most likely tokens, 0 = from all"+advised+"0)", &o.topK, strconv.Atoi)
	given, status, done := parseArguments(flags, "", generateAbout, args, out, errs)
	if done {
		return status
	}
	switch {
	case o.model == "" || o.prompt == "":
		return misused(flags, errors.New("-model and -prompt are needed"), errs)
	case len(given) > 0:
		return misused(flags, fmt.Errorf("unexpected argument %q: quote the prompt", given[0]), errs)
	case o.system != "" && !o.chat:
		return misused(flags, errors.New("-system needs -chat"), errs)
	case o.maxTokens < 1:
		return misused(flags, fmt.Errorf("-max-tokens is %d, want at least 1", o.maxTokens), errs)
	}
	if o.prompt == "-" {
		text, err := io.ReadAll(in)
		if err != nil {
			return finish(prog, err, errs, exitInput)
		}
		o.prompt = string(text)
	}
	g, err := newGeneration(&o, errs)
	if err != nil {
		return finish(prog, err, errs, exitInput)
	}
	defer g.free()
	ctx, stop := untilStopped()
	defer stop()
	err = g.stream(ctx, out)
	if errors.Is(err, context.Canceled) {
		return exitInterrupted
	}
	return finish(prog, err, errs, exitInput)
}

// parseFormat returns the format of that name.
func parseFormat(name string) (tensor.Format, error) {
	switch name {
	case "float32":
		return tensor.FormatFloat32, nil
	case "bfloat16":
		return tensor.FormatBFloat16, nil
	}
	return 0, errors.New("want float32 or bfloat16")
}

// optional defines a flag that stays nil unless it is given.
func optional[T any](flags *flag.FlagSet, name, usage string, dst **T, parse func(s string) (T, error)) {
	flags.Func(name, usage, func(s string) error {
		v, err := parse(s)
		*dst = &v
		return err
	})
}

// generation is a model that is ready to continue a prompt.
type generation struct {
	*folder
	decoder *model.Decoder
	request rollout.Request
	eos     []int32
	weights tensor.Format
}

// newGeneration loads a model and encodes the prompt; what can be wrong
// without the weights is found before they are read.
func newGeneration(o *generateOptions, errs io.Writer) (*generation, error) {
	f, err := openFolder(o.model)
	if err != nil {
		return nil, err
	}
	cfg, err := model.ReadConfig(o.model)
	if err != nil {
		return nil, err
	}
	if f.tokens == nil {
		return nil, fmt.Errorf("%s has no %s, without which there is no text", o.model, tokenizerFile)
	}
	if err := cfg.CheckTokenizer(f.tokens.VocabSize()); err != nil {
		return nil, fmt.Errorf("%s: %w", o.model, err)
	}
	advice, err := model.ReadGeneration(o.model)
	if err != nil {
		return nil, err
	}
	g := &generation{folder: f, eos: advice.EOS, weights: o.weights}
	if id, ok := f.tokens.ID(f.chat.Tokens["eos_token"]); ok {
		g.eos = append(g.eos, id)
	}
	if len(g.eos) == 0 {
		g.eos = []int32{} // none, on purpose
		fmt.Fprintln(errs, "stepwise generate: no file of the model names an end-of-text token (eos_token_id), so the text runs to -max-tokens")
	}
	g.request = rollout.Request{N: 1, Params: o.params(&advice, errs), Stream: [3]uint64{o.seed}}
	if g.request.Prompt, err = f.encode(o); err != nil {
		return nil, err
	}
	room := cfg.MaxSeq - len(g.request.Prompt)
	if room < 1 {
		return nil, fmt.Errorf("the prompt has %d tokens, want fewer than the model's context of %d", len(g.request.Prompt), cfg.MaxSeq)
	}
	g.request.Params.MaxTokens = min(o.maxTokens, room)
	if err := g.request.Validate(); err != nil {
		return nil, err
	}
	b, err := tensor.Open(o.backend)
	if err != nil {
		return nil, err
	}
	logged := model.WithLogger(slog.New(slog.NewTextHandler(errs, nil)))
	if g.decoder, err = model.LoadDecoder(b, o.model, model.Frozen(), logged); err != nil {
		tensor.Close(b)
		return nil, err
	}
	if o.lora == "" {
		return g, nil
	}
	if _, err := g.decoder.LoadLoRA(o.lora, model.Frozen(), logged); err != nil {
		g.free()
		return nil, err
	}
	return g, nil
}

// params returns the sampling parameters: as the flags say, or as the model's
// makers advise, or greedy.
func (o *generateOptions) params(advice *model.Generation, errs io.Writer) rollout.Params {
	p := rollout.Params{Stop: o.stop}
	if advice.Sample != nil && *advice.Sample {
		p.Temperature = 1
		set(&p.Temperature, advice.Temperature)
	}
	set(&p.TopP, advice.TopP)
	set(&p.TopK, advice.TopK)
	set(&p.Temperature, o.temperature)
	set(&p.TopP, o.topP)
	set(&p.TopK, o.topK)
	ignored := func(name string, v *float64, off float64) {
		if v != nil && *v != off {
			fmt.Fprintf(errs, "stepwise generate: %s advises %s %g, which is not done here\n", model.GenerationFile, name, *v)
		}
	}
	ignored("repetition_penalty", advice.RepetitionPenalty, 1)
	ignored("min_p", advice.MinP, 0)
	return p
}

// set sets *dst to *v, if there is one.
func set[T any](dst, v *T) {
	if v != nil {
		*dst = *v
	}
}

// encode returns the prompt's tokens.
func (f *folder) encode(o *generateOptions) ([]int32, error) {
	if !o.chat {
		ids := f.tokens.AddSpecial(f.tokens.Encode(o.prompt))
		if len(ids) == 0 {
			return nil, errors.New("the prompt is empty")
		}
		return ids, nil
	}
	if len(f.chat.Templates) == 0 {
		return nil, fmt.Errorf("%s has no chat template: leave -chat out", f.dir)
	}
	template, err := jinja.FromConfig(f.chat, "default", jinja.Options{})
	if err != nil {
		return nil, err
	}
	messages := []chat.Message{{Role: "user", Content: o.prompt}}
	if o.system != "" {
		messages = append([]chat.Message{{Role: "system", Content: o.system}}, messages...)
	}
	return chat.EncodeMessages(context.Background(), template, f.tokens, messages, chat.Options{Generate: true})
}

// stream writes the text as it is generated, and a line end after it.
func (g *generation) stream(ctx context.Context, out io.Writer) error {
	text := &runeWriter{w: out}
	engine, err := local.NewEngine(g.decoder, g.tokens, local.EngineConfig{
		EOS: g.eos, Sequences: 1, CacheRows: len(g.request.Prompt) + g.request.Params.MaxTokens, Weights: g.weights,
		OnToken: func(_, _ int, token int32) error {
			_, err := text.Write(g.tokens.Bytes(token))
			return err
		},
	})
	if err != nil {
		return err
	}
	defer engine.Free()
	err = engine.Generate(ctx, []rollout.Request{g.request}, func(c rollout.Completion) error { return c.Err })
	return errors.Join(err, text.end())
}

func (g *generation) free() {
	b := g.decoder.Backend()
	g.decoder.Free()
	tensor.Close(b)
}

// runeWriter writes text that comes in pieces which may end inside a
// character: such a character is held back until it is whole. Bytes that are no
// UTF-8 become U+FFFD.
type runeWriter struct {
	w    io.Writer
	held []byte
}

// Write implements io.Writer.
func (r *runeWriter) Write(p []byte) (int, error) {
	r.held = append(r.held, p...)
	whole := len(r.held)
	for i := range min(utf8.UTFMax, whole) {
		if at := whole - 1 - i; utf8.RuneStart(r.held[at]) {
			if !utf8.FullRune(r.held[at:]) {
				whole = at
			}
			break
		}
	}
	if err := r.flush(whole); err != nil {
		return 0, err
	}
	return len(p), nil
}

// end writes what is held back, and a line end.
func (r *runeWriter) end() error {
	r.held = append(r.held, '\n')
	return r.flush(len(r.held))
}

func (r *runeWriter) flush(n int) error {
	if n == 0 {
		return nil
	}
	_, err := io.WriteString(r.w, strings.ToValidUTF8(string(r.held[:n]), "\ufffd"))
	r.held = r.held[:copy(r.held, r.held[n:])]
	return err
}

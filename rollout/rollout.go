package rollout

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// Params are sampling parameters.
type Params struct {
	// Temperature scales the logits by its inverse; 0 means greedy.
	Temperature float64
	// TopP keeps the smallest set of most likely tokens whose total probability
	// reaches it; 0 or 1 keeps all. It applies after TopK.
	TopP float64
	// TopK keeps that many of the most likely tokens; 0 keeps all.
	TopK int
	// MaxTokens bounds the completion's length; at least 1.
	MaxTokens int
	// Stop ends a completion as soon as its text contains one of these; the
	// stop string stays in the text, because its tokens were sampled.
	Stop []string
}

// Validate returns an error that names the first invalid field.
func (p *Params) Validate() error {
	switch {
	case !(p.Temperature >= 0) || math.IsInf(p.Temperature, 1):
		return fmt.Errorf("Temperature is %v, want 0 or more", p.Temperature)
	case !(p.TopP >= 0 && p.TopP <= 1):
		return fmt.Errorf("TopP is %v, want 0 to 1", p.TopP)
	case p.TopK < 0:
		return fmt.Errorf("TopK is %d, want 0 or more", p.TopK)
	case p.MaxTokens < 1:
		return fmt.Errorf("MaxTokens is %d, want 1 or more", p.MaxTokens)
	}
	for i, s := range p.Stop {
		if s == "" {
			return fmt.Errorf("Stop[%d] is empty", i)
		}
	}
	return nil
}

// Request asks for N completions of one prompt.
type Request struct {
	// ID names the request in errors and logs.
	ID string
	// Prompt holds the prompt's token ids.
	Prompt []int32
	// N is the number of completions (the group size), at least 1.
	N      int
	Params Params
	// Stream identifies the random stream: run seed, training step, prompt.
	// The engine adds the sample's index, so a request gives the same samples
	// whatever it is batched with, as far as the engine can promise that.
	Stream [3]uint64
}

// Validate returns an error that names the first invalid field. Limits of the
// model are the engine's to check: token ids outside its vocabulary, prompts
// that are too long.
func (r *Request) Validate() error {
	switch {
	case len(r.Prompt) == 0:
		return errors.New("Prompt is empty")
	case r.N < 1:
		return fmt.Errorf("N is %d, want 1 or more", r.N)
	}
	for i, id := range r.Prompt {
		if id < 0 {
			return fmt.Errorf("Prompt[%d] is %d, not a token id", i, id)
		}
	}
	return r.Params.Validate()
}

// Validate checks all requests; check, if not nil, is the engine's own check of
// each. The error names the request by index and ID. Engines call it before they
// sample anything.
func Validate(reqs []Request, check func(*Request) error) error {
	for i := range reqs {
		err := reqs[i].Validate()
		if err == nil && check != nil {
			err = check(&reqs[i])
		}
		if err != nil {
			return fmt.Errorf("rollout: request %d (%q): %w", i, reqs[i].ID, err)
		}
	}
	return nil
}

// Finish is the reason why a completion ended.
type Finish string

const (
	// FinishStop: the model ended the text or a stop string was reached.
	FinishStop Finish = "stop"
	// FinishLength: MaxTokens was reached first.
	FinishLength Finish = "length"
)

// Engine samples completions.
type Engine interface {
	// Generate samples every request and calls emit exactly once per (request,
	// index), serially, in any order, failures of single samples included. An
	// error of emit ends the call and is returned. When ctx is done, Generate
	// returns ctx.Err() promptly. It leaves no goroutine behind. Invalid requests
	// are an error before anything is emitted; a prompt token outside the
	// vocabulary makes a request invalid.
	Generate(ctx context.Context, reqs []Request, emit func(Completion) error) error
}

// Concurrent is a Refresher with weights of its own, which nobody else changes, so
// that it can sample while the policy is trained (rl.Async). Several goroutines may
// call Generate at once. Requests of earlier calls are begun first: the trainer waits
// for them, while later calls are only there to keep the engine busy. An engine in the
// trainer's process also needs a backend of its own, as lm/local.AsyncEngine has.
type Concurrent interface {
	Refresher
	// RefreshInFlight reports whether Refresh may be called while Generate runs.
	// Completions in flight then go on with the new weights or with those they
	// began with; FirstVersion and LastVersion say which.
	RefreshInFlight() bool
}

// Checker is an Engine that can tell beforehand which requests it cannot
// sample, because the prompt is too long for the model, for example.
type Checker interface {
	// Check returns the error that Generate would return for a request that
	// passes Request.Validate.
	Check(r *Request) error
}

// Form says what [Weights] are handed over as.
type Form uint8

const (
	// FormOwn: by Local or a Ref that only the policy's own engine understands.
	FormOwn Form = iota
	// FormFolder: Ref is the path of a Hugging Face folder with all weights.
	FormFolder
	// FormAdapter: Ref is the path of a folder with LoRA adapters in PEFT's
	// format, for a server that has the model they belong to.
	FormAdapter
	// FormGGUF: Ref is the path of a GGUF file with all weights.
	FormGGUF
)

var formNames = []string{"own", "folder", "adapter", "gguf"}

// String returns "own", "folder", "adapter" or "gguf".
func (f Form) String() string { return settings.EnumString(formNames, f) }

// MarshalText returns the same; any other value is an error.
func (f Form) MarshalText() ([]byte, error) { return settings.EnumText(formNames, f) }

// UnmarshalText reads what MarshalText writes.
func (f *Form) UnmarshalText(text []byte) error { return settings.ParseEnum(formNames, text, f) }

// Weights identifies a version of a policy's weights.
type Weights struct {
	Version int64
	// Form says what Ref is. An engine refuses forms that it cannot load.
	Form Form
	// Ref is a path or URI from which a server can load the weights.
	Ref string
	// Local is a handle to the weights if the policy is in the same process as
	// the engine; nil elsewhere.
	Local any
}

// Refresher is an Engine whose weights can be replaced between calls.
type Refresher interface {
	// Refresh returns once every completion of later calls is sampled with w. A
	// form of weights that the engine cannot load is an error that names it.
	Refresh(ctx context.Context, w Weights) error
}

package rollout

import "context"

// Params are sampling parameters.
type Params struct {
	// Temperature scales the logits by its inverse; 0 means greedy.
	Temperature float64
	// TopP keeps the smallest set of tokens whose probability reaches it;
	// 0 or 1 keeps all. It applies after TopK.
	TopP float64
	// TopK keeps that many most likely tokens; 0 keeps all.
	TopK int
	// MaxTokens bounds the completion's length; at least 1.
	MaxTokens int
	// Stop ends a completion as soon as its text contains one of these; the
	// stop string stays in the text, because its tokens were sampled.
	Stop []string
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
	// Stream identifies the random stream: run seed, step, prompt. The
	// engine adds the sample's index, so a request gives the same samples
	// whatever it is batched with, as far as the engine can promise that.
	Stream [3]uint64
}

// Finish says why a completion ended.
type Finish string

const (
	// FinishStop: the model ended the text or a stop string was reached.
	FinishStop Finish = "stop"
	// FinishLength: MaxTokens was reached first.
	FinishLength Finish = "length"
)

// Engine samples completions.
type Engine interface {
	// Generate samples every request and calls emit exactly once per
	// (request, index), serially, in any order, failures of single samples
	// included. An error of emit ends the call and is returned. When ctx is
	// done, Generate returns its error promptly. It leaves no goroutine
	// behind. Invalid requests are an error before anything is emitted.
	Generate(ctx context.Context, reqs []Request, emit func(Completion) error) error
}

// Checker is an engine that can tell beforehand which requests it cannot sample,
// because the prompt or the completion is too long, for example.
type Checker interface {
	// Check returns the error that Generate would for a request that is valid
	// by itself.
	Check(r *Request) error
}

// Weights identifies a version of a policy's weights.
type Weights struct {
	Version int64
	// Ref is a path or URI from which a server can load the weights.
	Ref string
	// Local is the handle of a policy driver that lives in the same process
	// as the engine; nil elsewhere.
	Local any
}

// Refresher is an engine whose weights can be replaced between calls.
type Refresher interface {
	Refresh(ctx context.Context, w Weights) error
}

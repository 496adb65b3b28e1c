package openai

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// Dialect is the program that a server runs. The three take different requests and
// mean different things by a log-prob.
type Dialect uint8

const (
	// DialectVLLM is vLLM: POST /v1/completions.
	DialectVLLM Dialect = iota + 1
	// DialectLlamaCPP is llama.cpp's server, alone or as a router: POST /completion.
	DialectLlamaCPP
	// DialectSGLang is SGLang: POST /generate.
	DialectSGLang
)

var dialectNames = []string{"none", "vllm", "llama.cpp", "sglang"}

// String returns "vllm", "llama.cpp" or "sglang".
func (d Dialect) String() string { return settings.EnumString(dialectNames, d) }

// MarshalText returns the same; any other value is an error.
func (d Dialect) MarshalText() ([]byte, error) { return settings.EnumText(dialectNames, d) }

// UnmarshalText reads what MarshalText writes.
func (d *Dialect) UnmarshalText(text []byte) error {
	return settings.ParseEnum(dialectNames, text, d)
}

// Server is one inference server. Behind a router of vLLM or SGLang, name the servers
// and not the router: weights are refreshed server by server.
type Server struct {
	Endpoint remote.Endpoint `json:"endpoint"`
	Dialect  Dialect         `json:"dialect"`
	// Model is the name of the model to ask for. If it is empty, the server must
	// have exactly one, which is taken. With llama.cpp as a router it is the model
	// to begin with.
	Model string `json:"model"`
	// Concurrency is how many requests the server gets at once; 0 means its slots
	// with llama.cpp, and 64 with the others.
	Concurrency int `json:"concurrency"`
}

// Config holds the settings of an engine. Servers, Vocab and EOS are required; 0 or
// nil elsewhere means the default.
type Config struct {
	Servers []Server `json:"servers"`
	// Vocab gives the bytes of the model's tokens and must be safe for concurrent
	// use; a *tokenizer.Tokenizer is one.
	Vocab Vocab `json:"-"`
	// EOS are the end-of-text tokens: a completion ends with the first. They must
	// include all that the servers end a text with.
	EOS []int32 `json:"eos"`
	// Context bounds the tokens of a prompt with its completion; 0 means the
	// smallest bound that a server names. Servers must not have less.
	Context int `json:"context"`
	// Attempts is how often a sample is asked for at most; 0 means 5. Waiting for a
	// server is no attempt, nor is one that was not reached or asks to wait.
	Attempts int `json:"attempts"`
	// Backoff and MaxBackoff bound the wait between attempts: Backoff before the
	// second, twice that before the third, and so on up to MaxBackoff, each time
	// changed at random by up to a half. 0 means 100ms and 5s.
	Backoff    time.Duration `json:"backoff"`
	MaxBackoff time.Duration `json:"max_backoff"`
	// SampleTimeout bounds the time from a sample's first request to its answer,
	// retries included; after that the sample is lost. 0 means 10 minutes.
	// AttemptTimeout bounds one request; 0 means half of that.
	SampleTimeout  time.Duration `json:"sample_timeout"`
	AttemptTimeout time.Duration `json:"attempt_timeout"`
	// Patience is how long there may be no server that answers before a call ends
	// with an error, and how long New waits for each that is not up yet; 0 means a
	// minute.
	Patience time.Duration `json:"patience"`
	// PhaseTimeout bounds each phase of a weight refresh, and each question at
	// start; 0 means 2 minutes.
	PhaseTimeout time.Duration `json:"phase_timeout"`
	// KeepInFlight lets samples go on when weights change in place (folders, with vLLM
	// and SGLang): their later tokens have the new ones (LastVersion), with vLLM on
	// keys and values of the old. Otherwise such a refresh waits for them.
	KeepInFlight bool `json:"keep_in_flight"`
	// UnitLogProbs accepts log-probs at temperature 1 as LogP where a server has no
	// others, so that other temperatures and truncation are not refused. Importance
	// ratios between engine and policy are then wrong: for evaluation only.
	UnitLogProbs bool `json:"unit_log_probs"`
	// Logger gets a line per server at start, and warnings; nil discards them.
	Logger *slog.Logger `json:"-"`
}

// Vocab is a sample.Vocab that knows its size.
type Vocab interface {
	sample.Vocab
	// VocabSize is the number of token ids.
	VocabSize() int
}

func (c Config) withDefaults() Config {
	c.Attempts = cmp.Or(c.Attempts, 5)
	c.Backoff = cmp.Or(c.Backoff, 100*time.Millisecond)
	c.MaxBackoff = cmp.Or(c.MaxBackoff, max(c.Backoff, 5*time.Second))
	c.SampleTimeout = cmp.Or(c.SampleTimeout, 10*time.Minute)
	c.AttemptTimeout = cmp.Or(c.AttemptTimeout, c.SampleTimeout/2)
	c.Patience = cmp.Or(c.Patience, time.Minute)
	c.PhaseTimeout = cmp.Or(c.PhaseTimeout, 2*time.Minute)
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	return c
}

// Validate returns an error that names the first invalid setting.
func (c Config) Validate() error {
	switch {
	case len(c.Servers) == 0:
		return errors.New("openai: Config.Servers is empty, want at least one")
	case c.Vocab == nil:
		return errors.New("openai: Config.Vocab is missing")
	case len(c.EOS) == 0:
		return errors.New("openai: Config.EOS is empty, want the model's end-of-text tokens")
	}
	for i, id := range c.EOS {
		if id < 0 || int(id) >= c.Vocab.VocabSize() {
			return fmt.Errorf("openai: Config.EOS[%d] is %d, want an id of the vocabulary, below %d", i, id, c.Vocab.VocabSize())
		}
	}
	seen := map[string]bool{}
	for i, s := range c.Servers {
		if err := s.Endpoint.Validate(); err != nil {
			return fmt.Errorf("openai: Config.Servers[%d]: %w", i, err)
		}
		switch {
		case s.Dialect < DialectVLLM || s.Dialect > DialectSGLang:
			return fmt.Errorf("openai: Config.Servers[%d].Dialect is %v, want vllm, llama.cpp or sglang", i, s.Dialect)
		case s.Concurrency < 0:
			return fmt.Errorf("openai: Config.Servers[%d].Concurrency is %d, want 0 (for the default) or more", i, s.Concurrency)
		case seen[s.Endpoint.URL]:
			return fmt.Errorf("openai: Config.Servers[%d] is %s once more, want each server once", i, s.Endpoint)
		}
		seen[s.Endpoint.URL] = true
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Context", int64(c.Context)}, {"Attempts", int64(c.Attempts)},
		{"Backoff", int64(c.Backoff)}, {"MaxBackoff", int64(c.MaxBackoff)},
		{"SampleTimeout", int64(c.SampleTimeout)}, {"AttemptTimeout", int64(c.AttemptTimeout)},
		{"Patience", int64(c.Patience)}, {"PhaseTimeout", int64(c.PhaseTimeout)},
	} {
		if f.value < 0 {
			return fmt.Errorf("openai: Config.%s is negative, want 0 (for the default) or more", f.name)
		}
	}
	if d := c.withDefaults(); d.MaxBackoff < d.Backoff {
		return fmt.Errorf("openai: Config.MaxBackoff is %v, want at least Backoff, %v", d.MaxBackoff, d.Backoff)
	}
	return nil
}

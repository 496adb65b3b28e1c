package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/rollout"
)

// server is a member of a fleet.
type server struct {
	config  Server
	dialect dialect
	client  *transport.Client

	// Found out at start:
	identity
	limit  int // requests at once
	logps  logProbs
	scores bool // has prompt log-probs
	seeded bool // the same seed gave the same tokens and log-probs
	// Found out when asked:
	top atomic.Int64 // so many most likely tokens it has given

	// Guarded by fleet.mu:
	state     state
	model     string // to ask for
	version   int64  // of the weights
	last      int64  // the same for a sample that ends now
	loaded    rollout.Weights
	replaced  []string // names of weights that are to be dropped
	label     string   // of the weights as the server tells it; "" = none to compare
	inFlight  int
	tried     string         // the label of the last refresh
	byModel   map[string]int // of inFlight
	failures  int            // in a row
	notBefore time.Time      // Retry-After, or when a server that is down is tried again
	waits     backoff.BackOff
	gone      bool // dead, and was seen not to answer since: a new process may come
	lastErr   error
	// life ends when weights that were to be loaded in place are in an unknown state.
	life context.Context
	kill context.CancelFunc
}

// state says whether a server gets requests.
type state uint8

const (
	stateUp         state = iota
	stateDown             // answers badly or not at all; tried again at notBefore
	stateTrial            // is being tried
	stateRefreshing       // gets new weights
	stateDead             // has wrong weights or may be broken, since a refresh
)

func (s *server) String() string { return s.client.String() }

// get asks for JSON, several times if need be, and decodes it into v.
func (s *server) get(ctx context.Context, path string, v any) error {
	return s.decode(ctx, transport.Request{Method: http.MethodGet, Path: path, Accept: "application/json"}, v)
}

// decode sends a request and decodes the answer into v, unless that is nil.
func (s *server) decode(ctx context.Context, r transport.Request, v any) error {
	var text []byte
	if err := s.client.Do(ctx, r, transport.Bytes(&text)); err != nil || v == nil {
		return err
	}
	if err := json.Unmarshal(text, v); err != nil {
		return &answerError{s.String(), fmt.Errorf("to %s %s: %w", r.Method, r.Path, err)}
	}
	return nil
}

// post sends v as JSON, unless it is nil, and reads the answer into into, unless that
// is nil.
func (s *server) post(ctx context.Context, path string, v, into any) error {
	r := transport.Request{Method: http.MethodPost, Path: path}
	if v != nil {
		var err error
		if r, err = transport.PostJSON(path, v); err != nil {
			return err
		}
	}
	r.Once = true
	return s.decode(ctx, r, into)
}

// postSuccess is post to where the answer says whether it succeeded.
func (s *server) postSuccess(ctx context.Context, path string, v any) error {
	var done struct {
		Success bool   `json:"success"`
		Message string `json:"message"`
	}
	if err := s.post(ctx, path, v, &done); err != nil {
		return err
	}
	if !done.Success {
		return fmt.Errorf("POST %s: no success: %q", path, transport.Clean(done.Message, 200))
	}
	return nil
}

// healthy asks whether the server is up, and whether its weights are those that it
// was given, by their label or their name: a process that was started anew has others.
func (s *server) healthy(ctx context.Context, label, model string) error {
	if err := s.client.Do(ctx, transport.Request{Method: http.MethodGet, Path: s.dialect.healthPath(), Once: true}, nil); err != nil {
		return err
	}
	if label != "" {
		got, err := s.dialect.version(ctx, s)
		if err == nil && got != label {
			err = fmt.Errorf("%w: the weights are labelled %.40q, want %q", errOtherWeights, got, label)
		}
		return err
	}
	if model == s.identity.model {
		return nil
	}
	has, err := s.dialect.has(ctx, s, model)
	if err == nil && !has {
		err = fmt.Errorf("%w: it has no model %q", errOtherWeights, model)
	}
	return err
}

var errOtherWeights = errors.New("the server was started anew")

// An answer has at most tokenBody bytes for each token, and maxBody in all; with most
// likely tokens it has at most likelyBody more for each, and maxLikely in all.
const (
	tokenBody  = 4 << 10
	maxBody    = 64 << 20
	likelyBody = 256 // vLLM writes some 80
	maxLikely  = 512 << 20
)

// bound is the most bytes that the answer of a call may have.
func (c *call) bound() int64 {
	n := int64(len(c.prompt) + c.params.MaxTokens)
	if c.top == 0 {
		return min(maxBody, 1<<20+tokenBody*n)
	}
	return min(maxLikely, 1<<20+(tokenBody+likelyBody*int64(c.top))*n)
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// send posts a request of the dialect and hands the body of the answer to read, which
// keeps nothing of it.
func (s *server) send(ctx context.Context, c *call, timeout time.Duration, body func([]byte, *call) []byte, read func(body []byte) error) error {
	in := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(in)
	in.Reset()
	err := s.client.Do(ctx, transport.Request{
		Method: http.MethodPost, Path: s.dialect.samplePath(),
		Body: body(make([]byte, 0, 1024+8*len(c.prompt)), c), ContentType: "application/json", Accept: "application/json",
		ID: c.id, Timeout: timeout, Once: true,
		MaxBody: c.bound(),
	}, func(r *http.Response) error {
		_, err := in.ReadFrom(r.Body)
		return err
	})
	if err != nil {
		return err
	}
	if err := read(in.Bytes()); err != nil {
		if _, ok := errors.AsType[*lossError](err); ok {
			return err
		}
		return &answerError{s.String(), err}
	}
	return nil
}

// answerError is an answer that is not what was asked for.
type answerError struct {
	server string
	error
}

func (e *answerError) Error() string {
	return fmt.Sprintf("openai: the answer of %s: %s", e.server, transport.Clean(e.error.Error(), 300))
}

func (e *answerError) Unwrap() error { return e.error }

package enginetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// Config says what engine to test and what is known about its model.
type Config struct {
	// New returns a new engine; each check asks for one. It may register
	// cleanups with t.
	New func(t *testing.T) rollout.Engine
	// Prompts are at least two different prompts that the engine accepts. At
	// least one of them is followed, greedily, by two tokens with bytes.
	Prompts [][]int32
	// MaxTokens is the length of completions to test with; 0 means 8.
	MaxTokens int

	// Vocab, if not nil, gives the bytes of each token: completions' texts
	// are checked against it.
	Vocab sample.Vocab
	// First, if not nil, returns the exact probability of each token to be
	// the first of a completion at temperature 1: samples and log-probs are
	// checked against it.
	First func(prompt []int32) []float64
	// Weights, if not nil, returns weights to refresh the engine with, which
	// must then be a rollout.Refresher.
	Weights func(version int64) rollout.Weights
	// BatchDependent is set for engines that cannot promise that a request
	// gives the same samples whatever it is batched with.
	BatchDependent bool
}

// Run tests an engine. What the engine or the configuration leaves out is
// skipped with a message. Goroutines are counted by a label, so that other
// tests may run meanwhile; connections that an engine keeps open from a call
// on count as its goroutines.
func Run(t *testing.T, c Config) {
	t.Helper()
	if c.New == nil || len(c.Prompts) < 2 {
		t.Fatal("enginetest: Config needs New and at least two Prompts")
	}
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			err := check.run(t.Context(), newSuite(&c, c.New(t)))
			var skipped skip
			if errors.As(err, &skipped) {
				t.Skip(string(skipped))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// checks are functions that return an error, so that they can be tested on
// engines that are wrong.
var checks = []struct {
	name string
	run  func(ctx context.Context, s *suite) error
}{
	{"EachSampleOnce", eachSampleOnce},
	{"NoRequests", noRequests},
	{"Fields", fields},
	{"MaxTokens", maxTokens},
	{"Greedy", greedy},
	{"Stop", stop},
	{"Batching", batching},
	{"Distribution", distribution},
	{"InvalidRequests", invalidRequests},
	{"EmitError", emitError},
	{"CancelledBefore", cancelledBefore},
	{"CancelledWithin", cancelledWithin},
	{"Goroutines", goroutines},
	{"Versions", versions},
}

// skip is the reason why a check does not apply.
type skip string

func (s skip) Error() string { return string(s) }

// suite is an engine under test.
type suite struct {
	Config
	engine rollout.Engine
	// patience is how long a goroutine may take to end after its call.
	patience time.Duration
}

func newSuite(c *Config, e rollout.Engine) *suite {
	s := &suite{Config: *c, engine: e, patience: 10 * time.Second}
	if s.MaxTokens == 0 {
		s.MaxTokens = 8
	}
	return s
}

// request asks for n completions of prompt i, with a stream of its own.
func (s *suite) request(i, n int, p rollout.Params) rollout.Request {
	if p.MaxTokens == 0 {
		p.MaxTokens = s.MaxTokens
	}
	id := "enginetest-" + string(rune('a'+i))
	return rollout.Request{ID: id, Prompt: s.Prompts[i], N: n, Params: p, Stream: [3]uint64{2, 7, uint64(i)}}
}

package enginetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// Config is the engine to test, and known facts about its model.
type Config struct {
	// New returns a new engine for each check. It may register cleanups with t.
	New func(t *testing.T) rollout.Engine
	// Prompts are at least two different prompts that the engine accepts.
	// Greedy sampling must continue at least one of them with two tokens that
	// have bytes.
	Prompts [][]int32
	// MaxTokens is the length limit of most requests; 0 means 8.
	MaxTokens int

	// Vocab, if not nil, gives the bytes of each token. The texts of completions
	// are checked against it.
	Vocab sample.Vocab
	// First, if not nil, returns for each token the exact probability that it
	// is the first of a completion at temperature 1. Samples and log-probs are
	// checked against it.
	First func(prompt []int32) []float64
	// Weights, if not nil, returns weights for Refresh: the engine must be a
	// rollout.Refresher.
	Weights func(version int64) rollout.Weights
	// BatchDependent is set for engines that cannot promise that a request
	// gives the same samples whatever it is batched with.
	BatchDependent bool
	// Lacks are the features that the engine does not have. Requests that need
	// one are left out of all checks but Refused: the engine must be a
	// rollout.Checker, and refuse them by the name of a parameter of rollout.Params
	// that is the reason ("Temperature" or "TopK" where both are lacking).
	Lacks Feature
}

// Feature is a use of sampling parameters that not every engine can serve, with the
// log-probs that rollout.Completion promises. Several are combined by |.
type Feature uint8

const (
	// FeatureTemperature is a temperature other than 0 and 1, with all tokens kept.
	FeatureTemperature Feature = 1 << iota
	// FeatureTruncation is TopK or TopP at temperature 1.
	FeatureTruncation
	// FeatureBoth is TopK or TopP at a temperature other than 0 and 1.
	FeatureBoth
	// FeatureStop is a stop string.
	FeatureStop
	// FeatureTopKWithTopP is both of them in one request.
	FeatureTopKWithTopP
)

// Needs returns the features that parameters need. At temperature 0, TopK and TopP
// change nothing and need nothing.
func Needs(p *rollout.Params) Feature {
	var f Feature
	truncated := p.TopK > 0 || p.TopP > 0 && p.TopP < 1
	switch tempered := p.Temperature != 1; {
	case p.Temperature == 0:
	case truncated && tempered:
		f = FeatureBoth
	case truncated:
		f = FeatureTruncation
	case tempered:
		f = FeatureTemperature
	}
	if p.Temperature != 0 && p.TopK > 0 && p.TopP > 0 && p.TopP < 1 {
		f |= FeatureTopKWithTopP
	}
	if len(p.Stop) > 0 {
		f |= FeatureStop
	}
	return f
}

// lacks reports whether the engine lacks what p needs.
func (s *suite) lacks(p rollout.Params) bool { return s.Lacks&Needs(&p) != 0 }

// Validate returns an error that names the first invalid field. Run calls it.
func (c *Config) Validate() error {
	switch {
	case c.New == nil:
		return errors.New("enginetest: Config.New is missing")
	case len(c.Prompts) < 2 || slices.Equal(c.Prompts[0], c.Prompts[1]):
		return errors.New("enginetest: Config.Prompts needs at least two different prompts")
	case c.MaxTokens < 0:
		return fmt.Errorf("enginetest: Config.MaxTokens is %d, must not be negative", c.MaxTokens)
	}
	return nil
}

// Run tests an engine. Checks that need an unset field are skipped with a
// message. Goroutines are found by a label, so other tests may run at the same
// time. The goroutines of connections that a call opens and leaves open count as
// left behind.
func Run(t *testing.T, c Config) {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			err := check.run(t.Context(), newSuite(&c, c.New(t)))
			if skipped, ok := errors.AsType[skip](err); ok {
				t.Skip(string(skipped))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// checks return errors, so that they can be tested on faulty engines.
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
	{"Refused", refused},
	{"EmitError", emitError},
	{"CancelledBefore", cancelledBefore},
	{"CancelledWithin", cancelledWithin},
	{"Goroutines", goroutines},
	{"Versions", versions},
	{"Concurrent", concurrent},
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
	s.MaxTokens = cmp.Or(s.MaxTokens, 8)
	return s
}

// request asks for n completions of prompt i, in the random stream of i.
func (s *suite) request(i, n int, p rollout.Params) rollout.Request {
	p.MaxTokens = cmp.Or(p.MaxTokens, s.MaxTokens)
	id := "enginetest-" + string(rune('a'+i))
	return rollout.Request{ID: id, Prompt: s.Prompts[i], N: n, Params: p, Stream: [3]uint64{2, 7, uint64(i)}}
}

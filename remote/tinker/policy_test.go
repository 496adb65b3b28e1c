package tinker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/tinker"
	"github.com/stepwise-rl/stepwise/remote/tinker/tinkertest"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// retry is quick enough for tests.
var retry = remote.Retry{Attempts: 8, Elapsed: 10 * time.Second, Backoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}

func newServer(t *testing.T, o tinkertest.Options) *tinkertest.Server {
	s := tinkertest.NewServer(o)
	t.Cleanup(s.Close)
	return s
}

func newClient(t *testing.T, url string) *tinker.Client {
	c, err := tinker.New(tinker.Config{Endpoint: remote.Endpoint{URL: url}, Retry: retry})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func newPolicy(t *testing.T, c *tinker.Client, change ...func(*tinker.PolicyConfig)) *tinker.Policy {
	config := tinker.PolicyConfig{Model: "table", LoRA: tinker.LoRA{Rank: 8, Seed: 1}}
	for _, f := range change {
		f(&config)
	}
	p, err := tinker.NewPolicy(t.Context(), c, config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Free(context.Background())) })
	return p
}

func TestPolicyContract(t *testing.T) {
	for name, o := range map[string]tinkertest.Options{
		"sum":  {},
		"mean": {Mean: true, Pending: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, o)
			c := newClient(t, s.URL)
			policytest.Run(t, policytest.Options{
				Open:  func(t *testing.T) rl.Policy { return newPolicy(t, c) },
				Vocab: 12, LR: 0.5, Tolerance: 1e-5, Lacks: rl.CapAll,
			})
		})
	}
}

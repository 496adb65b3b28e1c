package simulate_test

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/internal/simulate"
)

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// run simulates in virtual time.
func run(t *testing.T, s simulate.Settings) (r simulate.Result) {
	synctest.Test(t, func(t *testing.T) {
		var err error
		r, err = simulate.Run(t.Context(), s)
		require.NoError(t, err)
	})
	return r
}

// TestClosedForm compares with times that can be computed by hand: 8 slots generate 16
// samples of 10 s each per collection, so W = 20 s and L = 10 s.
func TestClosedForm(t *testing.T) {
	one, partial := rl.Async{Staleness: 1}, rl.Async{Staleness: 1, Partial: true}
	for _, c := range []struct {
		async         rl.Async
		update        time.Duration
		step          time.Duration
		staleness     float64
		collect, wait time.Duration
	}{
		{rl.Async{}, 5 * time.Second, 27 * time.Second, 0, 0, 20 * time.Second},
		{one, 5 * time.Second, 22 * time.Second, 1, 20 * time.Second, 15 * time.Second},
		{one, 30 * time.Second, 32 * time.Second, 1, 20 * time.Second, 0},
		// The next collection gets its first slots when it is begun, after the update,
		// and its second half when the one before has ended.
		{partial, 5 * time.Second, 22 * time.Second, 0.5, 37 * time.Second, 15 * time.Second},
		{partial, 30 * time.Second, 32 * time.Second, 1, 20 * time.Second, 0},
		{rl.Async{Staleness: 3, Partial: true}, 30 * time.Second, 32 * time.Second, 3, 20 * time.Second, 0},
	} {
		r := run(t, simulate.Settings{
			Servers: 2, Slots: 4, Lengths: simulate.Lengths{Median: 1000, Max: 1000}, Token: 10 * time.Millisecond,
			Refresh: 2 * time.Second, Update: c.update, Prompts: 4, Group: 4, Async: c.async, Warm: 10, Steps: 10,
		})
		require.Equal(t, c.step, r.Step, "%+v", c)
		require.InDelta(t, 20/c.step.Seconds(), r.Busy, 1e-9)
		require.InDelta(t, c.update.Seconds()/c.step.Seconds(), r.Training, 1e-9)
		require.InDelta(t, 16*1000/c.step.Seconds(), r.Tokens, 1e-6)
		require.InDelta(t, c.staleness, r.Staleness, 1e-9, "%+v", c)
		require.InDelta(t, c.collect.Seconds(), r.Collect.Seconds(), 1e-6, "%+v", c)
		require.InDelta(t, c.wait.Seconds(), r.Wait.Seconds(), 1e-6, "%+v", c)
	}
}

// cluster is 16 servers with 64 slots, 10 ms per token, and collections that take a
// minute, 2 s of it for the refresh.
func cluster() simulate.Settings {
	s := simulate.Settings{
		Servers: 16, Slots: 64, Lengths: simulate.Lengths{Median: 256, Sigma: 1, Max: 2048}, Token: 10 * time.Millisecond,
		Fail: 0.01, Refresh: 2 * time.Second, Update: 30 * time.Second, Group: 8, Warm: 4, Steps: 4, Seed: 1,
		Async: rl.Async{Staleness: 1, Partial: true},
	}
	s.Prompts = s.Period(58 * time.Second)
	return s
}

// TestServersAreBusyAtStalenessOne: only the refresh of 2 s per minute is lost, because
// the longest sample and the update, 20.5 s and 30 s, end within the 58 s that the next
// collection takes. When servers must be drained for it, a quarter is.
func TestServersAreBusyAtStalenessOne(t *testing.T) {
	s := cluster()
	r := run(t, s)
	require.InDelta(t, 60, r.Step.Seconds(), 1)
	require.InDelta(t, 58./60, r.Busy, 0.003)
	require.EqualValues(t, 1, r.Oldest)
	s.Async.Partial = false
	require.InDelta(t, 0.76, run(t, s).Busy, 0.02)
}

// The flags of TestTable.
var (
	table       = flag.Bool("table", false, "simulate, and print throughput against staleness")
	chart       = flag.String("svg", "", "file for a chart of it")
	servers     = flag.Int("servers", 16, "inference servers")
	slots       = flag.Int("slots", 64, "samples that a server generates at once")
	shuffle     = flag.Bool("shuffle", false, "give free slots to any samples, not to those asked for first")
	median      = flag.Float64("median", 256, "median of the log-normal lengths, in tokens")
	sigma       = flag.Float64("sigma", 1, "standard deviation of their logarithm")
	longest     = flag.String("longest", "2048,32768", "tokens at which samples are cut off, one or several")
	token       = flag.Duration("token", 10*time.Millisecond, "time per token of a sample")
	fail        = flag.Float64("fail", 0.01, "share of samples that are lost")
	refresh     = flag.Duration("refresh", 2*time.Second, "time in which all servers take new weights")
	updates     = flag.String("update", "30s,50s", "time of an update, one or several")
	stalenesses = flag.String("staleness", "0,1,2,3,4,5,6", "bounds on staleness")
	group       = flag.Int("group", 8, "samples per prompt")
	prompts     = flag.Int("prompts", 0, "prompts per collection; 0 takes as many as last -period")
	period      = flag.Duration("period", 58*time.Second, "time that a collection takes with all slots in use")
	checkpoint  = flag.Int64("checkpoint", 0, "training steps between checkpoints")
	steps       = flag.Int("steps", 30, "training steps that are measured")
)

// list parses the values of a flag.
func list[T any](t *testing.T, values string, parse func(string) (T, error)) (out []T) {
	for v := range strings.SplitSeq(values, ",") {
		x, err := parse(v)
		require.NoError(t, err)
		out = append(out, x)
	}
	return out
}

// TestTable prints a table, with the flag -table.
func TestTable(t *testing.T) {
	if !*table {
		t.Skip("needs -args -table")
	}
	s := simulate.Settings{
		Servers: *servers, Slots: *slots, Shuffle: *shuffle, Token: *token,
		Fail: *fail, Refresh: *refresh, Group: *group, CheckpointEvery: *checkpoint, Steps: *steps, Seed: 1,
	}
	var curves []curve
	for _, most := range list(t, *longest, strconv.Atoi) {
		s.Lengths = simulate.Lengths{Median: *median, Sigma: *sigma, Max: most}
		if s.Prompts = *prompts; s.Prompts == 0 {
			s.Prompts = s.Period(*period)
		}
		last := time.Duration(most) * s.Token
		fmt.Printf("\n%d servers × %d slots, %.0f tokens at %v on average, at most %d = %v, %d prompts × %d samples\n\n",
			s.Servers, s.Slots, s.Lengths.Mean(), s.Token, most, last, s.Prompts, s.Group)
		fmt.Println("| update | staleness | refresh | slots busy | trainer busy | training step | tokens/s | mean staleness | mixed | collection | waited |")
		fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
		for _, s.Update = range list(t, *updates, time.ParseDuration) {
			name := fmt.Sprintf("samples to %.0f s, update %v", last.Seconds(), s.Update)
			drained, partial := curve{name: name + ", drained", dashed: true}, curve{name: name}
			for _, n := range list(t, *stalenesses, strconv.Atoi) {
				s.Warm = 5 + 3*n
				for _, s.Async = range []rl.Async{{Staleness: n}, {Staleness: n, Partial: true}} {
					if s.Async.Validate() != nil {
						continue
					}
					r := run(t, s)
					how, p := "drained", point{float64(n), r.Busy}
					if s.Async.Partial {
						how = "in flight"
					} else {
						drained.points = append(drained.points, p)
					}
					if s.Async.Partial || n == 0 {
						partial.points = append(partial.points, p)
					}
					fmt.Printf("| %v | %d | %s | %.1f%% | %.1f%% | %.1f s | %.0f | %.2f | %.1f%% | %.1f s | %.1f s |\n",
						s.Update, n, how, 100*r.Busy, 100*r.Training, r.Step.Seconds(), r.Tokens, r.Staleness, 100*r.Mixed, r.Collect.Seconds(), r.Wait.Seconds())
				}
			}
			curves = append(curves, partial, drained)
		}
	}
	if *chart != "" {
		require.NoError(t, os.WriteFile(*chart, []byte(svg(curves)), 0o644))
	}
}

package judge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/judge"
	"github.com/stepwise-rl/stepwise/remote/judge/judgetest"
	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rl/run"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/sam"
	"github.com/stepwise-rl/stepwise/task"
)

const canary = "sk-canary-0123456789abcdef"

// hostileJudge judges by words, and puts the key that it got and terminal escapes into
// whatever it says. One answer in three is an error that does so.
type hostileJudge struct {
	mu    sync.Mutex
	calls int
}

func (h *hostileJudge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.calls++
	n := h.calls
	h.mu.Unlock()
	a, err := judgetest.Read(r)
	if err != nil || a.Authorization != "Bearer "+canary {
		http.Error(w, "no key", http.StatusUnauthorized)
		return
	}
	text := a.Authorization + "\x1b[31m\n"
	if n%3 == 0 {
		http.Error(w, text, http.StatusServiceUnavailable)
		return
	}
	answer := map[string]judgetest.Opinion{}
	for _, it := range a.Items {
		o := byWords(it.Text, 0)
		o.Reason = text
		answer[it.ID] = o
	}
	b, _ := json.Marshal(answer)
	judgetest.Reply(w, string(b), 10, 10)
}

// saved is a table policy that saves to disk.
type saved struct {
	*policytest.TablePolicy
	dir string
}

func (p saved) Save(ctx context.Context, name string) (string, error) {
	ref := filepath.Join(p.dir, name)
	if err := os.MkdirAll(ref, 0o700); err != nil {
		return "", err
	}
	return ref, os.WriteFile(filepath.Join(ref, "state"), []byte(fmt.Sprint(p.Logits(0))), 0o600)
}

// A whole run with a judge that quotes the key in errors and reasons: the run learns
// what is judged right, and the key is in no file of the run's folder, in no log and no
// error; nor are control characters, and the judge's words are in no name.
func TestRun(t *testing.T) {
	p, err := remotetest.NewProxy(&hostileJudge{}, remotetest.Settings{Rate: 0.1, Seed: 1, Faults: []remotetest.Fault{
		remotetest.FaultReset, remotetest.FaultBusy, remotetest.FaultMalform, remotetest.FaultTruncate,
	}})
	require.NoError(t, err)
	defer p.Close()
	key := filepath.Join(t.TempDir(), "key")
	require.NoError(t, os.WriteFile(key, []byte(canary+"\n"), 0o600))
	dir := filepath.Join(t.TempDir(), "run")
	var text strings.Builder
	var mu sync.Mutex
	log := slog.New(slog.NewTextHandler(lockedWriter{&mu, &text}, &slog.HandlerOptions{Level: slog.LevelDebug}))

	s := settings(p.URL())
	s.Endpoint.Key = remote.Key{File: key}
	s.Service.Retries, s.Service.Backoff, s.Service.MaxBackoff = 1, time.Millisecond, time.Millisecond
	s.Service.OnFailure, s.Service.CacheSize = reward.OnFailureUnscorable, 0
	s.Log = log
	s.Observe = func(o judge.Opinion) { log.Info("opinion", "step", o.Step, "verdict", o.Verdict, "reason", o.Reason) }
	j := open(t, s)
	written, err := judge.Encode(s)
	require.NoError(t, err)

	// The policy writes one token: a whole step, good or bad.
	texts := []string{"", `<step name="city">right \boxed{yes}</step>`, `<step name="city">wrong \boxed{yes}</step>`, `<step name="city">neither \boxed{yes}</step>`}
	counter := &reward.Counter{}
	d := task.Definition[pair]{
		Steps:     []task.Step[pair]{{Name: "city", Criteria: template.Steps[0].Criteria}},
		Input:     template.Input,
		Outcomes:  []task.Outcome[pair]{{Name: "form", Rule: reward.FormatStrict[pair]()}},
		Encode:    func(*prompt.Template[pair], pair) ([]int32, error) { return []int32{0}, nil },
		GroupSize: 8, Params: rollout.Params{Temperature: 1, MaxTokens: 1},
		Counter: counter,
	}
	rule := judge.Rule(j, d.Template())
	d.Steps[0].Rule = rule
	d.Outcomes = append(d.Outcomes[:0], task.Outcome[pair]{Name: "judged", Rule: rule})
	tk, err := task.New(d)
	require.NoError(t, err)

	w, err := run.Start(run.Config{Dir: dir, Settings: map[string]any{"judge": json.RawMessage(written)}, Seed: 1})
	require.NoError(t, err)
	stage, err := w.Stage("train")
	require.NoError(t, err)
	policy := saved{policytest.NewTablePolicy(len(texts), func(id int32) string { return texts[id] }, -1), stage.Checkpoints().Dir}
	trainer, err := rl.NewTrainer(rl.Config{
		Policy: policy, Engine: policy, Source: &rl.SliceSource{Problems: []rl.Problem{tk.Bind(pair{"tea", "a"}), tk.Bind(pair{"tea", "b"})}},
		Credit: sam.Mask{}, Batching: rl.Batching{Prompts: 2}, LR: rl.Constant{LR: 5}, Seed: 1, Steps: 12,
		Recorder: stage, Logger: log, CheckpointEvery: 4,
		OnRollouts: func(step int64, r *rl.Rollouts) error {
			for _, g := range r.Groups {
				for _, c := range g {
					if err := stage.Append(run.Rollouts, step, []any{c.Text, c.Trace, c.Steps[0].Name, c.Steps[0].Verdict}); err != nil {
						return err
					}
				}
			}
			return nil
		},
		Checkpoint: func(ctx context.Context, t *rl.Trainer) error {
			if err := stage.Append("tallies", t.Steps(), counter.Tallies()); err != nil {
				return err
			}
			return stage.Save(ctx, t)
		},
	})
	require.NoError(t, err)
	_, err = stage.Resume(t.Context(), trainer)
	require.NoError(t, err)
	require.NoError(t, trainer.Run(t.Context()))
	require.NoError(t, w.Close())
	require.Greater(t, policy.Logits(0)[1], policy.Logits(0)[2]+1, "what is judged right is learned")

	// An error that ends a run.
	s.Service.OnFailure = reward.OnFailureEnd
	hostile := judge.Rule(open(t, s), template)
	failures := 0
	for i := range 40 {
		if _, err := hostile.Score(t.Context(), pair{}, trace(fmt.Sprint("right", i), "x"), 0); err != nil {
			failures++
			require.NoError(t, remotetest.CheckError(err, canary))
			log.Error("the run ends", "error", err)
		}
	}
	require.Positive(t, failures)

	tally := counter.Tallies()["city"]
	require.Subset(t, []string{"judge failed", "the judge cannot tell"}, keys(tally.Unscorable))
	require.Positive(t, tally.Unscorable["judge failed"])
	require.NoError(t, os.WriteFile(filepath.Join(dir, "log"), []byte(text.String()), 0o600))
	leaks, err := remotetest.Leaks(dir, canary)
	require.NoError(t, err)
	require.Empty(t, leaks)
	require.Contains(t, text.String(), "opinion")
	require.NotContains(t, text.String(), "\x1b")
	// The scan does find what is there.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "leak"), []byte("x"+canary), 0o600))
	leaks, err = remotetest.Leaks(dir, canary)
	require.NoError(t, err)
	require.Len(t, leaks, 1)
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *strings.Builder
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func keys(m map[string]int) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	return names
}

// Hostile servers cost an error.
func TestHostile(t *testing.T) {
	t.Setenv("CANARY_KEY", canary)
	for name, h := range remotetest.Hostile() {
		s := serve(t, h)
		s.Endpoint.Key, s.Service.Timeout = remote.Key{Env: "CANARY_KEY"}, time.Minute
		_, err := judge.Rule(open(t, s), template).Score(t.Context(), pair{}, trace("right", "x"), 0)
		require.NoError(t, remotetest.CheckError(err, canary), "%s: %v", name, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded, name)
	}
}

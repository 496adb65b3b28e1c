package relevance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/relevance/report"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// cancelOn cancels when a text is written.
type cancelOn struct {
	text   string
	cancel func()
	seen   strings.Builder
}

func (c *cancelOn) Write(p []byte) (int, error) {
	if c.seen.Write(p); strings.Contains(c.seen.String(), c.text) {
		c.cancel()
	}
	return len(p), nil
}

var toyStages = []string{"majority", "overlap", "words", "characters", "warmup", "rl-outcome", "rl-mask", "distill"}

// withoutTimes is what of a run must not depend on interruptions.
func withoutTimes(t *testing.T, dir string) (stages []*report.Stage, logs report.Logs, rules map[string]report.Tally) {
	t.Helper()
	f, err := run.Open(dir)
	require.NoError(t, err)
	for _, name := range toyStages {
		s := &report.Stage{}
		found, err := readJSON(f, resultFile(name), s)
		require.NoError(t, err)
		require.True(t, found, name)
		s.Seconds = 0
		for _, scores := range s.Tests {
			scores.TokensPerSecond = 0
		}
		if s.Validation != nil {
			s.Validation.TokensPerSecond = 0
		}
		stages = append(stages, s)
	}
	logs, err = readLogs(f, toyStages)
	require.NoError(t, err)
	for _, l := range logs.Metrics {
		delete(l.Values, "time/collect_s")
		delete(l.Values, "time/update_s")
	}
	r, err := ReadReport(dir)
	require.NoError(t, err)
	faults, err := run.Check(t.Context(), dir)
	require.NoError(t, err)
	require.Empty(t, faults)
	return stages, logs, r.Rules
}

// An interrupted run ends as a whole one: it is stopped while it loads, trains and
// distils, and its folder is copied meanwhile.
func TestInterruptions(t *testing.T) {
	c := toySettings()
	whole := filepath.Join(t.TempDir(), "whole")
	r, err := Train(t.Context(), toy(200), c, whole, Options{})
	require.NoError(t, err)
	require.Equal(t, []int{200, 20, 30}, []int{r.Data[0].Rows, r.Data[1].Rows, r.Data[2].Rows})

	parts := filepath.Join(t.TempDir(), "parts")
	o := Options{}
	for _, text := range []string{"run folder", "step 1/40", "outcome-only credit", "step 5/5", "step credit: mask", "beliefs", "step 1/4"} {
		ctx, cancel := context.WithCancel(t.Context())
		o.Out = &cancelOn{text: text, cancel: cancel}
		_, err := Train(ctx, toy(200), c, parts, o)
		cancel()
		var interrupted *Interrupted
		require.True(t, errors.As(err, &interrupted), "%q: %v", text, err)
		copied := filepath.Join(t.TempDir(), "copy")
		require.NoError(t, os.CopyFS(copied, os.DirFS(parts)))
		require.NoError(t, os.RemoveAll(parts))
		parts, o.Resume = copied, true
		c, _, err = RunConfig(parts) // all settings are in the folder
		require.NoError(t, err)
	}
	o.Out = nil
	_, err = Train(t.Context(), toy(200), c, parts, o)
	require.NoError(t, err)
	stagesA, logsA, rulesA := withoutTimes(t, whole)
	stagesB, logsB, rulesB := withoutTimes(t, parts)
	require.Equal(t, stagesA, stagesB)
	require.Equal(t, logsA, logsB)
	require.Equal(t, rulesA, rulesB)
	a, err := run.Open(whole)
	require.NoError(t, err)
	b, err := run.Open(parts)
	require.NoError(t, err)
	lines, err := run.Compare(t.Context(), a, b)
	require.NoError(t, err)
	for _, line := range lines {
		require.Contains(t, line, "artefact ", "results have times")
	}

	c.Seed = 4
	_, err = Train(t.Context(), toy(200), c, parts, o)
	require.ErrorContains(t, err, "seed is now 4, the run has 1")
	_, err = Train(t.Context(), toy(201), toySettings(), parts, o)
	require.ErrorContains(t, err, "data")
	_, err = Train(t.Context(), toy(200), toySettings(), parts, Options{})
	require.ErrorIs(t, err, run.ErrBegun)
	_, err = Train(t.Context(), toy(200), toySettings(), t.TempDir(), o)
	require.ErrorIs(t, err, run.ErrNoRun)

	testFolders(t, whole, r)
	testCompare(t, whole, parts)
}

// What a stage has measured in its last step is not lost if the run stops between the last
// checkpoint and the result.
func TestStoppedBeforeTheResult(t *testing.T) {
	c := toySettings()
	c.Reinforce.Steps, c.Student.Encoder = 4, nil
	c.Reinforce.Credits = c.Reinforce.Credits[:1]
	numbers := func(text string) map[string]float64 {
		dir, o := t.TempDir(), Options{}
		if text != "" {
			ctx, cancel := context.WithCancel(t.Context())
			o.Out = &cancelOn{text: text, cancel: cancel}
			_, err := Train(ctx, toy(200), c, dir, o)
			cancel()
			require.ErrorContains(t, err, "interrupted in stage rl-outcome")
			o = Options{Resume: true}
		}
		r, err := Train(t.Context(), toy(200), c, dir, o)
		require.NoError(t, err)
		again, err := Train(t.Context(), toy(200), c, dir, Options{Resume: true})
		require.NoError(t, err)
		require.Equal(t, r.Rules, again.Rules, "of a run that is finished")
		return r.Stages[len(r.Stages)-1].Numbers
	}
	whole := numbers("")
	require.NotZero(t, whole["last_live_groups"])
	require.Equal(t, whole, numbers("step 4/4"))
}

// testFolders: the model folders of a run say what its models said.
func testFolders(t *testing.T, dir string, r *report.Run) {
	for folder, stage := range map[string]string{PolicyFolder: r.Best, StudentFolder: "distill"} {
		info, err := ReadModelInfo(filepath.Join(dir, folder))
		require.NoError(t, err)
		require.Equal(t, stage, info.Stage)
		src := toy(200)
		s, err := Open(t.Context(), filepath.Join(dir, folder), src, "cpu")
		require.NoError(t, err)
		scores, err := Evaluate(t.Context(), s, src, src.Tests[0].Examples, false)
		require.NoError(t, err)
		for _, have := range r.Stages {
			if have.Name == stage {
				require.Equal(t, have.Tests["TEST"].NDCG, scores.NDCG, stage)
				require.Equal(t, have.Tests["TEST"].Reliability, scores.Reliability, stage)
				require.Equal(t, have.Tests["TEST"].Accuracy, scores.Accuracy, stage)
			}
			if have.Name == "distill" {
				require.Equal(t, "teacher: "+r.Best, have.Note)
			}
		}
		said, err := s.Score(t.Context(), "red mouse", []rows.Document{{Title: "mouse", Body: "it is red"}, {Title: "desk"}}, ScoreOptions{Steps: true})
		require.NoError(t, err)
		require.Len(t, said, 2)
		for _, one := range said {
			require.Contains(t, append(s.Labels(), ""), one.Label)
			if one.P != nil {
				require.InDelta(t, 1, one.P[0]+one.P[1]+one.P[2], 1e-6)
			}
			_, err := json.Marshal(one)
			require.NoError(t, err)
		}
		if folder == PolicyFolder {
			g, err := model.ReadGeneration(filepath.Join(dir, folder))
			require.NoError(t, err)
			require.EqualValues(t, info.End, g.EOS, "other programs end there too")
			require.NotEmpty(t, said[0].Steps)
			many, err := s.Score(t.Context(), "red mouse", []rows.Document{{Title: "mouse"}}, ScoreOptions{Samples: 4})
			require.NoError(t, err)
			require.Nil(t, many[0].Steps)
		}
		require.NoError(t, s.Close())
		other := toy(200)
		other.Labels = []string{"a", "b", "c"}
		_, err = Open(t.Context(), filepath.Join(dir, folder), other, "cpu")
		require.ErrorContains(t, err, "trained for another task")
	}
	_, err := Open(t.Context(), dir, toy(1), "cpu")
	require.ErrorContains(t, err, "is no model folder: it has no stepwise.json")
}

func testCompare(t *testing.T, a, b string) {
	var out strings.Builder
	require.NoError(t, Compare(&out, a, b))
	require.Contains(t, out.String(), "+0.000 [+0.000 +0.000]")
	require.NotContains(t, out.String(), ValidationSet)
	out.Reset()
	require.NoError(t, CompareStages(&out, []string{a, b}, "warmup", "warmup", "", .01))
	require.Contains(t, out.String(), "+0.0000 [–]", "two folds of one seed")
	require.ErrorContains(t, CompareStages(&out, []string{a}, "warmup", "warmup", "fold *", .01), "no test set matches \"fold *\"; there are TEST")
	require.ErrorContains(t, CompareStages(&out, []string{a}, "warmup", "nonsense", "", .01), "no stage \"nonsense\" has predictions; there are those of ")
	require.ErrorContains(t, CompareStages(&out, []string{a}, "warmup", "warmup", "[", .01), "syntax error")
	var page strings.Builder
	require.NoError(t, WriteReport(&page, a))
	require.Contains(t, page.String(), "What was asked")
}

// askedFirst is a rule that asks somebody else, who is down.
type askedFirst struct{ reward.Rule[rows.Example] }

var errDown = errors.New("down")

func (askedFirst) Probe(ctx context.Context) error { return cmp.Or(ctx.Err(), errDown) }

// A judge that is down is found before anything is trained.
func TestRulesAreProbed(t *testing.T) {
	src := toy(50)
	src.Steps[1].Rule = askedFirst{src.Steps[1].Rule}
	dir := filepath.Join(t.TempDir(), "run")
	_, err := Train(t.Context(), src, toySettings(), dir, Options{})
	require.ErrorIs(t, err, errDown)
	require.ErrorContains(t, err, `step "`+src.Steps[1].Name+`": down`)
	require.NoDirExists(t, filepath.Join(dir, "stages"))
}

// A run that was stopped before it began leaves nothing that a second command could
// stumble over.
func TestStoppedWhileLoading(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := filepath.Join(t.TempDir(), "run")
	_, err := Train(ctx, toy(50), toySettings(), dir, Options{})
	require.ErrorAs(t, err, new(*Interrupted))
	require.NoDirExists(t, dir)
}

// What cannot be compared with is said before anything is trained.
func TestRowsWithoutLabel(t *testing.T) {
	src := toy(50)
	src.Tests[0].Examples[3].Truth = []string{"yes", "no", "7"}
	_, err := Train(t.Context(), src, toySettings(), t.TempDir(), Options{})
	require.EqualError(t, err, `relevance: the set TEST: example test-3: the label is "7", want one of ["0" "1" "2"]`)
	_, err = Evaluate(t.Context(), nil, src, src.Tests[0].Examples, false)
	require.EqualError(t, err, `example test-3: the label is "7", want one of ["0" "1" "2"]`)
	src.Tests[0].Examples = nil
	_, err = Train(t.Context(), src, toySettings(), t.TempDir(), Options{})
	require.EqualError(t, err, "relevance: the set TEST: no examples, want at least one")
	src = toy(50)
	src.Validation[0].Truth = nil
	_, err = Train(t.Context(), src, toySettings(), t.TempDir(), Options{})
	require.ErrorContains(t, err, `relevance: the set validation: example held-0: the label is ""`)
}

// Models of the caller's are trained as those of the configuration are; what is
// elsewhere is not exported.
func TestModelsOfYourOwn(t *testing.T) {
	c := toySettings()
	c.Student.Encoder = nil
	src := toy(100)
	tok, err := trainTokenizer(t.Context(), src, 400, 96)
	require.NoError(t, err)
	p, err := prepared(t, toy(100), c)
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "run")
	at := t.TempDir()
	r, err := Train(t.Context(), src, c, dir, Options{
		Models: elsewhere{&scratch{c.Policy.(Scratch), c.Seed, p.backend, tok}, at},
		Remove: func(_ context.Context, ref string) error {
			path, ok := strings.CutPrefix(ref, far)
			require.True(t, ok, ref)
			return os.RemoveAll(path)
		},
	})
	require.NoError(t, err)
	left, err := filepath.Glob(filepath.Join(at, "model*", "*"))
	require.NoError(t, err)
	require.LessOrEqual(t, len(left), 3*3, "of each stage the best, the last and one to fall back on")
	require.Len(t, r.Stages, 7)
	require.NoDirExists(t, filepath.Join(dir, PolicyFolder))
	f, err := run.Open(dir)
	require.NoError(t, err)
	audit, err := f.Artefact("audit/rl-mask.jsonl")
	require.NoError(t, err)
	require.Contains(t, string(audit), `"truth":""`)
}

func TestCurriculumAndDynamicSampling(t *testing.T) {
	c := toySettings()
	c.Student.Encoder, c.Reinforce.Curriculum, c.Reinforce.DynamicRounds = nil, true, 2
	c.Warmup.Steps, c.Reinforce.Steps, c.Validation.Rows = 20, 2, 0
	r, err := Train(t.Context(), toy(50), c, filepath.Join(t.TempDir(), "run"), Options{})
	require.NoError(t, err)
	require.Equal(t, 2.0, r.Stages[5].Numbers["step"], "without validation the last checkpoint counts")

	c.Reinforce.Steps = 2
	endless := toy(50)
	endless.Size = 0
	_, err = Train(t.Context(), endless, c, filepath.Join(t.TempDir(), "run"), Options{})
	require.ErrorContains(t, err, "reinforce.curriculum needs a source with an end")
	untaught := toy(50)
	train := untaught.Train
	untaught.Train = func(i int) rows.Example { e := train(i); e.Teach = nil; return e }
	_, err = Train(t.Context(), untaught, c, filepath.Join(t.TempDir(), "run"), Options{})
	require.ErrorContains(t, err, "the source has no teacher to warm up on")
}

// Memorising is said in words, once, and a fall from the best, too.
func TestOverfittingIsSaid(t *testing.T) {
	_, l := newToyLeg(t)
	l.Rewards = []float64{.5, .5, .5, .5, .99}
	require.NoError(t, l.compare(10, map[string]float64{"accuracy": .8}, io.Discard))
	require.NoError(t, l.compare(20, map[string]float64{"accuracy": .34}, io.Discard))
	require.NoError(t, l.compare(30, map[string]float64{"accuracy": .34}, io.Discard))
	r, err := l.result()
	require.NoError(t, err)
	require.Len(t, r.Alarms, 2)
	require.Contains(t, r.Alarms[0], "steps 10 to 30, 3 times: overfitting: sampled answers are right for 0.99 of the training rows, but greedy ones for only 0.34")
	require.Contains(t, r.Alarms[1], "accuracy on validation rows fell to 0.340 from 0.800 at best")
}

// newToyLeg returns a leg of a run on the toy whose weights are saved nowhere.
func newToyLeg(t *testing.T) (*pipeline, *leg) {
	p, err := prepared(t, toy(50), toySettings())
	require.NoError(t, err)
	stage, err := p.f.Stage("rl-mask")
	require.NoError(t, err)
	l := p.newLeg(stage)
	l.weights = nowhere{}
	_, err = l.resume(t.Context())
	require.NoError(t, err)
	return p, l
}

type nowhere struct{}

func (nowhere) Save(context.Context, string) (string, error) { return "nowhere", nil }
func (nowhere) Load(context.Context, string) error           { return nil }

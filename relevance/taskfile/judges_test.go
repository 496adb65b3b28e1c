package taskfile

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/remote/judge/judgetest"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/task"
)

const judged = `version: 1
name: shop
labels: [0, 1]
data: {pairs: {file: pairs.csv}}
split: {folds: 2, validation: 0}
judges:
  - name: clerk
    url: URL/v1
    model: some-model
    key_env: STEPWISE_TEST_JUDGE_KEY
    prompt: The texts are about a shop.
    max_calls: 3
steps:
  - name: topic
    instruction: Compare.
    criteria: [{name: same, text: The same thing.}]
    answers: [same, other]
    rule: {judge: clerk}
  - name: label
`

// A judge model of the file sees the step's instruction and criteria, the pair as the
// policy reads it, and its own prompt; the key comes from the environment.
func TestJudgeModel(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(judgetest.Handler(func(q judgetest.Question, it judgetest.Item) judgetest.Opinion {
		asked.Add(1)
		assert.Equal(t, "Bearer secret", q.Authorization)
		assert.Equal(t, "some-model", q.Model)
		assert.True(t, strings.HasSuffix(q.Messages[0], "\n\nThe texts are about a shop."))
		assert.Contains(t, q.Input, "query: ")
		assert.Equal(t, "Compare.", it.Task)
		assert.Equal(t, []string{"same: The same thing."}, it.Criteria)
		verdict := "incorrect"
		if strings.Contains(it.Text, "other") {
			verdict = "correct"
		}
		return judgetest.Opinion{Reason: "so", Verdict: verdict, Confidence: 90}
	}))
	defer server.Close()
	text := strings.ReplaceAll(judged, "URL", server.URL)

	_, err := open(t, text, Options{})
	assert.ErrorContains(t, err, "task.yaml:7:5: judges[0]: ")
	assert.ErrorContains(t, err, "STEPWISE_TEST_JUDGE_KEY")
	scoring, err := open(t, text, Options{Unjudged: true})
	require.NoError(t, err, "no key is needed to score with a trained model")
	assert.Nil(t, scoring.Source.Steps[0].Rule)
	assert.Empty(t, scoring.Judges)

	got, err := open(t, strings.Replace(text, "key_env: STEPWISE_TEST_JUDGE_KEY", "key_file: key.txt", 1), Options{}, "key.txt", "secret")
	require.NoError(t, err, "paths are relative to the task file's folder")
	got.Judges[0].Close()

	t.Setenv("STEPWISE_TEST_JUDGE_KEY", "secret")
	got, err = open(t, text, Options{})
	require.NoError(t, err)
	require.Len(t, got.Judges, 1)
	defer got.Judges[0].Close()
	assert.Empty(t, got.JudgeUse())
	s := got.Source
	d := s.Definition()
	d.GroupSize, d.Params = 1, rollout.Params{MaxTokens: 1}
	d.Encode = task.Plain[rows.Example](func(string) []int32 { return []int32{1} })
	made, err := task.New(d)
	require.NoError(t, err)
	e := s.Train(0)
	for _, c := range []struct {
		answer string
		want   rollout.Verdict
	}{{"other", rollout.VerdictCorrect}, {"same", rollout.VerdictIncorrect}, {"other", rollout.VerdictCorrect}} {
		one := completion(t, &d, c.answer, e.Label())
		require.NoError(t, made.Bind(e).Judge(t.Context(), one))
		assert.Equal(t, []rollout.Verdict{c.want, rollout.VerdictCorrect}, []rollout.Verdict{one.Steps[0].Verdict, one.Steps[1].Verdict})
	}
	assert.EqualValues(t, 2, asked.Load(), "the same question is asked once")
	assert.Equal(t, []string{"judge clerk: 3 questions, 2 calls (0 failed), 200 tokens read and 20 written"}, got.JudgeUse())

	// Training asks the rules first, so a server that is down is found then.
	down, err := open(t, strings.Replace(text, "max_calls: 3", "retries: 0", 1), Options{})
	require.NoError(t, err)
	server.Close()
	err = down.Source.Steps[0].Rule.(interface{ Probe(context.Context) error }).Probe(t.Context())
	require.ErrorContains(t, err, `the judge "clerk" (model "some-model" at `+server.URL+"/v1) ")
}

func TestJudgeModelErrors(t *testing.T) {
	with := func(old, new string) string { return strings.Replace(judged, old, new, 1) }
	for text, want := range map[string]string{
		judged:                                    "judges[0]: remote: Endpoint.URL is no URL",
		with("model: some-model", "modell: x"):    `task.yaml:9:5: judges[0]: no setting "modell", want one of name, url, model, key_env,`,
		with("model: some-model", "format: xml"):  "xml",
		with("max_calls: 3", "votes: 3"):          "Votes is 3 at a Temperature of 0",
		with("max_calls: 3", "on_failure: never"): "never",
		with("name: clerk", "name: ''"):           `judges[0].name: "" is empty`,
		strings.ReplaceAll(with("judge: clerk", "judge: boss"), "URL", "http://x"): `task.yaml:18:19: steps[0].rule.judge: no judge "boss" was given, only: clerk`,
	} {
		t.Setenv("STEPWISE_TEST_JUDGE_KEY", "secret")
		_, err := open(t, text, Options{})
		assert.ErrorContains(t, err, want, text)
	}
	t.Setenv("STEPWISE_TEST_JUDGE_KEY", "secret")
	_, err := open(t, strings.ReplaceAll(judged, "URL", "http://x"), Options{Judges: map[string]reward.Rule[rows.Example]{"clerk": rows.TruthRule(0)}})
	assert.ErrorContains(t, err, `judges[0].name: "clerk" is also the name of a judge in Options.Judges`)
}

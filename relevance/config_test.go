package relevance

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/advantage"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/sam"
)

func TestRunFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
seed: 7
policy: {kind: pretrained, dir: models/tiny, lora: {rank: 8, alpha: 16}}
warmup: {steps: 100}
reinforce:
  objective: {kind: jsd, beta: 0.5}
  teacher: {dir: models/large, k: 64, candidates: union}
  credits:
    - {name: step, credit: {kind: step_group, norm: {kind: rloo}}}
student: {encoder: null}
`), 0o600))
	c, err := ReadConfig(path, Default())
	require.NoError(t, err)
	assert.Equal(t, uint64(7), c.Seed)
	assert.Equal(t, Pretrained{Dir: "models/tiny", LoRA: &LoRA{8, 16}}, c.Policy)
	assert.Equal(t, 100, c.Warmup.Steps)
	assert.Equal(t, 16, c.Warmup.Batch, "what the file does not name stays")
	assert.Equal(t, []NamedCredit{{"step", sam.StepGroup{Norm: advantage.RLOO{}}}}, c.Reinforce.Credits)
	assert.Equal(t, &DecoderTeacher{"models/large", 64, rl.CandidatesUnion}, c.Reinforce.Teacher)
	assert.Nil(t, c.Student.Encoder)
	text, err := json.Marshal(c)
	require.NoError(t, err)
	var again Config
	require.NoError(t, json.Unmarshal(text, &again))
	assert.Equal(t, c, again)
}

func TestRunFileErrors(t *testing.T) {
	for text, want := range map[string]string{
		"sede: 1":                                                       "sede: unknown field",
		"policy: {kind: remote}":                                        "policy.kind: unknown kind \"remote\", want pretrained or scratch",
		"policy: {kind: scratch, vocab: 299}":                           "vocab is 299, want at least 300",
		"seed: [":                                                       "yaml: line 1",
		"reinforce: {credits: []}":                                      "reinforce.credits is empty",
		"validation: {metric: ndcg}":                                    `validation.metric is "ndcg", want accuracy or qwk`,
		"reinforce: {prompts: 1}":                                       "sample_prompts is 2, want at most the 1 of a training step",
		"student: {encoder: {kind: pretrained}}":                        "dir is empty",
		"reinforce: {objective: {kind: ppo, clip_low: -1}}":             "clip_low",
		"reinforce: {objective: {kind: terms}}":                         "vespo, or an array of such objects",
		"reinforce: {objective: {kind: forward_kl}}":                    "reinforce.teacher.dir is missing",
		"reinforce: {teacher: {dir: x, k: 1}}":                          "reinforce.teacher is set, but the objective reads nothing of it",
		"reinforce: {objective: {kind: reverse_kl}, teacher: {dir: x}}": "reinforce.teacher.k is 0",
		"reinforce: {objective: {kind: kl, estimator: k3, beta: 0.1}}":  "reinforce.objective needs a reference policy, which a run does not have",
		"student: {form: bi-encoder, documents: 4, examples: 3}":        "student.examples is 3, want at least the 4 documents of a query",
		"warmup: {lr: -1}":                                              "warmup.lr",
		"reinforce: {lr: -1}":                                           "reinforce.lr",
		"student: {lr: -1}":                                             "student.lr",
		"student: {soft: 2}":                                            "Loss.Soft is 2, want 0 to 1",
		"student: {temperature: -1}":                                    "Loss.Temperature is -1",
		"student: {head: normal}":                                       `the head is "normal"`,
		"reinforce: {teacher: {candidates: all}}":                       "candidates",
	} {
		_, err := DecodeConfig([]byte(text), Default())
		assert.ErrorContains(t, err, want, text)
	}
	_, err := DecodeConfig([]byte("reinforce: {objective: [{kind: ppo, clip_low: 0.2, clip_high: 0.28}, {kind: entropy_bonus, coef: 0.01}]}"), Default())
	assert.NoError(t, err, "the sum in docs/relevance.md")
}

// A model from nothing has a default size, wherever it is asked for.
func TestScratchByDefault(t *testing.T) {
	c, err := DecodeConfig([]byte("{policy: {kind: scratch}, student: {encoder: {kind: scratch, shape: {layers: 1}}}}"), Default())
	require.NoError(t, err)
	require.Equal(t, Default().Policy, c.Policy)
	student := c.Student.Encoder.(Scratch)
	require.Equal(t, 1, student.Shape.Layers)
	require.Equal(t, c.Policy.(Scratch).Shape.Dim, student.Shape.Dim)
}

// What a student cannot be made of is said before anything is trained.
func TestStudentThatCannotBe(t *testing.T) {
	folder := tinyFolder(t, "")
	for want, change := range map[string]func(c *Config){
		"student.encoder.layers is 9, want at most": func(c *Config) { c.Student.Encoder = Teacher{Layers: 9} },
		"student.encoder.layers is 8, want at most": func(c *Config) { c.Policy, c.Student.Encoder = Pretrained{Dir: folder}, Teacher{Layers: 8} },
		"student.encoder.dir: ":                     func(c *Config) { c.Student.Encoder = Pretrained{Dir: "nowhere"} },
		"policy.dir: ":                              func(c *Config) { c.Policy = Pretrained{Dir: "nowhere"} },
	} {
		c := toySettings()
		change(&c)
		dir := filepath.Join(t.TempDir(), "run")
		_, err := Train(t.Context(), toy(100), c, dir, Options{})
		require.ErrorContains(t, err, want)
		require.NoDirExists(t, dir, want)
	}
}

// A stage of reinforcement learning can be distillation from a decoder in a folder. One
// with another tokenizer ends it before its first step.
func TestDistilledPolicy(t *testing.T) {
	s := toySettings()
	teacher := tinyFolder(t, "")
	s.Policy, s.Student.Encoder = Pretrained{Dir: tinyFolder(t, "")}, nil
	s.Warmup.Steps, s.Reinforce.Steps = 0, 2
	s.Reinforce.Credits = []NamedCredit{{"distilled", sam.Outcome{}}}
	s.Reinforce.Objective = objective.JSD{Beta: .5}
	s.Reinforce.Teacher = &DecoderTeacher{Dir: teacher, K: 8, Candidates: rl.CandidatesUnion}
	dir := filepath.Join(t.TempDir(), "run")
	_, err := Train(t.Context(), toy(100), s, dir, Options{})
	require.NoError(t, err)
	metrics, err := os.ReadFile(filepath.Join(dir, "stages", "rl-distilled", "metrics.jsonl"))
	require.NoError(t, err)
	require.Contains(t, string(metrics), `"objective/jsd"`)

	tok, err := trainTokenizer(t.Context(), toy(100), 300, 96)
	require.NoError(t, err)
	require.NoError(t, tok.Save(filepath.Join(teacher, "tokenizer.json")))
	_, err = Train(t.Context(), toy(100), s, filepath.Join(t.TempDir(), "run"), Options{})
	require.ErrorContains(t, err, "reinforce.teacher: rl: the teacher's tokenizer has 300 tokens")
}

package taskfile

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/judge"
	"github.com/stepwise-rl/stepwise/reward"
)

// JudgeModel is a language model behind an OpenAI-compatible chat endpoint that judges
// steps by their criteria ([judge.Judge]). Zero numbers are the defaults named.
type JudgeModel struct {
	// Name is what steps call it.
	Name string `yaml:"name"`
	// URL is the server's, up to what "/chat/completions" is added to, and Model the
	// model's name there.
	URL   string `yaml:"url"`
	Model string `yaml:"model"`
	// KeyEnv is the environment variable, and KeyFile the file, that the key is in;
	// without either none is sent. CAFile has certificates to trust. The files' paths are
	// relative as those of data are.
	KeyEnv  string `yaml:"key_env"`
	KeyFile string `yaml:"key_file"`
	CAFile  string `yaml:"ca_file"`
	// Prompt is what the judge is told besides how to answer: what the texts are
	// about, and how strict to be.
	Prompt string `yaml:"prompt"`
	// Votes is how many votes there are, with a Temperature; 1 by default. A vote that
	// is less sure than MinConfidence, from 0 to 1, does not count.
	Votes         int     `yaml:"votes"`
	Temperature   float64 `yaml:"temperature"`
	MinConfidence float64 `yaml:"min_confidence"`
	// Format is what the server is asked to hold the answer to: json_schema, the
	// default, json_object or text.
	Format string `yaml:"format"`
	// Timeout bounds each call, in seconds; 60 by default. A failed one is repeated
	// Retries times; 3 by default, nil. Concurrency is how many run at once; 8 by default.
	Timeout     float64 `yaml:"timeout"`
	Retries     *int    `yaml:"retries"`
	Concurrency int     `yaml:"concurrency"`
	// OnFailure says what becomes of a judgement that failed in the end: drop, the
	// default, leaves the sample out, unscorable the step's verdict, and end ends the
	// run. Of the last thousand judgements 20 may fail.
	OnFailure string `yaml:"on_failure"`
	// MaxCalls and MaxTokens bound what all calls of a program together may cost; 0
	// means no bound.
	MaxCalls  int `yaml:"max_calls"`
	MaxTokens int `yaml:"max_tokens"`
}

// Settings are the judge's.
func (m *JudgeModel) Settings() (judge.Settings, error) {
	s := judge.Settings{
		Endpoint: remote.Endpoint{URL: m.URL, Key: remote.Key{Env: m.KeyEnv, File: m.KeyFile}, CAFile: m.CAFile},
		Model:    m.Model, Prompt: m.Prompt, Votes: m.Votes, Temperature: m.Temperature, MinConfidence: m.MinConfidence,
		Budget: judge.Budget{Calls: int64(m.MaxCalls), Tokens: int64(m.MaxTokens)},
		Service: reward.ServiceSettings{
			Name: m.Name, Timeout: time.Minute, Retries: 3, Backoff: time.Second, MaxBackoff: 30 * time.Second, Concurrency: 8,
			CacheSize: 100_000, OnFailure: reward.OnFailureDrop, Budget: reward.FailureBudget{Failures: 20, Window: 1000},
		},
	}
	var errs []error
	if m.Format != "" {
		errs = append(errs, s.Format.UnmarshalText([]byte(m.Format)))
	}
	if m.OnFailure != "" {
		errs = append(errs, s.Service.OnFailure.UnmarshalText([]byte(m.OnFailure)))
	}
	if s.Service.OnFailure == reward.OnFailureEnd {
		s.Service.Budget = reward.FailureBudget{}
	}
	if m.Timeout != 0 {
		s.Service.Timeout = time.Duration(m.Timeout * float64(time.Second))
	}
	if m.Retries != nil {
		s.Service.Retries = *m.Retries
	}
	if m.Concurrency != 0 {
		s.Service.Concurrency = m.Concurrency
	}
	return s, errors.Join(append(errs, s.Validate())...)
}

func (f *File) validateJudges(add addError) {
	seen := make(map[string]bool)
	for i := range f.Judges {
		m, path := &f.Judges[i], fmt.Sprintf("judges[%d]", i)
		if m.Name == "" || seen[m.Name] {
			add(join(path, "name"), "%q is empty or the name of another judge", m.Name)
			continue
		}
		seen[m.Name] = true
		if _, err := m.Settings(); err != nil {
			add(path, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
}

// openJudges makes the judges of the file and their rules. They ask about the steps of
// template, which is filled in later.
func (b *builder) openJudges(template *prompt.Template[rows.Example]) error {
	b.judges = make(map[string]reward.Rule[rows.Example])
	maps.Copy(b.judges, b.o.Judges)
	for i := range b.f.Judges {
		m, path := &b.f.Judges[i], fmt.Sprintf("judges[%d]", i)
		if _, twice := b.judges[m.Name]; twice {
			return b.f.at(join(path, "name"), "%q is also the name of a judge in Options.Judges", m.Name)
		}
		if b.o.Unjudged {
			b.judges[m.Name] = nil
			continue
		}
		s, err := m.Settings()
		if err != nil {
			return b.f.at(path, "%v", err) // Validate has made it
		}
		s.Endpoint.Key.File, s.Endpoint.CAFile = b.path(m.KeyFile), b.path(m.CAFile)
		j, err := judge.New(s)
		if err != nil {
			return b.f.at(path, "%v", err)
		}
		b.task.Judges = append(b.task.Judges, j)
		b.judges[m.Name] = judge.Rule(j, template)
	}
	return nil
}

// JudgeUse says in a line for each judge of the file what it was asked, and cost, since
// the last call; of one that was not asked it says nothing.
func (t *Task) JudgeUse() (lines []string) {
	for i, j := range t.Judges {
		m := j.Metrics()
		if m["judge/calls"] > 0 {
			lines = append(lines, fmt.Sprintf("judge %s: %.0f questions, %.0f calls (%.0f failed), %.0f tokens read and %.0f written",
				t.File.Judges[i].Name, m["judge/questions"], m["judge/calls"], m["judge/failed_calls"], m["judge/prompt_tokens"], m["judge/answer_tokens"]))
		}
	}
	return lines
}

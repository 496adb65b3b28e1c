package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/reward"
	"github.com/stepwise-rl/stepwise/rollout"
)

// ErrBudget is in the error of a rule whose judge has spent its Budget.
var ErrBudget = errors.New("judge: the budget is spent")

// Format is what the server is asked to hold the answer to. The answer is checked
// here in any case.
type Format uint8

const (
	// FormatSchema: the JSON schema of the answer (response_format json_schema).
	FormatSchema Format = iota
	// FormatObject: any JSON object (response_format json_object).
	FormatObject
	// FormatText: nothing; for servers that know no response_format.
	FormatText
)

var formatNames = []string{FormatSchema: "json_schema", FormatObject: "json_object", FormatText: "text"}

// String returns "json_schema", "json_object" or "text".
func (f Format) String() string { return settings.EnumString(formatNames, f) }

// MarshalText returns the name that String returns. An invalid value is an error.
func (f Format) MarshalText() ([]byte, error) { return settings.EnumText(formatNames, f) }

// UnmarshalText is the inverse of MarshalText. An unknown name is an error.
func (f *Format) UnmarshalText(text []byte) error { return settings.ParseEnum(formatNames, text, f) }

// Unit is what one call asks about.
type Unit uint8

const (
	// UnitStep asks about one step of one completion.
	UnitStep Unit = iota
	// UnitCompletion asks about all steps of a completion.
	UnitCompletion
	// UnitGroup asks about one step of all completions of a group.
	UnitGroup
)

var unitNames = []string{UnitStep: "step", UnitCompletion: "completion", UnitGroup: "group"}

// String returns "step", "completion" or "group".
func (u Unit) String() string { return settings.EnumString(unitNames, u) }

// MarshalText returns the name that String returns. An invalid value is an error.
func (u Unit) MarshalText() ([]byte, error) { return settings.EnumText(unitNames, u) }

// UnmarshalText is the inverse of MarshalText. An unknown name is an error.
func (u *Unit) UnmarshalText(text []byte) error { return settings.ParseEnum(unitNames, text, u) }

// Budget bounds what a judge may cost. Calls under way when it is spent are finished,
// so it can be exceeded by Service.Concurrency calls.
type Budget struct {
	// Calls bounds the calls, retries included; 0 = no bound.
	Calls int64 `json:"calls"`
	// Tokens bounds the tokens of prompts and answers, as the server counts them;
	// 0 = no bound. An answer without a count is then an error.
	Tokens int64 `json:"tokens"`
}

// Settings say which model is asked, and how. Endpoint, Model, Service.Name and
// Service.Timeout are required.
type Settings struct {
	// Endpoint is the server. "/chat/completions" is added to its URL, which for
	// most servers ends in "/v1".
	Endpoint remote.Endpoint `json:"endpoint"`
	// Model is the model's name, as the server knows it.
	Model string `json:"model"`
	// Prompt, if not empty, follows the instructions that the judge gets in any case:
	// what the texts are about, and how strict to be.
	Prompt string `json:"prompt"`
	// Unit is what one call asks about. UnitCompletion needs a Service.CacheSize, of
	// at least the completions that are judged at once times Votes.
	Unit Unit `json:"unit"`
	// Format is what the server is asked to hold the answer to.
	Format Format `json:"format"`
	// Temperature, MaxTokens and Seed are the sampling parameters. MaxTokens bounds
	// the answer to one call; 0 = 512 for each item asked about.
	Temperature float64 `json:"temperature"`
	MaxTokens   int     `json:"max_tokens"`
	Seed        int64   `json:"seed"`
	// Votes is how many votes there are on a question, at most 99; 0 = 1. More than
	// one needs a Temperature, and should be an odd number.
	Votes int `json:"votes"`
	// MinConfidence is the least confidence, from 0 to 1, with which a verdict
	// counts. A vote with less is an abstention.
	MinConfidence float64 `json:"min_confidence"`
	// MaxText bounds the bytes of a text that is sent to the judge; a longer one
	// scores 0. 0 = 32768.
	MaxText int `json:"max_text"`
	// Budget bounds calls and tokens.
	Budget Budget `json:"budget"`
	// Service says how failures, limits and the cache are handled.
	Service reward.ServiceSettings `json:"service"`
	// Observe, if not nil, is called with each vote on each item that the judge
	// gave, concurrently. Answers of the cache are not new votes.
	Observe func(Opinion) `json:"-"`
	// Log, if not nil, gets a line when the budget is spent.
	Log *slog.Logger `json:"-"`
}

const (
	defaultMaxText = 32 << 10
	itemTokens     = 512
	maxReason      = 400 // bytes of a reason that are kept
	maxQuoted      = 100 // bytes of an unfit answer that its error quotes
	maxAnswer      = 1 << 20
)

// Opinion is the judge's vote on one item.
type Opinion struct {
	// Step is the step's name, "" for a whole completion.
	Step string
	// Verdict is correct, incorrect or unknown.
	Verdict rollout.Verdict
	// Confidence is how sure the judge is, from 0 to 1.
	Confidence float64
	// Reason is in the judge's words: one line of printable characters, cut at 400
	// bytes. It is text from outside; show it to people, and do not act on it.
	Reason string
}

// Validate returns an error that names every invalid setting.
func (s *Settings) Validate() error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("judge: Settings."+format, args...))
		}
	}
	errs = append(errs, s.Endpoint.Validate(), s.Service.Validate(),
		settings.CheckEnum("judge: Settings.Unit", unitNames, s.Unit), settings.CheckEnum("judge: Settings.Format", formatNames, s.Format))
	require(s.Service.Timeout > 0, "Service.Timeout is %v, want a bound for each call", s.Service.Timeout)
	require(s.Unit != UnitCompletion || s.Service.CacheSize > 0, "Service.CacheSize is 0, want room for the steps of a completion, which share a call")
	require(s.Model != "", "Model is empty, want the name of a model")
	require(s.Temperature >= 0 && s.Temperature <= 2, "Temperature is %v, want 0 to 2", s.Temperature)
	require(s.MaxTokens >= 0, "MaxTokens is %d, want 0 or more", s.MaxTokens)
	require(s.Votes >= 0 && s.Votes < 100, "Votes is %d, want 0 to 99", s.Votes)
	require(s.Votes <= 1 || s.Temperature > 0, "Votes is %d at a Temperature of 0, which gives equal votes", s.Votes)
	require(s.MinConfidence >= 0 && s.MinConfidence <= 1, "MinConfidence is %v, want 0 to 1", s.MinConfidence)
	require(s.MaxText >= 0, "MaxText is %d, want 0 or more", s.MaxText)
	require(s.Budget.Calls >= 0 && s.Budget.Tokens >= 0, "Budget is %d calls and %d tokens, want 0 or more", s.Budget.Calls, s.Budget.Tokens)
	return errors.Join(errs...)
}

// Decode reads Settings from JSON. Durations are text ("30s"), enums their names. What
// the JSON leaves out is zero. Unknown fields and invalid values are errors that give
// the path.
func Decode(b []byte) (Settings, error) { return settings.Decode(b, Settings{}) }

// Encode returns the settings as JSON that Decode reads. The key is not among them,
// only where it is.
func Encode(s Settings) ([]byte, error) { return settings.Encode(s) }

// Judge asks a model behind a chat endpoint. It is safe for concurrent use. Close it.
type Judge struct {
	set     Settings
	client  *transport.Client
	service *reward.Service

	calls, failed, promptTokens, answerTokens, wrapped atomic.Int64
	spent, opined                                      atomic.Bool // opined: has given an opinion

	mu       sync.Mutex
	reported counts // at the last call of Metrics
}

// New returns a judge, or an error for invalid settings, a missing key or a CA file
// that cannot be read. It sends nothing.
func New(s Settings) (*Judge, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	s.Votes = cmp.Or(s.Votes, 1)
	s.MaxText = cmp.Or(s.MaxText, defaultMaxText)
	// One attempt: reward.Service tries again.
	client, err := transport.New(s.Endpoint, transport.Options{KeyHeader: "Authorization", KeyPrefix: "Bearer ", MaxBody: maxAnswer})
	if err != nil {
		return nil, err
	}
	service, err := reward.NewService(s.Service)
	if err != nil {
		return nil, err
	}
	return &Judge{set: s, client: client, service: service}, nil
}

// Close closes idle connections.
func (j *Judge) Close() { j.client.Close() }

// counts is what Metrics reports the differences of.
type counts struct {
	calls, failed, promptTokens, answerTokens, wrapped int64
	busy                                               time.Duration
	questions, failures                                int64
}

// Metrics returns what the judge did since the last call of it, for a rl.Recorder. All
// names begin with "judge/":
//
//	calls, failed_calls               sent to the server, retries included
//	in_flight                         calls under way now
//	busy_s                            seconds that all calls together took
//	prompt_tokens, answer_tokens      as the server counts them
//	wrapped                           answers with text around the JSON object
//	questions, failures               as reward.ServiceStats counts them
func (j *Judge) Metrics() map[string]float64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	service, client := j.service.Stats(), j.client.Stats()
	now := counts{
		j.calls.Load(), j.failed.Load(), j.promptTokens.Load(), j.answerTokens.Load(), j.wrapped.Load(),
		client.Busy, service.Questions, service.Failures,
	}
	was := j.reported
	j.reported = now
	return map[string]float64{
		"judge/calls": float64(now.calls - was.calls), "judge/failed_calls": float64(now.failed - was.failed),
		"judge/in_flight": float64(client.InFlight), "judge/busy_s": (now.busy - was.busy).Seconds(),
		"judge/prompt_tokens": float64(now.promptTokens - was.promptTokens), "judge/answer_tokens": float64(now.answerTokens - was.answerTokens),
		"judge/wrapped":   float64(now.wrapped - was.wrapped),
		"judge/questions": float64(now.questions - was.questions), "judge/failures": float64(now.failures - was.failures),
	}
}

// chatRequest and chatAnswer are the parts of OpenAI's chat protocol that are used.
type chatRequest struct {
	Model          string    `json:"model"`
	Messages       []message `json:"messages"`
	Temperature    float64   `json:"temperature"`
	MaxTokens      int       `json:"max_tokens"`
	Seed           int64     `json:"seed"`
	ResponseFormat any       `json:"response_format,omitempty"`
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

type chatAnswer struct {
	Choices []struct {
		FinishReason string `json:"finish_reason"`
		Message      struct {
			Content string `json:"content"`
		} `json:"message"`
	} `json:"choices"`
	Usage *struct {
		PromptTokens     int64 `json:"prompt_tokens"`
		CompletionTokens int64 `json:"completion_tokens"`
	} `json:"usage"`
}

// Probe asks the judge one small question, with the retries of Settings.Service, and
// returns an error that names judge, model and server unless the answer is an opinion,
// whatever it says. Calls count towards the budget. It returns nil at once if the judge has
// given an opinion before. A rule of the judge has this method, too.
func (j *Judge) Probe(ctx context.Context) error {
	if j.opined.Load() {
		return nil
	}
	q := question{Input: "A red lamp.", Items: []item{{
		Task: "Name the color.", Criteria: []quoted{"color: Name the color of the thing in the input."}, Text: "It is red.",
	}}}
	q.number(j.set.Seed)
	ask := reward.RuleFunc[struct{}](func(ctx context.Context, _ struct{}, _ *prompt.Trace, _ int) (reward.Score, error) {
		_, err := j.ask(ctx, q, 0)
		return reward.Score{}, err
	})
	s := j.set.Service
	s.OnFailure, s.Budget = reward.OnFailureEnd, reward.FailureBudget{} // no judgement: nothing to leave out
	service, err := reward.NewService(s)
	if err != nil {
		return err
	}
	if _, err := reward.Through(service, ask, nil).Score(ctx, struct{}{}, nil, reward.WholeCompletion); err != nil {
		return fmt.Errorf("judge: the judge %q (model %q at %s) was asked a small question and gave no opinion; want an OpenAI-compatible chat endpoint, whose model answers with a JSON object of reason, verdict and confidence for each item: %w", s.Name, j.set.Model, j.client, err)
	}
	return nil
}

// ask makes one call and returns an opinion for each item of the question.
func (j *Judge) ask(ctx context.Context, q question, vote int) ([]Opinion, error) {
	body := chatRequest{
		Model: j.set.Model, Messages: q.messages(j.set.Prompt), Temperature: j.set.Temperature, Seed: j.set.Seed + int64(vote),
		MaxTokens: j.set.MaxTokens, ResponseFormat: q.format(j.set.Format),
	}
	if body.MaxTokens == 0 {
		body.MaxTokens = itemTokens * len(q.Items)
	}
	request, err := transport.PostJSON("/chat/completions", body)
	if err != nil {
		return nil, reward.Permanent(err)
	}
	if err := j.spend(ctx); err != nil {
		return nil, reward.Permanent(err)
	}
	opinions, err := j.call(ctx, request, q, body.MaxTokens)
	if err != nil {
		j.failed.Add(1)
		return nil, err
	}
	j.opined.Store(true)
	return opinions, nil
}

// call sends a request for opinions and reads the answer.
func (j *Judge) call(ctx context.Context, request transport.Request, q question, maxTokens int) ([]Opinion, error) {
	var a chatAnswer
	if err := j.client.Do(ctx, request, transport.JSON(&a)); err != nil {
		if !transport.Retryable(err) {
			return nil, reward.Permanent(err)
		}
		pause(ctx, err)
		return nil, err
	}
	if err := j.account(&a); err != nil {
		return nil, err
	}
	content, err := a.content(maxTokens)
	if err != nil {
		return nil, err
	}
	opinions, wrapped, err := q.parse(j.client.Hide(content))
	if err != nil {
		return nil, err
	}
	if wrapped {
		j.wrapped.Add(1)
	}
	return opinions, nil
}

// spend takes one call from the budget.
func (j *Judge) spend(ctx context.Context) error {
	b := j.set.Budget
	calls, tokens := j.calls.Add(1), j.promptTokens.Load()+j.answerTokens.Load()
	if (b.Calls == 0 || calls <= b.Calls) && (b.Tokens == 0 || tokens < b.Tokens) {
		return nil
	}
	calls = j.calls.Add(-1)
	err := fmt.Errorf("%w: %d calls of %d, %d tokens of %d (0 = no bound)", ErrBudget, calls, b.Calls, tokens, b.Tokens)
	if !j.spent.Swap(true) && j.set.Log != nil {
		j.set.Log.ErrorContext(ctx, "the judge has no budget left", "error", err)
	}
	return err
}

// account notes the tokens of an answer.
func (j *Judge) account(a *chatAnswer) error {
	u := a.Usage
	if u == nil {
		if j.set.Budget.Tokens > 0 {
			return reward.Permanent(errors.New("judge: the server does not count tokens (usage), so a budget of tokens cannot be kept"))
		}
		return nil
	}
	if u.PromptTokens < 0 || u.CompletionTokens < 0 {
		return fmt.Errorf("judge: the server counts %d and %d tokens", u.PromptTokens, u.CompletionTokens)
	}
	// A count beyond all reason cannot overflow the sum.
	const most = 1 << 40
	j.promptTokens.Add(min(most, u.PromptTokens))
	j.answerTokens.Add(min(most, u.CompletionTokens))
	return nil
}

// content returns the text of the only choice.
func (a *chatAnswer) content(maxTokens int) (string, error) {
	switch {
	case len(a.Choices) != 1:
		return "", fmt.Errorf("judge: the server gave %d choices, want 1", len(a.Choices))
	case a.Choices[0].FinishReason == "length":
		return "", fmt.Errorf("judge: the answer has more than %d tokens, want a larger MaxTokens", maxTokens)
	case a.Choices[0].Message.Content == "":
		return "", fmt.Errorf("judge: the answer is empty (finish reason %q)", transport.Clean(a.Choices[0].FinishReason, 40))
	}
	return a.Choices[0].Message.Content, nil
}

// pause waits as long as the server asked for with Retry-After, if the call's deadline
// allows it. It keeps the call's place among Service.Concurrency, so that a busy server
// is asked less.
func pause(ctx context.Context, err error) {
	s, ok := errors.AsType[*transport.StatusError](err)
	if !ok || s.RetryAfter == 0 || s.Status != http.StatusTooManyRequests && s.Status != http.StatusServiceUnavailable {
		return
	}
	if end, ok := ctx.Deadline(); !ok || time.Until(end) <= s.RetryAfter {
		return
	}
	timer := time.NewTimer(s.RetryAfter)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

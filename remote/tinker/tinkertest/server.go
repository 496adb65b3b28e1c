// Package tinkertest has a server of the Tinker protocol for tests. It behaves as
// SkyRL 0.4.0 was measured to, oddities included, and its model is a small table:
// a row of logits for each previous token, trained by gradient descent.
package tinkertest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
	"github.com/stepwise-rl/stepwise/rl/policytest"
)

// Options describe the server. The zero value of a field means the default.
type Options struct {
	// Model is the name of the base model; "" means "table".
	Model string
	// Vocab is the number of token ids; 0 means 12.
	Vocab int
	// Mean divides the losses of a sequence by its number of target tokens, and
	// those of an optimiser step by its number of sequences, as SkyRL's JAX
	// backend does. Without it losses are added up.
	Mean bool
	// NoGradNorm leaves the gradient norm out of the result of a step.
	NoGradNorm bool
	// MaxModels is the number of models at once; 0 means 3.
	MaxModels int
	// Pending is how often a result is not there yet when it is asked for (408).
	Pending int
	// SessionLife is the time without heartbeat after which a session ends and
	// its models are freed; 0 means 5 minutes.
	SessionLife time.Duration
}

// Server is the server. It is safe for concurrent use.
type Server struct {
	// URL is its address.
	URL string

	options Options
	http    *httptest.Server

	mu          sync.Mutex
	sessions    map[string]time.Time // last heartbeat
	models      map[string]*model
	samplers    map[string]string // sampling session to checkpoint; "" = base model
	checkpoints map[string]*policytest.TablePolicy
	futures     []*future
	numbers     int
	counts      map[string]int
}

type model struct {
	id, session, base string
	rank              int
	table             *policytest.TablePolicy // nil = not loaded
	requests          int                     // but create_model
	gradient          []pass                  // since the last step
	seen              map[int32]seen          // training requests by number
}

type seen struct {
	body   string
	future int
}

type future struct {
	content []byte
	proto   bool
	failed  string
	waits   int
}

// refusal is an answer with a status other than 200.
type refusal struct {
	status int
	detail string
}

func (r *refusal) Error() string { return r.detail }

// maxRank is the largest rank of adapters.
const maxRank = 8

// NewServer starts a server. Close it in the end.
func NewServer(o Options) *Server {
	o.Vocab = cmp.Or(o.Vocab, 12)
	o.MaxModels = cmp.Or(o.MaxModels, 3)
	o.Model = cmp.Or(o.Model, "table")
	o.SessionLife = cmp.Or(o.SessionLife, 5*time.Minute)
	s := &Server{
		options: o, sessions: map[string]time.Time{}, models: map[string]*model{}, samplers: map[string]string{},
		checkpoints: map[string]*policytest.TablePolicy{}, counts: map[string]int{},
	}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	return s
}

// Close stops the server.
func (s *Server) Close() { s.http.Close() }

// Base returns the base model, as a copy: models begin with its weights.
func (s *Server) Base() *policytest.TablePolicy {
	p := policytest.NewTablePolicy(s.options.Vocab, nil, -1)
	p.Randomize(7, 1)
	return p
}

// Count returns how many requests there were for a path, such as "/create_model".
func (s *Server) Count(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[path]
}

// Models returns the number of models that are loaded.
func (s *Server) Models() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loaded()
}

// Logits returns the weights of the model that was made last and is still loaded; nil
// if there is none. The row of a previous token is [previous·vocab, ...+vocab).
func (s *Server) Logits() []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last *model
	for _, m := range s.models {
		if m.table != nil && (last == nil || len(m.id) > len(last.id) || len(m.id) == len(last.id) && m.id > last.id) {
			last = m
		}
	}
	if last == nil {
		return nil
	}
	return s.rows(last.table)
}

func (s *Server) rows(p *policytest.TablePolicy) []float64 {
	var all []float64
	for prev := range s.options.Vocab {
		all = append(all, p.Logits(int32(prev))...)
	}
	return all
}

func (s *Server) clone(p *policytest.TablePolicy) *policytest.TablePolicy {
	c := policytest.NewTablePolicy(s.options.Vocab, nil, -1)
	for prev := range s.options.Vocab {
		copy(c.Logits(int32(prev)), p.Logits(int32(prev)))
	}
	return c
}

func (s *Server) loaded() int {
	n := 0
	for _, m := range s.models {
		if m.table != nil {
			n++
		}
	}
	return n
}

func (s *Server) name(kind string) string {
	s.numbers++
	return fmt.Sprintf("%s_%08x", kind, s.numbers)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.URL.Path, "/api/v1")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[path]++
	s.expire()
	err = &refusal{http.StatusNotFound, "Not Found"}
	var answer any
	switch {
	case !ok:
	case strings.HasPrefix(path, "/training_runs/"):
		err = s.runs(w, r, strings.Split(strings.TrimPrefix(path, "/training_runs/"), "/"))
		if err == nil {
			return
		}
	case path == "/retrieve_future":
		if err = s.retrieve(w, r, body); err == nil {
			return
		}
	case r.Method == http.MethodGet && path == "/healthz":
		answer, err = map[string]any{"status": "ok"}, nil
	case r.Method == http.MethodGet && path == "/get_server_capabilities":
		answer, err = map[string]any{"supported_models": []any{map[string]any{"model_name": s.options.Model}}}, nil
	case path == "/forward_backward":
		answer, err = s.forwardBackward(r.Header.Get("Content-Type"), body)
	case handlers[path] != nil && r.Method == http.MethodPost:
		var q request
		if err = json.Unmarshal(body, &q); err != nil {
			err = &refusal{http.StatusUnprocessableEntity, err.Error()}
			break
		}
		answer, err = handlers[path](s, &q, string(body))
	}
	if err != nil {
		no, ok := errors.AsType[*refusal](err)
		if !ok {
			no = &refusal{http.StatusInternalServerError, err.Error()}
		}
		reply(w, no.status, map[string]any{"detail": no.detail})
		return
	}
	reply(w, http.StatusOK, answer)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// request has the fields of all JSON requests.
type request struct {
	SessionID  string `json:"session_id"`
	BaseModel  string `json:"base_model"`
	LoRAConfig struct {
		Rank int    `json:"rank"`
		Seed uint32 `json:"seed"`
	} `json:"lora_config"`
	ModelID    string `json:"model_id"`
	SeqID      int32  `json:"seq_id"`
	AdamParams struct {
		LR float64 `json:"learning_rate"`
	} `json:"adam_params"`
	Path            string `json:"path"`
	ModelPath       string `json:"model_path"`
	SamplingSession string `json:"sampling_session_id"`
	NumSamples      int    `json:"num_samples"`
	Prompt          struct {
		Chunks []struct {
			Tokens []int32 `json:"tokens"`
		} `json:"chunks"`
	} `json:"prompt"`
	PromptLogProbs bool `json:"prompt_logprobs"`
	Params         struct {
		MaxTokens   *int     `json:"max_tokens"`
		Seed        uint64   `json:"seed"`
		Stop        []int32  `json:"stop"`
		Temperature *float64 `json:"temperature"`
		TopK        int      `json:"top_k"`
		TopP        float64  `json:"top_p"`
	} `json:"sampling_params"`
}

var handlers = map[string]func(s *Server, q *request, body string) (any, error){
	"/create_session":           (*Server).createSession,
	"/session_heartbeat":        (*Server).beat,
	"/create_model":             (*Server).createModel,
	"/unload_model":             (*Server).unloadModel,
	"/optim_step":               (*Server).optimStep,
	"/save_weights":             (*Server).saveWeights,
	"/save_weights_for_sampler": (*Server).saveForSampler,
	"/load_weights":             (*Server).loadWeights,
	"/create_sampling_session":  (*Server).createSampler,
	"/asample":                  (*Server).sample,
}

func (s *Server) createSession(*request, string) (any, error) {
	id := s.name("session")
	s.sessions[id] = time.Now()
	return map[string]any{"type": "create_session", "session_id": id}, nil
}

func (s *Server) beat(q *request, _ string) (any, error) {
	if _, ok := s.sessions[q.SessionID]; !ok {
		return nil, &refusal{http.StatusNotFound, "Session not found"}
	}
	s.sessions[q.SessionID] = time.Now()
	return map[string]any{"type": "session_heartbeat"}, nil
}

// expire ends sessions without heartbeat.
func (s *Server) expire() {
	for id, last := range s.sessions {
		if time.Since(last) < s.options.SessionLife {
			continue
		}
		delete(s.sessions, id)
		for _, m := range s.models {
			if m.session == id {
				m.table = nil
			}
		}
	}
}

// createModel answers at once; whether there is room and the rank will do, only the
// future says. Each request makes a model, and a base model that is not served is
// replaced by the one that is.
func (s *Server) createModel(q *request, _ string) (any, error) {
	if _, ok := s.sessions[q.SessionID]; !ok {
		return nil, &refusal{http.StatusNotFound, "Session not found"}
	}
	m := &model{id: s.name("model"), session: q.SessionID, base: s.options.Model, rank: q.LoRAConfig.Rank, seen: map[int32]seen{}}
	f := &future{}
	switch {
	case m.rank < 1 || m.rank > maxRank:
		f.failed = fmt.Sprintf("LoRA rank %d must be between 1 and %d", m.rank, maxRank)
	case s.loaded() >= s.options.MaxModels:
		f.failed = fmt.Sprintf("Maximum number of LoRA adapters (%d) reached", s.options.MaxModels+1)
	default:
		m.table = s.Base()
		f.content = encode(map[string]any{
			"model_id": m.id, "base_model": s.options.Model,
			"lora_config": map[string]any{"rank": m.rank, "alpha": 32.0, "seed": q.LoRAConfig.Seed, "train_attn": true, "train_mlp": true, "train_unembed": false},
		})
	}
	s.models[m.id] = m
	id := s.future(f)
	return map[string]any{"model_id": m.id, "base_model": q.BaseModel, "status": "created", "request_id": strconv.Itoa(id)}, nil
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

func (s *Server) future(f *future) int {
	f.waits += s.options.Pending
	s.futures = append(s.futures, f)
	return len(s.futures) - 1
}

func pending(id int) any {
	return map[string]any{"future_id": strconv.Itoa(id), "status": "pending", "request_id": strconv.Itoa(id)}
}

func (s *Server) retrieve(w http.ResponseWriter, r *http.Request, body []byte) error {
	var q struct {
		ID string `json:"request_id"`
	}
	if err := json.Unmarshal(body, &q); err != nil {
		return &refusal{http.StatusUnprocessableEntity, err.Error()}
	}
	id, err := strconv.Atoi(q.ID)
	if err != nil {
		return errors.New("Internal Server Error")
	}
	if id < 0 || id >= len(s.futures) {
		return &refusal{http.StatusNotFound, "Future not found"}
	}
	f := s.futures[id]
	if f.waits > 0 {
		f.waits--
		return &refusal{http.StatusRequestTimeout, "Timeout waiting for result"}
	}
	if f.failed != "" {
		return &refusal{http.StatusBadRequest, f.failed}
	}
	kind := "application/json"
	if f.proto { // whatever was asked for
		kind = "application/x-protobuf"
	}
	w.Header().Set("Content-Type", kind)
	_, err = w.Write(f.content)
	return err
}

// use returns a model that counts one more request.
func (s *Server) use(id string) (*model, error) {
	m, ok := s.models[id]
	if !ok {
		return nil, &refusal{http.StatusNotFound, "Model not found"}
	}
	m.requests++
	return m, nil
}

func (s *Server) unloadModel(q *request, _ string) (any, error) {
	m, err := s.use(q.ModelID)
	if err != nil {
		return nil, err
	}
	m.table, m.gradient = nil, nil
	id := s.future(&future{content: encode(map[string]any{"model_id": m.id, "status": "unloaded", "type": "unload_model"})})
	return map[string]any{"request_id": strconv.Itoa(id), "model_id": m.id}, nil
}

// once calls do unless the training request with that number was done before, and
// returns its future. Number 0 is none.
func (s *Server) once(m *model, seq int32, body string, do func() *future) (any, error) {
	if seq != 0 {
		if before, ok := m.seen[seq]; ok {
			if before.body != body {
				return nil, &refusal{http.StatusConflict, "Training request sequence number was reused"}
			}
			return pending(before.future), nil
		}
	}
	id := s.future(do())
	if seq != 0 {
		m.seen[seq] = seen{body, id}
	}
	return pending(id), nil
}

// pass is what a datum adds to the gradient.
type pass struct {
	tokens []int32 // input and last target
	grad   []float64
	weight float64 // Σ weights
}

func (s *Server) forwardBackward(contentType string, body []byte) (any, error) {
	if contentType != "application/x-protobuf" {
		return nil, &refusal{http.StatusUnsupportedMediaType, "forward_backward requires a application/x-protobuf body (tinker SDK >= 0.25.0)"}
	}
	q, err := wire.ParseForwardBackward(body)
	if err != nil {
		return nil, &refusal{http.StatusUnprocessableEntity, "Invalid proto forward_backward body: " + err.Error()}
	}
	m, err := s.use(q.ModelID)
	if err != nil {
		return nil, err
	}
	switch q.LossFn {
	case "cross_entropy", "importance_sampling", "ppo", "cispo", "gspo":
	default:
		return nil, &refusal{http.StatusUnprocessableEntity, "Input should be 'cross_entropy', 'importance_sampling', 'ppo', 'gspo', 'cispo'"}
	}
	return s.once(m, q.SeqID, string(body), func() *future {
		f := &future{proto: true}
		switch {
		case len(q.Data) == 0:
			f.waits = math.MaxInt32 // for ever
			return f
		case m.table == nil:
			f.failed = "Model " + m.id + " not loaded"
			return f
		case q.LossFn != "cross_entropy" && q.LossFn != "importance_sampling":
			f.failed = "Loss functions ['" + q.LossFn + "'] are not supported by the table"
			return f
		}
		out := wire.ForwardBackwardOutput{Fields: []wire.Field{{Name: "logprobs"}, {Name: "elementwise_loss"}}}
		var passes []pass
		for i := range q.Data {
			p, logp, loss, err := s.pass(m, &q.Data[i], q.LossFn)
			if err != nil {
				f.failed = err.Error()
				return f
			}
			passes = append(passes, p)
			out.Fields[0].Data, out.Fields[1].Data = append(out.Fields[0].Data, logp), append(out.Fields[1].Data, loss)
		}
		if !q.ForwardOnly {
			m.gradient = append(m.gradient, passes...)
		}
		f.content = out.Marshal()
		return f
	})
}

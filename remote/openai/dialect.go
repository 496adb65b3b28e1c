package openai

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/stepwise-rl/stepwise/remote/internal/transport"
	"github.com/stepwise-rl/stepwise/rollout"
)

// dialect is what the engine needs to know about a kind of server. Requests have one
// sample each, so that losing one loses no other, and name every sampling parameter,
// because each kind of server has defaults of its own.
type dialect interface {
	// identify finds out the server's model, bounds and slots.
	identify(ctx context.Context, s *server) (identity, error)
	// sample appends the body of a request for one completion, and parse reads the
	// answer.
	sample(b []byte, c *call) []byte
	samplePath() string
	parse(body []byte, c *call) (answer, error)
	// score appends the body of a request for the log-probs of c.prompt, and of the
	// c.top most likely tokens in the place of each; nil if there is no such
	// request. parseScore returns them but for the first token's.
	score(b []byte, c *call) []byte
	parseScore(body []byte, c *call) (scores, error)
	// healthPath answers with a 2xx status if the server is up.
	healthPath() string
	// forms are the weights that it can load from a path.
	forms() []rollout.Form
	// version returns the label that the server gives its weights; "" if none.
	version(ctx context.Context, s *server) (string, error)
	// has reports whether the server has the weights of a name that refresh returned,
	// and lacks recognises the error of a request for a name that it does not have.
	has(ctx context.Context, s *server, model string) (bool, error)
	lacks(err *transport.StatusError, model string) bool
	// refresh loads weights. In place, it leaves c.model as it is; otherwise it
	// returns another name, by which requests ask for them.
	refresh(ctx context.Context, s *server, r *refresh) (model string, err error)
	// drop forgets the weights of a name that refresh has replaced.
	drop(ctx context.Context, s *server, model string) error
}

var dialects = map[Dialect]dialect{DialectVLLM: vllm{}, DialectLlamaCPP: llamaCPP{}, DialectSGLang: sglang{}}

// identity is what a server tells about itself.
type identity struct {
	model   string
	context int // tokens of prompt and completion; 0 = unknown
	vocab   int // token ids of the model; 0 = unknown
	slots   int // requests at once; 0 = unknown
	// perRequest: log-probs after truncation can be asked for by request.
	perRequest bool
	// adapters: vLLM was started with --enable-lora.
	adapters bool
	// router: llama.cpp's router, which loads weights by name.
	router bool
}

// call is one request to a server.
type call struct {
	id     string // names the sample, the same in every attempt, and the attempt
	model  string
	label  string // of the weights that the server is to have; "" = any
	prompt []int32
	params rollout.Params // TopP 1 and TopK 0 keep all tokens
	seed   int64
	eos    []int32
	vocab  int // number of token ids
	// processed asks for log-probs after temperature and truncation, where that can
	// be asked for by request.
	processed bool
	// top is how many of the most likely tokens a score is asked for.
	top int
}

// scores are the log-probs of a prompt's tokens but for the first, and, if they were
// asked for, the most likely tokens in the place of each, in any order and with others
// among them.
type scores struct {
	logp []float64
	top  [][]likely
}

// likely is a token and its log-prob.
type likely struct {
	id   int32
	logp float64
}

// answer is what a server says that it has sampled.
type answer struct {
	tokens []int32
	logp   []float64
	// stopped: it says that the model ended the text.
	stopped bool
	// version is the label of the weights; "" if it tells none.
	version string
}

// newAnswer returns an answer with room for the tokens that are expected.
func newAnswer(c *call) answer {
	n := min(c.params.MaxTokens, 1024)
	return answer{tokens: make([]int32, 0, n), logp: make([]float64, 0, n)}
}

// appendIDs appends a JSON array of ids.
func appendIDs(b []byte, ids []int32) []byte {
	b = append(b, '[')
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(id), 10)
	}
	return append(b, ']')
}

func appendFloat(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'g', -1, 64) }

func appendText(b []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		panic("openai: a string that cannot be JSON: " + err.Error()) // there is none
	}
	return append(b, q...)
}

// field is a member of a request's body: ,"name": and then the value that the caller
// appends.
func field(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

package tinkertest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net/http"
	"strings"

	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
	"github.com/stepwise-rl/stepwise/rl"
	"github.com/stepwise-rl/stepwise/rl/objective"
	"github.com/stepwise-rl/stepwise/rl/policytest"
	"github.com/stepwise-rl/stepwise/rollout"
	"github.com/stepwise-rl/stepwise/rollout/sample"
)

// logProbs returns the log-prob of every token but the first.
func (s *Server) logProbs(p *policytest.TablePolicy, tokens []int32) []float64 {
	b := &rl.Batch{Prompts: [][]int32{tokens[:1]}, Samples: []rl.Sample{{Tokens: tokens[1:]}}}
	dst := [][]float64{make([]float64, len(tokens)-1)}
	if err := p.LogProbs(context.Background(), b, dst); err != nil {
		panic(err)
	}
	return dst[0]
}

// pass computes the loss of a datum and its gradient.
func (s *Server) pass(m *model, d *wire.Datum, lossFn string) (p pass, logp, loss []float32, err error) {
	in := map[string]wire.Tensor{}
	for _, t := range d.Inputs {
		in[t.Name] = t
	}
	targets, n := in["target_tokens"].Ints, len(d.Tokens)
	if n == 0 || len(targets) != n {
		return p, nil, nil, fmt.Errorf("%d tokens, %d targets", n, len(targets))
	}
	p.tokens = append(append(p.tokens, d.Tokens...), int32(targets[n-1]))
	for t, id := range p.tokens {
		if id < 0 || int(id) >= s.options.Vocab || t > 0 && targets[t-1] != int64(id) {
			return p, nil, nil, fmt.Errorf("token %d is %d: outside of the vocabulary, or no target", t, id)
		}
	}
	weights := in["weights"].Floats
	if weights == nil {
		weights = make([]float32, n)
		for t := range weights {
			weights[t] = 1
		}
	}
	adv, old := in["advantages"].Floats, in["logprobs"].Floats
	if len(weights) != n || lossFn == "importance_sampling" && (len(adv) != n || len(old) != n) {
		return p, nil, nil, fmt.Errorf("%d targets, %d weights, %d advantages, %d logprobs", n, len(weights), len(adv), len(old))
	}
	p.grad, loss, logp = make([]float64, n), make([]float32, n), make([]float32, n)
	for t, l := range s.logProbs(m.table, p.tokens) {
		w := float64(weights[t])
		p.weight += w
		logp[t] = float32(l)
		if w == 0 {
			continue
		}
		v, g := -l, -1.0
		if lossFn == "importance_sampling" {
			v = -math.Exp(l-float64(old[t])) * float64(adv[t])
			g = v // the ratio is its own derivative
		}
		loss[t], p.grad[t] = float32(w*v), w*g
	}
	return p, logp, loss, nil
}

// linear is the loss Σ Weight·logp.
type linear struct{}

func (linear) Needs() objective.Inputs { return 0 }
func (linear) Validate() error         { return nil }
func (linear) Eval(s *objective.Sequence, _ objective.Metrics) (loss float64, _ error) {
	for t, w := range s.Weight {
		loss += w * s.LogP[t]
		s.Grad[t] += w
	}
	return loss, nil
}

// optimStep descends along the gradient. It ignores all settings but the learning
// rate, grad_clip_norm among them.
func (s *Server) optimStep(q *request, body string) (any, error) {
	m, err := s.use(q.ModelID)
	if err != nil {
		return nil, err
	}
	return s.once(m, q.SeqID, body, func() *future {
		if m.table == nil {
			return &future{failed: "Model " + m.id + " not loaded"}
		}
		b := &rl.Batch{}
		for i, p := range m.gradient {
			divisor := 1.0
			if s.options.Mean {
				divisor = max(p.weight, 1e-9) * float64(len(m.gradient))
			}
			for t := range p.grad {
				p.grad[t] /= divisor
			}
			b.Prompts = append(b.Prompts, p.tokens[:1])
			b.Samples = append(b.Samples, rl.Sample{Prompt: i, Tokens: p.tokens[1:], Sequence: objective.Sequence{Weight: p.grad}})
		}
		m.gradient = nil
		ctx := context.Background()
		if _, _, err := m.table.ForwardBackward(ctx, b, linear{}); err != nil {
			return &future{failed: err.Error()}
		}
		info, err := m.table.OptimStep(ctx, rl.OptimOptions{LR: q.AdamParams.LR})
		if err != nil {
			return &future{failed: err.Error()}
		}
		metrics := map[string]any{"skyrl.ai/learning_rate": q.AdamParams.LR}
		if !s.options.NoGradNorm {
			metrics["skyrl.ai/grad_norm"] = info.GradNorm
		}
		return &future{content: encode(map[string]any{"metrics": metrics})}
	})
}

func (s *Server) createSampler(q *request, _ string) (any, error) {
	if _, ok := s.sessions[q.SessionID]; !ok {
		return nil, &refusal{http.StatusNotFound, "Session not found"}
	}
	if (q.BaseModel == "") == (q.ModelPath == "") {
		return nil, &refusal{http.StatusBadRequest, "Exactly one of base_model or model_path must be provided"}
	}
	id := s.name("sampling")
	s.samplers[id] = q.ModelPath
	return map[string]any{"type": "create_sampling_session", "sampling_session_id": id}, nil
}

// sample draws each time it is asked, in the same way for the same seed.
func (s *Server) sample(q *request, _ string) (any, error) {
	path, ok := s.samplers[q.SamplingSession]
	if !ok {
		return nil, &refusal{http.StatusNotFound, "Sampling session not found"}
	}
	table := s.Base()
	if path != "" {
		if table = s.sampler(path); table == nil {
			return nil, &refusal{http.StatusNotFound, "Checkpoint not found: " + path}
		}
	}
	if q.Params.MaxTokens == nil {
		return nil, &refusal{http.StatusBadRequest, "max_tokens is currently required"}
	}
	var prompt []int32
	for _, c := range q.Prompt.Chunks {
		prompt = append(prompt, c.Tokens...)
	}
	params := rollout.Params{Temperature: 1, TopK: max(q.Params.TopK, 0), TopP: q.Params.TopP, MaxTokens: *q.Params.MaxTokens}
	if q.Params.Temperature != nil {
		params.Temperature = *q.Params.Temperature
	}
	f := &future{proto: true}
	out := wire.Sample{}
	sampler := sample.NewSampler(noBytes{}, q.Params.Stop...)
	logits := make([]float32, s.options.Vocab)
	for k := range q.NumSamples {
		r := rollout.Request{Prompt: prompt, N: 1, Params: params, Stream: [3]uint64{q.Params.Seed + uint64(k)}}
		if err := r.Validate(); err != nil {
			return nil, &refusal{http.StatusUnprocessableEntity, err.Error()}
		}
		seq := sample.NewSequence(0, &r, 0)
		prev := prompt[len(prompt)-1]
		for !seq.Done() {
			if int(prev) >= s.options.Vocab {
				f.failed = fmt.Sprintf("token %d is outside of the vocabulary", prev)
				return pending(s.future(f)), nil
			}
			for v, l := range table.Logits(prev) {
				logits[v] = float32(l)
			}
			if err := sampler.Next(seq, logits); err != nil {
				return nil, err
			}
			prev = seq.Tokens()[len(seq.Tokens())-1]
		}
		c := seq.Completion()
		one := wire.Sequence{Stop: wire.StopReasonLength, Tokens: c.Tokens, LogProbs: floats32(c.LogPUnit)} // at temperature 1
		if c.Finish == rollout.FinishStop {
			one.Stop = wire.StopReasonStop
		}
		out.Sequences = append(out.Sequences, one)
	}
	if q.PromptLogProbs {
		out.PromptLogProbs = floats32(s.logProbs(table, prompt))
	}
	f.content = out.Marshal()
	return pending(s.future(f)), nil
}

func floats32(v []float64) []float32 {
	out := make([]float32, len(v))
	for i := range v {
		out[i] = float32(v[i])
	}
	return out
}

// sampler returns a checkpoint for sampling; its reference may lack the kind.
func (s *Server) sampler(ref string) *policytest.TablePolicy {
	if p, ok := s.checkpoints[ref]; ok {
		return p
	}
	at := strings.LastIndex(ref, "/")
	return s.checkpoints[ref[:at]+"/sampler_weights"+ref[at:]]
}

type noBytes struct{}

func (noBytes) Bytes(int32) []byte { return nil }

// archive makes a folder of PEFT's format, packed, with the rows as its one tensor.
func archive(rows []float64) []byte {
	data := make([]byte, 0, 4*len(rows))
	for _, v := range rows {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(v)))
	}
	header := fmt.Appendf(nil, `{"base_model.model.rows":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}`, len(rows), len(data))
	tensors := append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	t := tar.NewWriter(z)
	must(t.WriteHeader(&tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700}))
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"./README.md", []byte("adapters")},
		{"./adapter_config.json", []byte(`{"peft_type":"LORA","r":8,"lora_alpha":32}`)},
		{"./adapter_model.safetensors", tensors},
	} {
		must(t.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(f.data))}))
		_, err := t.Write(f.data)
		must(err)
	}
	must(t.Close())
	must(z.Close())
	return out.Bytes()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

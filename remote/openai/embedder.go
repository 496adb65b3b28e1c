package openai

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/internal/transport"
)

// EmbedderConfig holds the settings of an embedder.
type EmbedderConfig struct {
	Endpoint remote.Endpoint `json:"endpoint"`
	// Model is the name of the model to ask for.
	Model string `json:"model"`
	// Batch is how many texts a request has at most; 0 means 32.
	Batch int `json:"batch"`
	// Timeout bounds each attempt; 0 means a minute.
	Timeout time.Duration `json:"timeout"`
	// Retry says how often a request is tried again.
	Retry remote.Retry `json:"retry"`
}

// Validate returns an error that names the first invalid setting.
func (c EmbedderConfig) Validate() error {
	if err := errors.Join(c.Endpoint.Validate(), c.Retry.Validate()); err != nil {
		return fmt.Errorf("openai: EmbedderConfig: %w", err)
	}
	switch {
	case c.Model == "":
		return errors.New("openai: EmbedderConfig.Model is empty, want the name of a model")
	case c.Batch < 0:
		return fmt.Errorf("openai: EmbedderConfig.Batch is %d, want 0 (for 32) or more", c.Batch)
	case c.Timeout < 0:
		return fmt.Errorf("openai: EmbedderConfig.Timeout is %v, want 0 (for a minute) or more", c.Timeout)
	}
	return nil
}

// Embedder turns texts into vectors at a server with the endpoint /v1/embeddings: vLLM,
// SGLang, llama.cpp (--embeddings) and others. It may be used by several goroutines at
// once.
type Embedder struct {
	config EmbedderConfig
	client *transport.Client
}

// NewEmbedder returns an embedder, and sends nothing.
func NewEmbedder(c EmbedderConfig) (*Embedder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Batch = cmp.Or(c.Batch, 32)
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	client, err := transport.New(c.Endpoint, transport.Options{KeyHeader: "Authorization", KeyPrefix: "Bearer ", Retry: c.Retry})
	if err != nil {
		return nil, fmt.Errorf("openai: EmbedderConfig: %w", err)
	}
	return &Embedder{config: c, client: client}, nil
}

// Embed returns a vector for each text, in order, all of one length: as the server
// gives them, not normalised. An empty text is an error, because servers differ in what
// they make of it.
func (e *Embedder) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	defer e.client.Close()
	for i, text := range texts {
		if text == "" {
			return nil, fmt.Errorf("openai: text %d to embed is empty", i)
		}
	}
	vectors := make([][]float32, 0, len(texts))
	for len(vectors) < len(texts) {
		from := len(vectors)
		part := texts[from:min(from+e.config.Batch, len(texts))]
		got, err := e.batch(ctx, part)
		if err != nil {
			return nil, fmt.Errorf("openai: embedding texts %d to %d: %w", from, from+len(part)-1, err)
		}
		vectors = append(vectors, got...)
		for i := range got {
			if have, want := len(got[i]), len(vectors[0]); have != want {
				return nil, fmt.Errorf("openai: the vector of text %d has %d numbers, want %d like the first", from+i, have, want)
			}
		}
	}
	return vectors, nil
}

// batch embeds the texts of one request.
func (e *Embedder) batch(ctx context.Context, texts []string) ([][]float32, error) {
	r, err := transport.PostJSON("/v1/embeddings", map[string]any{"model": e.config.Model, "input": texts, "encoding_format": "float"})
	if err != nil {
		return nil, err
	}
	r.Timeout = e.config.Timeout
	var answer struct {
		Data []struct {
			Index     int       `json:"index"`
			Embedding []float32 `json:"embedding"`
		} `json:"data"`
	}
	if err := e.client.Do(ctx, r, transport.JSON(&answer)); err != nil {
		return nil, err
	}
	if len(answer.Data) != len(texts) {
		return nil, fmt.Errorf("%d vectors for %d texts", len(answer.Data), len(texts))
	}
	vectors := make([][]float32, len(texts))
	for _, d := range answer.Data {
		if d.Index < 0 || d.Index >= len(texts) || vectors[d.Index] != nil {
			return nil, fmt.Errorf("a vector has index %d, want each from 0 to %d once", d.Index, len(texts)-1)
		}
		if len(d.Embedding) == 0 {
			return nil, fmt.Errorf("the vector with index %d is empty", d.Index)
		}
		for _, v := range d.Embedding {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("the vector with index %d has the number %v", d.Index, v)
			}
		}
		vectors[d.Index] = d.Embedding
	}
	return vectors, nil
}

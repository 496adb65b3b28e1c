package serve

import (
	"context"
	"errors"
	"io"

	"github.com/stepwise-rl/stepwise/relevance"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/rl/run"
)

// Model is what a server scores with. A server that was given one closes its Scorer, if
// that is an io.Closer, when it is done with it.
type Model struct {
	Scorer relevance.Scorer
	// Version and Digest tell answers of different models apart. Of a model folder they
	// are the stage and the run that it comes from, and the SHA-256 of its files. With a
	// scorer of your own set at least Version: every answer names it.
	Version, Digest string
	// Info is what the model folder says; of another scorer, as much as is known.
	Info relevance.ModelInfo

	labels []string
	whole  bool // the Scorer wants all documents of a request in one call
}

// Open opens a model folder as [relevance.Open] does. ctx bounds the opening alone.
func Open(ctx context.Context, dir string, src *rows.Source, backend string) (*Model, error) {
	s, err := relevance.Open(ctx, dir, src, backend)
	if err != nil {
		return nil, err
	}
	m, err := NewModel(ctx, dir, s)
	if err != nil {
		s.Close()
	}
	return m, err
}

// OpenReranker opens a published reranker as [relevance.OpenReranker] does. Its version is
// the name of its folder. ctx bounds the opening alone.
func OpenReranker(ctx context.Context, dir string, o relevance.RerankerOptions) (*Model, error) {
	r, err := relevance.OpenReranker(dir, o)
	if err != nil {
		return nil, err
	}
	digest, err := run.DigestPath(ctx, dir)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &Model{Scorer: r, Info: r.Info(), Digest: digest, Version: r.Info().Stage}, nil
}

// NewModel describes a scorer that was opened from a model folder.
func NewModel(ctx context.Context, dir string, s relevance.Scorer) (*Model, error) {
	info, err := relevance.ReadModelInfo(dir)
	if err != nil {
		return nil, err
	}
	digest, err := run.DigestPath(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &Model{Scorer: s, Info: info, Digest: digest, Version: info.Stage + "-" + info.RunDigest[:min(12, len(info.RunDigest))]}, nil
}

func (m *Model) reasons() bool { return m.Info.Kind == relevance.KindDecoder || len(m.Info.Steps) > 0 }

// Close closes the Scorer, if that is an io.Closer. It is for a model that no server has
// taken.
func (m *Model) Close() error {
	if c, ok := m.Scorer.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// identity is how answers name the model.
type identity struct {
	Version string `json:"version"`
	Digest  string `json:"digest"`
}

func (m *Model) identity() identity { return identity{m.Version, m.Digest} }

// described is the answer of /v1/model.
type described struct {
	identity
	Kind       relevance.ModelKind  `json:"kind"`
	Labels     []string             `json:"labels"`
	Meanings   []string             `json:"meanings,omitempty"`
	MaxLength  int                  `json:"max_length"`
	Truncation relevance.Truncation `json:"truncation"`
	Steps      bool                 `json:"steps"`
	Limits     limits               `json:"limits"`
}

type limits struct {
	Documents int `json:"documents"`
	BodyBytes int `json:"body_bytes"`
	TextBytes int `json:"text_bytes"`
}

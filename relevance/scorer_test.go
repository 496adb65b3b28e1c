package relevance

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rollout"
)

// losing loses all samples of the second request.
type losing struct{ rollout.Engine }

func (l losing) Generate(ctx context.Context, qs []rollout.Request, emit func(rollout.Completion) error) error {
	return l.Engine.Generate(ctx, qs, func(c rollout.Completion) error {
		if c.Request == 1 {
			c = rollout.Completion{Request: 1, Index: c.Index, Err: errors.New("connection reset")}
		}
		return emit(c)
	})
}

// A row whose samples are all lost is unscorable; the others are scored. An evaluation
// with such a row fails, because its numbers would be of other rows.
func TestLostSamples(t *testing.T) {
	p, err := prepared(t, toy(100), toySettings())
	require.NoError(t, err)
	m, err := p.models.New("")
	require.NoError(t, err)
	defer m.free()
	s := p.policyScorer(m)
	es := p.src.Tests[0].Examples[:3]
	for _, samples := range []int{0, 3} {
		s.engine = m.Engine
		want, err := s.scoreExamples(t.Context(), es, ScoreOptions{Samples: samples})
		require.NoError(t, err)
		s.engine = losing{m.Engine}
		got, err := s.scoreExamples(t.Context(), es, ScoreOptions{Samples: samples})
		require.NoError(t, err)
		require.Equal(t, []string{want[0].text, want[2].text}, []string{got[0].text, got[2].text})
		require.Contains(t, got[1].Unscorable, "connection reset")
		require.True(t, math.IsNaN(got[1].Grade))
		require.Empty(t, got[1].Label)
		text, err := json.Marshal(got[1])
		require.NoError(t, err)
		require.Contains(t, string(text), `"grade":null`)
	}
	_, err = Evaluate(t.Context(), s, p.src, es, false)
	require.ErrorContains(t, err, "connection reset")
}

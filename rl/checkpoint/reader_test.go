package checkpoint_test

import (
	"context"
	"io/fs"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/rl/checkpoint"
)

// meanwhile is a context in which something happens while the first file is being read.
type meanwhile struct {
	context.Context
	once func()
}

func (m meanwhile) Err() error {
	m.once()
	return m.Context.Err()
}

// Somebody reads the checkpoints of a run that goes on: one that the run removes
// meanwhile is not damaged.
func TestReadingWhileTheRunGoesOn(t *testing.T) {
	s, f := open(t, checkpoint.Keep{Last: 1})
	reading := func() context.Context {
		return meanwhile{t.Context(), sync.OnceFunc(func() {
			f.step += 10
			require.NoError(t, s.Save(t.Context(), f))
		})}
	}
	f.step = 10
	require.NoError(t, s.Save(t.Context(), f))

	last, err := s.Latest(reading())
	require.NoError(t, err)
	require.EqualValues(t, 20, last.Step)

	err = s.Verify(reading(), last.Name)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NotErrorIs(t, err, checkpoint.ErrDamaged)

	other := &fake{}
	found, err := s.Resume(reading(), other)
	require.NoError(t, err)
	require.True(t, found)
	require.EqualValues(t, 40, other.step)
}

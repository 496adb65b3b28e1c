package distributed_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/mirror/distributed"
)

func TestMessageRoundTrip(t *testing.T) {
	m := distributed.Message{Round: 7, From: 1, To: 2, Point: []float64{1, math.Inf(-1), -0.0}, Share: []float64{math.SmallestNonzeroFloat64}}
	b, err := m.AppendBinary([]byte("x"))
	require.NoError(t, err)
	assert.Len(t, b, 1+20+8*4)
	var got distributed.Message
	require.NoError(t, got.UnmarshalBinary(b[1:]))
	assert.Equal(t, m, got)
	_, err = distributed.Message{Round: -1}.AppendBinary(nil)
	assert.ErrorContains(t, err, "-1, want one of 31 bits")
	assert.ErrorContains(t, got.UnmarshalBinary(b[1:8]), "a message of 7 bytes, want at least 20")
	assert.ErrorContains(t, got.UnmarshalBinary(b[1:30]), "a message of 29 bytes, want 52 for 3 and 1 numbers")
}

func FuzzMessage(f *testing.F) {
	b, _ := distributed.Message{Round: 1, From: 2, To: 3, Point: []float64{1}, Share: []float64{2, 3}}.AppendBinary(nil)
	f.Add(b)
	f.Add(b[:20])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 19: 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m distributed.Message
		if m.UnmarshalBinary(b) != nil {
			return
		}
		again, err := m.AppendBinary(nil)
		require.NoError(t, err)
		assert.Equal(t, b, again, "the encoding is one to one")
	})
}

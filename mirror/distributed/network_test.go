package distributed_test

import (
	"context"
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

// Faults are as frequent as asked for, independent from round to round and from
// link to link, and delays are of all lengths.
func TestFaultsAreDrawnFairly(t *testing.T) {
	net := &distributed.Local{Seed: 3, LinkFailure: .3}
	var down [2000][50]float64
	for round := range down {
		var out []distributed.Message
		for link := range 50 {
			out = append(out, distributed.Message{Round: round, From: link, To: link + 1})
		}
		_, returned, err := net.Exchange(context.Background(), round, out)
		require.NoError(t, err)
		for _, m := range returned {
			down[round][m.From] = 1
		}
	}
	var share, rounds, links float64
	for round := range len(down) - 1 {
		for link := range 49 {
			d := down[round][link]
			share += d
			rounds += d * down[round+1][link]
			links += d * down[round][link+1]
		}
	}
	n := float64(len(down)-1) * 49
	assert.InDelta(t, .3, share/n, .006, "four standard errors")
	assert.InDelta(t, .09, rounds/n, .006)
	assert.InDelta(t, .09, links/n, .006)

	net = &distributed.Local{Seed: 3, MaxDelay: 2}
	var arrived [4]int
	for round := range 4 {
		var out []distributed.Message
		for link := 0; round == 0 && link < 3000; link++ {
			out = append(out, distributed.Message{From: link, To: link + 1})
		}
		in, _, err := net.Exchange(context.Background(), round, out)
		require.NoError(t, err)
		arrived[round] = len(in)
	}
	assert.Zero(t, arrived[3])
	for _, n := range arrived[:3] {
		assert.InDelta(t, 1000, n, 110)
	}
}

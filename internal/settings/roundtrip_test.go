package settings_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/internal/settings"
)

// Encode and Decode are inverse, over any base.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, other := drawPreset(t), drawPreset(t)
		text, err := settings.Encode(p, losses(), norms())
		require.NoError(t, err)
		require.True(t, json.Valid(text))
		var indented bytes.Buffer
		require.NoError(t, json.Indent(&indented, text, "", "  "))
		got, err := decodePreset(indented.String(), other)
		require.NoError(t, err)
		require.Empty(t, diff(p, got))
		again, err := settings.Encode(got, losses(), norms())
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
	})
}

func diff(a, b preset) string {
	return cmp.Diff(a, b, cmp.AllowUnexported(clip{}), cmp.Comparer(func(x, y float64) bool {
		return math.Float64bits(x) == math.Float64bits(y)
	}))
}

func drawPreset(t *rapid.T) preset {
	p := preset{Name: rapid.String().Draw(t, "name"), Clip: drawClip(t), Loss: drawLoss(t, 3), Norm: drawNorm(t, 3), Wait: time.Duration(rapid.Int64().Draw(t, "wait"))}
	if rapid.Bool().Draw(t, "steer") {
		p.Steer = drawSteered(t)
	}
	return p
}

func drawFloat(t *rapid.T) float64 {
	return rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.Inf(1), math.Inf(-1), math.Copysign(0, -1)})).Draw(t, "float")
}

func drawClip(t *rapid.T) clip {
	c := clip{
		Low: drawFloat(t), High: rapid.Float32().Draw(t, "high"), Tokens: rapid.Int8().Draw(t, "tokens"),
		Level: level(rapid.IntRange(0, 1).Draw(t, "level")), Slope: slope(rapid.IntRange(0, 2).Draw(t, "slope")),
	}
	if rapid.Bool().Draw(t, "dual") {
		c.Dual = new(drawFloat(t))
	}
	return c
}

func drawSteered(t *rapid.T) *steered {
	s := &steered{Beta: math.Abs(drawFloat(t))}
	if rapid.Bool().Draw(t, "parts") {
		s.Parts = rapid.MapOf(rapid.String(), rapid.Float64()).Draw(t, "map")
	}
	return s
}

func drawLoss(t *rapid.T, depth int) loss {
	n := 5
	if depth == 0 {
		n = 2
	}
	switch rapid.IntRange(0, n-1).Draw(t, "loss") {
	case 0:
		return nil
	case 1:
		return drawClip(t)
	case 2:
		return drawSteered(t)
	case 3:
		return scaled{drawLoss(t, depth-1), drawFloat(t)}
	}
	o := terms{}
	for range rapid.IntRange(0, 3).Draw(t, "terms") {
		o = append(o, drawLoss(t, depth-1))
	}
	return o
}

func drawNorm(t *rapid.T, depth int) norm {
	switch k := rapid.IntRange(0, 2).Draw(t, "norm"); {
	case k == 0:
		return nil
	case k == 1 || depth == 0:
		return rank{}
	}
	w := whiten{Inner: drawNorm(t, depth-1)}
	if rapid.Bool().Draw(t, "slices") {
		w.Ones = rapid.SliceOf(rapid.Bool()).Draw(t, "ones")
		w.Weights = rapid.SliceOf(rapid.SliceOf(rapid.Uint16())).Draw(t, "weights")
		w.Named = map[key]norm{key(rapid.String().Draw(t, "key")): drawNorm(t, depth-1)}
	}
	return w
}

// No text makes Decode panic, and what it accepts can be written and read back.
func FuzzDecode(f *testing.F) {
	for text := range wrong {
		if len(text) < 1000 {
			f.Add(text)
		}
	}
	p := base()
	p.Loss = scaled{terms{clip{}, nil, both{}}, math.Inf(1)}
	text, err := settings.Encode(p, losses(), norms(), settings.Kinds{"both": both{}})
	require.NoError(f, err)
	f.Add(string(text))
	f.Fuzz(func(t *testing.T, text string) {
		p, err := decodePreset(text, base())
		if err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "settings: "), err)
			require.Less(t, len(err.Error()), 2000+100*len(text))
			return
		}
		again, err := settings.Encode(p, losses(), norms(), settings.Kinds{"both": both{"own"}})
		if err != nil && strings.Contains(err.Error(), "levels") {
			return // absent fields of the deepest object stand one level deeper
		}
		require.NoError(t, err)
		q, err := decodePreset(string(again), base())
		require.NoError(t, err, string(again))
		require.Empty(t, diff(p, q))
	})
}

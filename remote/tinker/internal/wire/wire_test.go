package wire_test

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/stepwise-rl/stepwise/remote/remotetest"
	"github.com/stepwise-rl/stepwise/remote/tinker/internal/wire"
)

// recorded returns the exchanges of real sessions: calls of the protocol by hand, and
// those of the official SDK.
func recorded(t testing.TB) []remotetest.Exchange {
	var all []remotetest.Exchange
	for _, name := range []string{"tinker.jsonl", "tinker_sdk.jsonl"} {
		f, err := os.Open(filepath.Join("../../../remotetest/testdata", name))
		require.NoError(t, err)
		defer f.Close()
		exchanges, err := remotetest.ReadRecording(name, f)
		require.NoError(t, err)
		all = append(all, exchanges...)
	}
	return all
}

// Requests that the official SDK and its protobuf module wrote come out of decoding
// and encoding byte for byte.
func TestRecordedRequests(t *testing.T) {
	n, first := 0, true
	for _, e := range recorded(t) {
		if e.RequestType != "application/x-protobuf" {
			continue
		}
		r, err := wire.ParseForwardBackward(e.Request)
		if err != nil {
			require.ErrorContains(t, err, "loss_fn_config is not expected", e.Note)
			continue
		}
		require.Equal(t, e.Request, r.Marshal())
		n++
		if len(r.Data) > 0 && first {
			first = false
			require.Equal(t, "cross_entropy", r.LossFn)
			require.Equal(t, []int32{68, 262, 36, 101, 10, 82, 12, 66}, r.Data[0].Tokens)
		}
	}
	require.Greater(t, n, 20)
}

func TestRecordedResults(t *testing.T) {
	passes, samples := 0, 0
	for _, e := range recorded(t) {
		if e.ResponseType != "application/x-protobuf" {
			continue
		}
		if strings.HasPrefix(string(e.Response), "\n\x06scalar") {
			passes++
			out, err := wire.ParseForwardBackwardOutput(e.Response, 1)
			if err != nil { // of the same datum twice
				out, err = wire.ParseForwardBackwardOutput(e.Response, 2)
			}
			require.NoError(t, err)
			for i, logp := range out.Field("logprobs") {
				require.Len(t, logp, 8)
				require.InDelta(t, -6.2916, logp[0], 1.6) // before and after a step
				require.Len(t, out.Field("elementwise_loss")[i], 8)
			}
			require.Nil(t, out.Field("values"))
			again, err := wire.ParseForwardBackwardOutput(out.Marshal(), len(out.Field("logprobs")))
			require.NoError(t, err)
			require.Equal(t, out, again)
			continue
		}
		s, err := wire.ParseSample(e.Response)
		require.NoError(t, err)
		samples++
		require.Equal(t, e.Response, s.Marshal())
		if e.Note == "sample result" {
			require.Equal(t, []int32{254, 5, 77, 142}, s.Sequences[0].Tokens)
			require.Equal(t, wire.StopReasonLength, s.Sequences[0].Stop)
			require.InDelta(t, -4.968355, s.Sequences[0].LogProbs[0], 1e-6)
			require.Len(t, s.PromptLogProbs, 4, "of five tokens, without an entry for the first")
		}
	}
	require.Greater(t, passes, 10)
	require.Greater(t, samples, 5)
}

func TestRoundTrip(t *testing.T) {
	floats := rapid.SliceOfN(rapid.Float32(), 0, 5)
	rapid.Check(t, func(t *rapid.T) {
		r := &wire.ForwardBackward{
			ModelID: rapid.String().Draw(t, "model"), SeqID: rapid.Int32().Draw(t, "seq"),
			LossFn: rapid.String().Draw(t, "loss"), ForwardOnly: rapid.Bool().Draw(t, "only"),
		}
		out := &wire.ForwardBackwardOutput{Fields: []wire.Field{{Name: "logprobs"}}, Metrics: map[string]float64{"total_loss:sum": rapid.Float64().Draw(t, "loss")}}
		s := &wire.Sample{}
		for range rapid.IntRange(0, 3).Draw(t, "data") {
			r.Data = append(r.Data, wire.Datum{
				Tokens: rapid.SliceOfN(rapid.Int32(), 1, 5).Draw(t, "tokens"),
				Inputs: []wire.Tensor{
					{Name: "target_tokens", Ints: rapid.SliceOfN(rapid.Int64(), 0, 5).Draw(t, "targets")},
					{Name: "advantages", Floats: floats.Draw(t, "advantages")},
				},
			})
			out.Fields[0].Data = append(out.Fields[0].Data, floats.Draw(t, "logp"))
			n := rapid.IntRange(0, 4).Draw(t, "n")
			s.Sequences = append(s.Sequences, wire.Sequence{
				Stop: wire.StopReason(rapid.IntRange(0, 1).Draw(t, "stop")), Tokens: make([]int32, n), LogProbs: rapid.SliceOfN(rapid.Float32(), n, n).Draw(t, "logp"),
			})
		}
		r2, err := wire.ParseForwardBackward(r.Marshal())
		require.NoError(t, err)
		require.Equal(t, r.Marshal(), r2.Marshal())
		require.Equal(t, len(r.Data), len(r2.Data))
		out2, err := wire.ParseForwardBackwardOutput(out.Marshal(), len(out.Fields[0].Data))
		require.NoError(t, err)
		require.Equal(t, len(out.Fields[0].Data), len(out2.Fields[0].Data))
		for i, v := range out.Fields[0].Data {
			require.Equal(t, len(v), len(out2.Fields[0].Data[i]))
			for k := range v {
				require.Equal(t, math.Float32bits(v[k]), math.Float32bits(out2.Fields[0].Data[i][k]))
			}
		}
		s2, err := wire.ParseSample(s.Marshal())
		require.NoError(t, err)
		require.Equal(t, s.Marshal(), s2.Marshal())
	})
}

func TestErrors(t *testing.T) {
	output := (&wire.ForwardBackwardOutput{Fields: []wire.Field{{Name: "logprobs", Data: [][]float32{{1, 2}, {3}}}}}).Marshal()
	_, err := wire.ParseForwardBackwardOutput(output, 3)
	require.EqualError(t, err, "ForwardBackwardOutput: logprobs is of 2 data, want 3")
	_, err = wire.ParseForwardBackwardOutput(output[:len(output)-3], 2)
	require.ErrorContains(t, err, "unexpected EOF")
	// One byte of the data changes into a longer length.
	_, err = wire.ParseForwardBackwardOutput([]byte(strings.Replace(string(output), "logprobs", "\xff\xffgprobs", 1)), 2)
	require.ErrorContains(t, err, "not UTF-8")

	sample := (&wire.Sample{Sequences: []wire.Sequence{{Tokens: []int32{1, 2}, LogProbs: []float32{-1}}}}).Marshal()
	_, err = wire.ParseSample(sample)
	require.EqualError(t, err, "SampleResponse: sequences[0]: 2 tokens, but 1 log-probs")
	_, err = wire.ParseSample([]byte{0x0a, 0x03, 0x12, 0x01, 0x00}) // tokens of one byte
	require.EqualError(t, err, "SampleResponse: sequences[0]: 1 bytes are no int32 numbers")
}

func FuzzParse(f *testing.F) {
	for _, e := range recorded(f) {
		for _, b := range [][]byte{e.Request, e.Response} {
			if len(b) > 0 && b[0] != '{' {
				f.Add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := wire.ParseForwardBackward(b); err == nil {
			again, err := wire.ParseForwardBackward(r.Marshal())
			require.NoError(t, err)
			require.Equal(t, r.Marshal(), again.Marshal())
		}
		if s, err := wire.ParseSample(b); err == nil {
			again, err := wire.ParseSample(s.Marshal())
			require.NoError(t, err)
			require.Equal(t, s.Marshal(), again.Marshal())
		}
		for n := range 3 {
			if out, err := wire.ParseForwardBackwardOutput(b, n); err == nil && len(out.Fields) > 0 {
				_, err := wire.ParseForwardBackwardOutput(out.Marshal(), n)
				require.NoError(t, err)
			}
		}
	})
}

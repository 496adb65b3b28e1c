// Package wire encodes and decodes the protobuf messages of the Tinker protocol.
//
// Field numbers are those of tinker_public.proto in the official SDK, version
// 0.25.0. Tensors are raw little-endian bytes: tokens as int32, targets as int64,
// all else as float32. Unknown fields are skipped. Decoders check every length, and
// their errors name the field; they never allocate more than a small multiple of the
// message's size.
package wire

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// The values of the enum DType that are sent.
const (
	dtypeFloat32 = 1
	dtypeInt64   = 2
)

// StopReason says why a sequence ended.
type StopReason int32

const (
	StopReasonStop   StopReason = 0 // at a stop token
	StopReasonLength StopReason = 1 // at max_tokens
)

// Tensor is a named input of a loss function with one number per target token.
type Tensor struct {
	Name string
	// One of them is set.
	Ints   []int64
	Floats []float32
}

// Datum is one sequence.
type Datum struct {
	// Tokens are the model's input.
	Tokens []int32
	// Inputs are those of the loss function, in the order of the message.
	Inputs []Tensor
}

// ForwardBackward is the message ForwardBackwardRequest, without the configuration
// of a loss function.
type ForwardBackward struct {
	ModelID     string
	SeqID       int32 // 0 = none
	Data        []Datum
	LossFn      string
	ForwardOnly bool
}

// Marshal encodes the request.
func (r *ForwardBackward) Marshal() []byte {
	b := appendString(nil, 1, r.ModelID)
	if r.SeqID != 0 {
		b = appendVarint(b, 2, uint64(int64(r.SeqID)))
	}
	var datum, part []byte
	for i := range r.Data {
		d := &r.Data[i]
		part = appendBytes(part[:0], 1, raw(d.Tokens)) // EncodedTextChunk.tokens
		chunk := appendBytes(nil, 1, part)             // Chunk.encoded_text
		datum = appendBytes(datum[:0], 1, chunk)       // Datum.model_input
		for _, t := range d.Inputs {                   // Datum.loss_fn_inputs
			part = appendString(part[:0], 1, t.Name)                         // key
			datum = appendBytes(datum, 2, appendBytes(part, 2, t.marshal())) // value
		}
		b = appendBytes(b, 3, datum)
	}
	b = appendString(b, 4, r.LossFn)
	if r.ForwardOnly {
		b = appendVarint(b, 6, 1)
	}
	return b
}

func (t *Tensor) marshal() []byte {
	data, dtype, n := raw(t.Ints), uint64(dtypeInt64), len(t.Ints)
	if t.Ints == nil {
		data, dtype, n = raw(t.Floats), dtypeFloat32, len(t.Floats)
	}
	b := appendBytes(nil, 1, data)
	b = appendVarint(b, 3, dtype)
	return appendBytes(b, 4, protowire.AppendVarint(nil, uint64(n))) // shape, packed
}

// ParseForwardBackward decodes a request.
func ParseForwardBackward(b []byte) (*ForwardBackward, error) {
	r := &ForwardBackward{}
	err := each(b, func(f field) (err error) {
		switch f.num {
		case 1:
			r.ModelID, err = f.text()
		case 2:
			var v uint64
			v, err = f.varint()
			r.SeqID = int32(v)
		case 3:
			var d Datum
			if d, err = parseDatum(f); err == nil {
				r.Data = append(r.Data, d)
			}
			return within(err, "data[%d]", len(r.Data))
		case 4:
			r.LossFn, err = f.text()
		case 5:
			err = errors.New("loss_fn_config is not expected")
		case 6:
			var v uint64
			v, err = f.varint()
			r.ForwardOnly = v != 0
		}
		return err
	})
	if err != nil {
		return nil, within(err, "ForwardBackwardRequest")
	}
	return r, nil
}

func parseDatum(f field) (d Datum, err error) {
	err = f.each(func(f field) error {
		switch f.num {
		case 1:
			return within(f.each(func(f field) error {
				if f.num != 1 {
					return errors.New("chunk is not encoded_text")
				}
				return f.each(func(f field) error {
					if f.num != 1 {
						return nil
					}
					tokens, err := numbers[int32](f)
					d.Tokens = append(d.Tokens, tokens...)
					return within(err, "tokens")
				})
			}), "model_input")
		case 2:
			t, err := parseTensor(f)
			d.Inputs = append(d.Inputs, t)
			return within(err, "loss_fn_inputs[%q]", t.Name)
		}
		return nil
	})
	return d, err
}

func parseTensor(f field) (t Tensor, err error) {
	var dense []byte
	var dtype uint64
	err = f.each(func(f field) (err error) {
		switch f.num {
		case 1:
			t.Name, err = f.text()
		case 2:
			err = f.each(func(f field) (err error) {
				switch f.num {
				case 1:
					dense, err = f.bytes()
				case 2:
					err = errors.New("the tensor is sparse")
				case 3:
					dtype, err = f.varint()
				}
				return err
			})
		}
		return err
	})
	if err != nil {
		return t, err
	}
	switch dtype {
	case dtypeFloat32:
		t.Floats, err = parse[float32](dense)
	case dtypeInt64:
		t.Ints, err = parse[int64](dense)
	default:
		err = fmt.Errorf("dtype is %d, want %d (float32) or %d (int64)", dtype, dtypeFloat32, dtypeInt64)
	}
	return t, err
}

// ForwardBackwardOutput is the message of that name: for each datum and field
// (logprobs, elementwise_loss), one number per target token.
type ForwardBackwardOutput struct {
	Fields  []Field
	Metrics map[string]float64
}

// Field is one output of every datum.
type Field struct {
	Name string
	Data [][]float32
}

// Field returns the output of that name, one slice per datum; nil if there is none.
func (o *ForwardBackwardOutput) Field(name string) [][]float32 {
	for _, f := range o.Fields {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// Marshal encodes the output in one record.
func (o *ForwardBackwardOutput) Marshal() []byte {
	b := appendString(nil, 1, "scalar")
	var record []byte
	n := 0
	for _, f := range o.Fields {
		var data []byte
		offsets := []int64{0}
		for _, d := range f.Data {
			data = append(data, raw(d)...)
			offsets = append(offsets, int64(len(data)))
		}
		n = len(f.Data)
		t := appendBytes(nil, 1, data)
		t = appendBytes(t, 2, raw(offsets))
		t = appendVarint(t, 3, dtypeFloat32)
		record = appendBytes(record, 2, appendBytes(appendString(nil, 1, f.Name), 2, t))
	}
	b = appendBytes(b, 2, appendVarint(record, 3, uint64(n)))
	for name, v := range o.Metrics {
		e := protowire.AppendTag(appendString(nil, 1, name), 2, protowire.Fixed64Type)
		b = appendBytes(b, 3, protowire.AppendFixed64(e, math.Float64bits(v)))
	}
	return b
}

// ParseForwardBackwardOutput decodes the output of n data. Records are joined in
// their order. The output of a field that is not float32, or not one of each datum,
// is an error.
func ParseForwardBackwardOutput(b []byte, n int) (*ForwardBackwardOutput, error) {
	o := &ForwardBackwardOutput{Metrics: map[string]float64{}}
	err := each(b, func(f field) (err error) {
		switch f.num {
		case 2:
			err = within(o.record(f), "loss_fn_outputs")
		case 3:
			var name string
			var value float64
			err = f.each(func(f field) (err error) {
				switch f.num {
				case 1:
					name, err = f.text()
				case 2:
					value, err = f.double()
				}
				return err
			})
			o.Metrics[name] = value
		}
		return err
	})
	for _, f := range o.Fields {
		if err == nil && len(f.Data) != n {
			err = fmt.Errorf("%s is of %d data, want %d", f.Name, len(f.Data), n)
		}
	}
	if err != nil {
		return nil, within(err, "ForwardBackwardOutput")
	}
	return o, nil
}

func (o *ForwardBackwardOutput) record(f field) error {
	return f.each(func(f field) error {
		if f.num != 2 {
			return nil // type_tag, and num_datums, which the offsets say too
		}
		var name string
		var data [][]float32
		err := f.each(func(f field) (err error) {
			switch f.num {
			case 1:
				name, err = f.text()
			case 2:
				data, err = parseBatched(f)
			}
			return err
		})
		if err != nil {
			return within(err, "fields[%q]", name)
		}
		for i := range o.Fields {
			if o.Fields[i].Name == name {
				o.Fields[i].Data = append(o.Fields[i].Data, data...)
				return nil
			}
		}
		o.Fields = append(o.Fields, Field{name, data})
		return nil
	})
}

func parseBatched(f field) ([][]float32, error) {
	var data, offsetBytes []byte
	var dtype uint64
	err := f.each(func(f field) (err error) {
		switch f.num {
		case 1:
			data, err = f.bytes()
		case 2:
			offsetBytes, err = f.bytes()
		case 3:
			dtype, err = f.varint()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	offsets, err := parse[int64](offsetBytes)
	switch {
	case err != nil:
		return nil, within(err, "offsets")
	case dtype != dtypeFloat32:
		return nil, fmt.Errorf("dtype is %d, want %d (float32)", dtype, dtypeFloat32)
	case len(offsets) == 0 || offsets[0] != 0 || offsets[len(offsets)-1] != int64(len(data)):
		return nil, fmt.Errorf("offsets %v do not span the %d bytes of data", offsets, len(data))
	}
	out := make([][]float32, len(offsets)-1)
	for i := range out {
		if offsets[i+1] < offsets[i] || offsets[i+1] > int64(len(data)) {
			return nil, fmt.Errorf("offsets[%d] is %d, after %d, of %d bytes", i+1, offsets[i+1], offsets[i], len(data))
		}
		if out[i], err = parse[float32](data[offsets[i]:offsets[i+1]]); err != nil {
			return nil, within(err, "datum %d", i)
		}
	}
	return out, nil
}

// Sample is the message SampleResponse.
type Sample struct {
	Sequences []Sequence
	// PromptLogProbs has an entry for each token of the prompt but the first; nil
	// if they were not asked for.
	PromptLogProbs []float32
}

// Sequence is one sample.
type Sequence struct {
	Stop     StopReason
	Tokens   []int32
	LogProbs []float32
}

// Marshal encodes the samples.
func (s *Sample) Marshal() []byte {
	var b []byte
	for _, q := range s.Sequences {
		var p []byte
		if q.Stop != 0 {
			p = appendVarint(p, 1, uint64(q.Stop))
		}
		p = appendBytes(p, 2, raw(q.Tokens))
		b = appendBytes(b, 1, appendBytes(p, 3, raw(q.LogProbs)))
	}
	if s.PromptLogProbs != nil {
		b = appendBytes(b, 2, raw(s.PromptLogProbs))
	}
	return b
}

// ParseSample decodes samples. Each must have a log-prob per token.
func ParseSample(b []byte) (*Sample, error) {
	s := &Sample{}
	err := each(b, func(f field) (err error) {
		switch f.num {
		case 1:
			var q Sequence
			err = f.each(func(f field) (err error) {
				switch f.num {
				case 1:
					var v uint64
					v, err = f.varint()
					q.Stop = StopReason(v)
				case 2:
					q.Tokens, err = numbers[int32](f)
				case 3:
					q.LogProbs, err = numbers[float32](f)
				}
				return err
			})
			if err == nil && len(q.Tokens) != len(q.LogProbs) {
				err = fmt.Errorf("%d tokens, but %d log-probs", len(q.Tokens), len(q.LogProbs))
			}
			err = within(err, "sequences[%d]", len(s.Sequences))
			s.Sequences = append(s.Sequences, q)
		case 2:
			s.PromptLogProbs, err = numbers[float32](f)
			err = within(err, "prompt_logprobs")
		}
		return err
	})
	if err != nil {
		return nil, within(err, "SampleResponse")
	}
	return s, nil
}

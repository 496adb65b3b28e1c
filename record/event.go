package record

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// Event files are records of TensorFlow's TFRecord format, each the Protocol
// Buffers message tensorflow.Event. Of its fields these are written
// (tensorflow/core/util/event.proto, framework/summary.proto, tensor.proto):
//
//	Event            wall_time 1 double, step 2 int64, file_version 3 string,
//	                 summary 5, session_log 7, source_metadata 10
//	SourceMetadata   writer 1 string
//	SessionLog       status 1 enum: START = 1
//	Summary          value 1, repeated
//	Summary.Value    tag 1 string, simple_value 2 float, tensor 8, metadata 9
//	SummaryMetadata  plugin_data 1: plugin_name 1 string
//	TensorProto      dtype 1 enum: DT_STRING = 7; tensor_shape 2; string_val 8
const (
	eventWallTime, eventStep, eventFileVersion           = 1, 2, 3
	eventSummary, eventSessionLog, eventSource           = 5, 7, 10
	sourceWriter, sessionStatus, summaryValue            = 1, 1, 1
	valueTag, valueSimple, valueTensor, valueMeta        = 1, 2, 8, 9
	metaPlugin, pluginName                               = 1, 1
	tensorType, tensorShape, tensorString                = 1, 2, 8
	sessionStart, dataTypeString                  uint64 = 1, 7
)

// message is a Protocol Buffers message under construction.
type message []byte

// key begins a field. The wire types used are 0 (varint), 1 (8 bytes), 2
// (length and bytes) and 5 (4 bytes).
func (m *message) key(field, wire uint64) { m.raw(field<<3 | wire) }

func (m *message) raw(v uint64) { *m = binary.AppendUvarint(*m, v) }

func (m *message) varint(field, v uint64) {
	m.key(field, 0)
	m.raw(v)
}

func (m *message) double(field uint64, v float64) {
	m.key(field, 1)
	*m = binary.LittleEndian.AppendUint64(*m, math.Float64bits(v))
}

func (m *message) float(field uint64, v float32) {
	m.key(field, 5)
	*m = binary.LittleEndian.AppendUint32(*m, math.Float32bits(v))
}

func (m *message) string(field uint64, v string) {
	m.key(field, 2)
	m.raw(uint64(len(v)))
	*m = append(*m, v...)
}

// sub appends a message as a field.
func (m *message) sub(field uint64, fill func(*message)) {
	var inner message
	fill(&inner)
	m.string(field, string(inner))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is TFRecord's checksum: a CRC-32C, rotated and shifted so that data
// which itself holds checksums is no special case.
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// tfRecord frames a record: its length, the length's checksum, the data, the
// data's checksum.
func tfRecord(data []byte) []byte {
	r := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	r = binary.LittleEndian.AppendUint32(r, masked(r))
	r = append(r, data...)
	return binary.LittleEndian.AppendUint32(r, masked(data))
}

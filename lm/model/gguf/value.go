package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue appends a value's type and the value.
func appendValue(b []byte, value any) ([]byte, error) {
	le := binary.LittleEndian
	array := func(kind uint32, n int) {
		b = le.AppendUint32(b, kindArray)
		b = le.AppendUint32(b, kind)
		b = le.AppendUint64(b, uint64(n))
	}
	switch v := value.(type) {
	case uint32:
		b = le.AppendUint32(le.AppendUint32(b, kindUint32), v)
	case int32:
		b = le.AppendUint32(le.AppendUint32(b, kindInt32), uint32(v))
	case uint64:
		b = le.AppendUint64(le.AppendUint32(b, kindUint64), v)
	case float32:
		b = le.AppendUint32(le.AppendUint32(b, kindFloat32), math.Float32bits(v))
	case bool:
		b = append(le.AppendUint32(b, kindBool), 0)
		if v {
			b[len(b)-1] = 1
		}
	case string:
		b = appendString(le.AppendUint32(b, kindString), v)
	case []int32:
		array(kindInt32, len(v))
		for _, x := range v {
			b = le.AppendUint32(b, uint32(x))
		}
	case []float32:
		array(kindFloat32, len(v))
		for _, x := range v {
			b = le.AppendUint32(b, math.Float32bits(x))
		}
	case []string:
		array(kindString, len(v))
		for _, x := range v {
			b = appendString(b, x)
		}
	default:
		return nil, fmt.Errorf("a value of type %T", value)
	}
	return b, nil
}

// value reads a value with its type.
func (c *cursor) value() any {
	kind := c.uint32()
	if kind == kindArray {
		return c.array()
	}
	return c.scalar(kind)
}

func (c *cursor) scalar(kind uint32) any {
	switch kind {
	case kindUint32:
		return c.uint32()
	case kindInt32:
		return int32(c.uint32())
	case kindUint64:
		return c.uint64()
	case kindFloat32:
		return math.Float32frombits(c.uint32())
	case kindBool:
		b := c.bytes(1)
		if b[0] > 1 {
			c.fail("a bool that is %d", b[0])
		}
		return b[0] == 1
	case kindString:
		return c.string()
	}
	c.fail("a value of type %d, which is not known", kind)
	return nil
}

func (c *cursor) array() any {
	switch kind := c.uint32(); kind {
	case kindInt32:
		v := make([]int32, c.count(4))
		for i := range v {
			v[i] = int32(c.uint32())
		}
		return v
	case kindFloat32:
		v := make([]float32, c.count(4))
		for i := range v {
			v[i] = math.Float32frombits(c.uint32())
		}
		return v
	case kindString:
		v := make([]string, c.count(8))
		for i := range v {
			v[i] = c.string()
		}
		return v
	default:
		c.fail("an array of type %d, which is not known", kind)
		return nil
	}
}

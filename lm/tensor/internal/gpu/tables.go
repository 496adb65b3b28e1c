package gpu

import (
	"bytes"
	"fmt"
)

// tableKind is one of the index tables that operations pass to kernels. Each
// kind has device memory of its own, at a fixed address until a larger table
// comes.
type tableKind int

const (
	tableIndices     tableKind = iota // Gather
	tableScatter                      // ScatterAdd
	tablePositions                    // RoPE
	tableFrequencies                  // RoPE
	tableTiles                        // Attend
	tableGradTiles                    // AttendGrad
	tableSlots                        // StoreCache
	tableRanges                       // AttendCache
	tableTargets                      // LogProb, LogProbGrad
	tableDraws                        // Sample
	tableKinds
)

// table is what was uploaded last of a kind. The layers of a model pass the same
// table one after the other; only the first is uploaded.
type table struct {
	host  []byte
	m     Memory
	size  int // of m
	valid bool
}

// upload returns device memory that holds v, until the next upload of its kind.
// It returns 0 if v is empty or an error sticks.
func upload[E float32 | int32](b *Backend, kind tableKind, v []E) Memory {
	t, src := &b.tables[kind], bytesOf(v)
	if len(v) == 0 || b.err != nil {
		return 0
	}
	if t.valid && bytes.Equal(t.host, src) {
		b.stats.Reused++
		return t.m
	}
	t.valid = false
	if len(src) > t.size {
		if t.m != 0 {
			b.pool.put(t.m)
			t.m, t.size = 0, 0
		}
		size := class(len(src))
		m, err := b.pool.get(size)
		if err != nil {
			b.fail(fmt.Errorf("an index table: %w", err))
			return 0
		}
		t.m, t.size = m, size
	}
	if err := b.ring.write(t.m, 0, src); err != nil {
		b.fail(err)
		return 0
	}
	b.stats.Tables++
	t.host, t.valid = append(t.host[:0], src...), true
	return t.m
}

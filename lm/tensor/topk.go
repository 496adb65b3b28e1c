package tensor

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// TopK is b's TopK ([TopKer]), or else computed on the host, which reads all of x. If
// the backend has failed, its error sticks, and nothing is written.
func TopK(b Backend, ids, x Buffer, rows, cols, among, k int) {
	if t, ok := b.(TopKer); ok {
		t.TopK(ids, x, rows, cols, among, k)
		return
	}
	if k < 1 || k > among || among > cols || cols > 1<<24 || x.Len() != rows*cols || ids.Len() != rows*k {
		panic(fmt.Sprintf("tensor: TopK: x has %d elements and ids %d, which does not fit the %d largest of the first %d in %d rows of %d", x.Len(), ids.Len(), k, among, rows, cols))
	}
	xs, top := make([]float32, rows*cols), make([]float32, rows*k)
	if b.Read(xs, x) != nil {
		return
	}
	workers := min(runtime.GOMAXPROCS(0), rows)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var h largest
			for i := rows * w / workers; i < rows*(w+1)/workers; i++ {
				h.of(top[i*k:(i+1)*k], xs[i*cols:][:among])
			}
		})
	}
	wg.Wait()
	b.Write(ids, top)
}

// largest is a heap of elements, the smallest first; of equal ones, that with the
// larger index.
type largest []element

type element struct {
	v  float32
	at int32
}

func (e element) compare(o element) int {
	return cmp.Or(cmp.Compare(o.v, e.v), cmp.Compare(e.at, o.at))
}

// of writes the indices of the len(ids) largest elements of x, as TopKer.TopK has them.
func (h *largest) of(ids, x []float32) {
	s := (*h)[:0]
	for i, v := range x {
		if len(s) < len(ids) {
			if v == v {
				s = append(s, element{v, int32(i)})
				for c := len(s) - 1; c > 0 && s[(c-1)/2].compare(s[c]) < 0; c = (c - 1) / 2 {
					s[c], s[(c-1)/2] = s[(c-1)/2], s[c]
				}
			}
			continue
		}
		if !(v > s[0].v) {
			continue
		}
		s[0] = element{v, int32(i)}
		for c := 0; ; {
			child := 2*c + 1
			if child+1 < len(s) && s[child].compare(s[child+1]) < 0 {
				child++
			}
			if child >= len(s) || s[c].compare(s[child]) >= 0 {
				break
			}
			s[c], s[child] = s[child], s[c]
			c = child
		}
	}
	*h = s
	slices.SortFunc(s, element.compare)
	for i := range ids {
		ids[i] = -1
		if i < len(s) {
			ids[i] = float32(s[i].at)
		}
	}
}

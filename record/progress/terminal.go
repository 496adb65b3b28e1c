package progress

import (
	"io"
	"os"
)

// terminal returns a function that gives the width of a terminal, as it is now;
// ok is false if w is none.
func terminal(w io.Writer) func() (columns int, ok bool) {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return func() (int, bool) { return 0, false }
	}
	return func() (int, bool) {
		n, ok := columns(f)
		if ok && n < 2 {
			n = 80 // a terminal that does not know its size
		}
		return n, ok
	}
}

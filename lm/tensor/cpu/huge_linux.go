package cpu

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// hugePage is the size of a large page.
	hugePage = 2 << 20
	// hugeBytes is the size from which a block of memory asks for them.
	hugeBytes = 64 << 10
)

// preferHugePages asks the system to back mem by large pages. Of the usual small
// ones a product reads one every few hundred cycles; in a virtual machine, finding
// its address takes as long, and prefetching stops where the address is not known.
// It is only a hint. It also covers what else lies on these pages and stays in
// force after the block is freed, so that the process may hold more memory than
// Go's runtime counts.
func preferHugePages(mem []float32) {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	to := from + 4*uintptr(len(mem))
	if to-from < hugeBytes {
		return
	}
	from &^= hugePage - 1
	to = (to + hugePage - 1) &^ (hugePage - 1)
	_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_HUGEPAGE)
}

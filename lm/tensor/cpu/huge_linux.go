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

// preferHugePages asks the system to back memory by the large pages that mem
// lies on. Of the usual ones a product reads one every few hundred cycles, and
// in a virtual machine finding it takes as long; and prefetching ends where
// the address is not known. It is a hint, also for what else is on these pages,
// and it stays after the block is freed: the process may hold some memory more
// than Go's runtime counts.
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

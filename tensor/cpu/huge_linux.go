package cpu

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is the size of a large page on the processors of kernels.
const hugePage = 2 << 20

// preferHugePages asks the system to back the large pages within mem by large
// pages: matrices are read with strides of pages, and every page of 4 KiB
// takes a walk through the page tables, through two in a virtual machine. It
// is a hint: a system that has no large pages changes nothing.
func preferHugePages(mem []float32) {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	skip := -from % hugePage
	if bytes := 4 * uintptr(len(mem)); bytes >= skip+hugePage {
		whole := (bytes - skip) &^ (hugePage - 1)
		_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(mem)), skip)), whole), unix.MADV_HUGEPAGE)
	}
}

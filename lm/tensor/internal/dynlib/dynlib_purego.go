//go:build (linux || darwin) && (amd64 || arm64)

package dynlib

import (
	"unsafe"

	"github.com/ebitengine/purego"
)

func open(path string) (uintptr, error) {
	return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
}

func symbol(handle uintptr, name string) (uintptr, error) { return purego.Dlsym(handle, name) }

// Call calls the C function at f, none of whose arguments is a float, and
// returns its result. Pointers to Go variables are passed as
// uintptr(unsafe.Pointer(&x)) within the argument list: the directive makes x
// live on the heap until the call returns, so that it stays where it is. A
// function that passes such arguments on needs the directive as well.
//
//go:uintptrescapes
func Call(f uintptr, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(f, args...)
	return r
}

func next(p *byte) *byte { return (*byte)(unsafe.Add(unsafe.Pointer(p), 1)) }

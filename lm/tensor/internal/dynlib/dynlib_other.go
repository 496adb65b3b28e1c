//go:build !((linux || darwin) && (amd64 || arm64))

package dynlib

import (
	"fmt"
	"runtime"
)

func open(path string) (uintptr, error) {
	return 0, fmt.Errorf("%s: calling C libraries is not available on %s/%s, only on Linux and macOS with amd64 or arm64",
		path, runtime.GOOS, runtime.GOARCH)
}

func symbol(uintptr, string) (uintptr, error) { panic("dynlib: no library can be open") }

// Call is never reached here, for Open fails.
func Call(uintptr, ...uintptr) uintptr { panic("dynlib: no library can be open") }

func next(*byte) *byte { return nil }

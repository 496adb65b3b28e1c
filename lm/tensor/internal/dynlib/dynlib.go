// Package dynlib calls C libraries without cgo, by way of purego. It works on
// Linux and macOS, on amd64 and arm64; elsewhere Open says that it does not.
package dynlib

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Library is a shared library that is loaded into the process.
type Library struct {
	path   string
	handle uintptr
}

// Open loads the first of paths that can be loaded. A path without a slash is
// looked for where the system's loader looks. The error says why each of them
// failed.
func Open(paths ...string) (*Library, error) {
	var errs []error
	for _, p := range paths {
		h, err := open(p)
		if err == nil {
			return &Library{p, h}, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Path is the path that Open loaded.
func (l *Library) Path() string { return l.path }

// Bind sets each of functions to the address of the library's function of that
// name. The error names the first, in alphabetical order, that is not there.
func (l *Library) Bind(functions map[string]*uintptr) error {
	for _, name := range slices.Sorted(maps.Keys(functions)) {
		p, err := symbol(l.handle, name)
		if err != nil {
			return fmt.Errorf("%s has no %s: %w", l.path, name, err)
		}
		*functions[name] = p
	}
	return nil
}

// String copies the C string at p.
func String(p *byte) string {
	var s []byte
	for ; p != nil && *p != 0; p = next(p) {
		s = append(s, *p)
	}
	return string(s)
}

// CString returns s with the zero that ends a C string.
func CString(s string) *byte { return &append([]byte(s), 0)[0] }

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// errNoCompiler: NVRTC is absent, or is another version.
var errNoCompiler = errors.New("no NVRTC " + version)

// nvrtc holds the entry points of NVIDIA's run-time compiler.
type nvrtc struct{ version, create, destroy, compileProgram, logSize, log, ptxSize, ptx uintptr }

// loadNVRTC loads the library that the environment variable NVRTC names, a path that
// may be a pattern, or else the system's.
func loadNVRTC() (*nvrtc, error) {
	path := "libnvrtc.so.13"
	if pattern := os.Getenv("NVRTC"); pattern != "" {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("%w: NVRTC is %s, which is no file", errNoCompiler, pattern)
		}
		path = found[0]
		// NVRTC opens its builtins by their name alone. A library of that name that
		// is loaded already is found; one beside NVRTC is not.
		builtins, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "libnvrtc-builtins.so.*"))
		for _, b := range builtins {
			if _, err := purego.Dlopen(b, purego.RTLD_NOW|purego.RTLD_GLOBAL); err != nil {
				return nil, fmt.Errorf("%w: %w", errNoCompiler, err)
			}
		}
	}
	lib, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w (the environment variable NVRTC may hold its path)", errNoCompiler, err)
	}
	c := &nvrtc{}
	for name, p := range map[string]*uintptr{
		"nvrtcVersion": &c.version, "nvrtcCreateProgram": &c.create, "nvrtcDestroyProgram": &c.destroy,
		"nvrtcCompileProgram": &c.compileProgram, "nvrtcGetProgramLogSize": &c.logSize, "nvrtcGetProgramLog": &c.log,
		"nvrtcGetPTXSize": &c.ptxSize, "nvrtcGetPTX": &c.ptx,
	} {
		if *p, err = purego.Dlsym(lib, name); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoCompiler, err)
		}
	}
	major, minor := new(int32), new(int32)
	if err := call("nvrtcVersion", c.version, uintptr(unsafe.Pointer(major)), uintptr(unsafe.Pointer(minor))); err != nil {
		return nil, err
	}
	if v := fmt.Sprintf("%d.%d", *major, *minor); v != version {
		return nil, fmt.Errorf("%w: %s is %s", errNoCompiler, path, v)
	}
	return c, nil
}

// call calls f. Without the directive, a variable whose address is among args might
// stay on the stack and be moved before the call.
//
//go:uintptrescapes
func call(name string, f uintptr, args ...uintptr) error {
	if r, _, _ := purego.SyscallN(f, args...); r != 0 {
		return fmt.Errorf("%s: error %d", name, r)
	}
	return nil
}

// cString returns s with the zero that ends it.
func cString(s string) *byte { return &append([]byte(s), 0)[0] }

func cStrings(list []string) []*byte {
	out := make([]*byte, len(list))
	for i, s := range list {
		out[i] = cString(s)
	}
	return out
}

// text returns what the functions for its size and its bytes say of a program.
func text(program, size, get uintptr) []byte {
	n := new(uintptr)
	if call("size", size, program, uintptr(unsafe.Pointer(n))) != nil || *n == 0 {
		return nil
	}
	b := make([]byte, *n)
	if call("get", get, program, uintptr(unsafe.Pointer(&b[0]))) != nil {
		return nil
	}
	return b[:*n-1] // a zero ends it
}

// compile returns the PTX of a program whose includes are in headers. Warnings are
// errors: there are none.
func (c *nvrtc) compile(source string, headers map[string]string, options []string) ([]byte, error) {
	var names, contents []string
	for name, content := range headers {
		names, contents = append(names, name), append(contents, content)
	}
	program := new(uintptr)
	src, name, ns, hs, opts := cString(source), cString("kernels.cu"), cStrings(names), cStrings(contents), cStrings(options)
	defer runtime.KeepAlive([]any{src, name, ns, hs, opts})
	if err := call("nvrtcCreateProgram", c.create, uintptr(unsafe.Pointer(program)), uintptr(unsafe.Pointer(src)), uintptr(unsafe.Pointer(name)),
		uintptr(len(hs)), uintptr(unsafe.Pointer(&hs[0])), uintptr(unsafe.Pointer(&ns[0]))); err != nil {
		return nil, err
	}
	defer call("nvrtcDestroyProgram", c.destroy, uintptr(unsafe.Pointer(program)))
	err := call("nvrtcCompileProgram", c.compileProgram, *program, uintptr(len(opts)), uintptr(unsafe.Pointer(&opts[0])))
	if log := strings.TrimSpace(string(text(*program, c.logSize, c.log))); err != nil || log != "" {
		return nil, errors.Join(err, errors.New(log))
	}
	return text(*program, c.ptxSize, c.ptx), nil
}

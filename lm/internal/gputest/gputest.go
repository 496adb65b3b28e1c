// Package gputest lets tests use the GPU backends on machines without a GPU: it
// builds a fake libcuda from the kernels' source, for package cuda. Package
// opencl needs none: PoCL runs OpenCL on the CPU.
package gputest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// kernelDir is where the kernels are, below the module's root.
const kernelDir = "lm/tensor/internal/gpu/kernels"

// FakeCUDA returns the path of the fake libcuda, which g++ builds unless it did
// so before. It skips the test if there is no g++.
func FakeCUDA(t testing.TB) string { return SabotagedCUDA(t, nil) }

// SabotagedCUDA is FakeCUDA with the kernels' source changed by edit, which is
// called with each file, so that tests can see whether a fault is found.
func SabotagedCUDA(t testing.TB, edit func(name, source string) string) string {
	t.Helper()
	return library(t, "fakecuda", edit, kernelDir, "lm/internal/gputest/fakecuda")
}

// FakeCublasLt returns the path of a fake cuBLASLt that multiplies in the memory
// of the fake libcuda.
func FakeCublasLt(t testing.TB) string {
	t.Helper()
	return library(t, "fakecublaslt", nil, "lm/internal/gputest/fakecublaslt")
}

// library builds name.cpp of the folders dirs, unless it was built before from
// the same files.
func library(t testing.TB, name string, edit func(name, source string) string, dirs ...string) string {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("the fake libcuda is for Linux on amd64 or arm64")
	}
	if _, err := exec.LookPath("g++"); err != nil {
		t.Skip("no g++ to build the fake libcuda with")
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, dir := range dirs {
		if err := readDir(files, filepath.Join(root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.New()
	host, _ := os.Hostname() // the library has the instructions of its processor
	fmt.Fprintln(sum, host, flags)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if edit != nil {
			files[file] = []byte(edit(file, string(files[file])))
		}
		fmt.Fprintf(sum, "%s %d\n%s", file, len(files[file]), files[file])
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	path := filepath.Join(cache, "stepwise-gputest", fmt.Sprintf("%s-%x.so", name, sum.Sum(nil)[:8]))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	src := t.TempDir()
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(src, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := build(src, name+".cpp", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// flags turn contraction off: FMA is where the kernels say so, as on a device.
var flags = []string{"-O2", "-march=native", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-shared", "-fPIC"}

// build compiles file of the folder src, with a list of the kernels that it
// includes.
func build(src, file, path string) error {
	run := func(args ...string) ([]byte, error) {
		c := exec.Command("g++", append([]string{"-std=c++17", "-DFAKE_CUDA", "-I" + src}, args...)...)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil {
			return nil, fmt.Errorf("g++ %s: %w\n%s", strings.Join(args, " "), err, &stderr)
		}
		return out, nil
	}
	// The kernels are what is declared with a definition of __global__ of ours.
	text, err := run("-E", "-D__global__=KERNEL_HERE", filepath.Join(src, file))
	if err != nil {
		return err
	}
	var list []string
	for _, m := range regexp.MustCompile(`KERNEL_HERE\s+void\s+(\w+)`).FindAllSubmatch(text, -1) {
		list = append(list, "K("+string(m[1])+")")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "build-*.so")
	if err != nil {
		return err
	}
	f.Close()
	defer os.Remove(f.Name())
	args := append(slices.Clone(flags), "-DKERNELS="+strings.Join(list, ","), filepath.Join(src, file), "-o", f.Name())
	if _, err := run(args...); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

func readDir(files map[string][]byte, dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if _, ok := files[e.Name()]; ok {
			return fmt.Errorf("gputest: two files named %s", e.Name())
		}
		if files[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// moduleRoot is the folder of go.mod, at or above the working directory, which
// for a test is that of its package.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("gputest: %w: no go.mod above the working directory", fs.ErrNotExist)
		}
		dir = parent
	}
}

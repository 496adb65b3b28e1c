// Command ptxgen compiles the GPU kernels to the PTX that package lm/tensor/cuda
// embeds. It is run by go generate there; its arguments are the folder of the
// kernels and that of the PTX:
//
//	python3 -m venv venv && venv/bin/pip install nvidia-cuda-nvrtc==13.0.88
//	NVRTC=venv/lib/python3.*/site-packages/nvidia/cu13/lib/libnvrtc.so.13 go generate ./lm/tensor/cuda
//
// The compiler is NVRTC, which needs no GPU and no driver. Where it is absent, or
// is another version, ptxgen says so and leaves the files as they are; with
// -check, that is an error, and so is a file that would change.
//
// It is a module of its own so that users of the library don't get it.
package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"regexp"
)

// version is the one that the committed files are made by: others write other
// bytes.
const version = "13.0"

// targets are the devices that code is made for. NVRTC states the newest PTX
// version that it knows; each target gets the oldest that has its instructions, so
// that older drivers load it.
var targets = []struct{ name, arch, ptx string }{
	{"sm_75", "compute_75", "6.3"},
	{"sm_80", "compute_80", "7.0"},
}

// options turn contraction off: products are fused where a kernel says FMA and
// nowhere else, so that all compilers of the kernels round alike.
var options = []string{"--std=c++17", "--fmad=false"}

func main() {
	log.SetFlags(0)
	log.SetPrefix("ptxgen: ")
	check := flag.Bool("check", false, "fail if a file would change, or cannot be made")
	flag.Parse()
	if flag.NArg() != 2 {
		log.Fatal("want two arguments: the folder of the kernels, and that of the PTX")
	}
	err := generate(flag.Arg(0), flag.Arg(1), *check)
	if errors.Is(err, errNoCompiler) && !*check {
		log.Printf("skipped: %v", err)
		return
	}
	if err != nil {
		log.Fatal(err)
	}
}

// generate writes a compressed file for every target that has changed.
func generate(kernels, dir string, check bool) error {
	c, err := loadNVRTC()
	if err != nil {
		return err
	}
	source, headers, err := read(kernels)
	if err != nil {
		return err
	}
	for _, t := range targets {
		ptx, err := c.compile(source, headers, append([]string{"--gpu-architecture=" + t.arch}, options...))
		if err != nil {
			return fmt.Errorf("%s: %w", t.arch, err)
		}
		ptx = regexp.MustCompile(`(?m)^\.version .*$`).ReplaceAll(ptx, []byte(".version "+t.ptx))
		file := filepath.Join(dir, t.name+".ptx.gz")
		old, err := unpack(file)
		if err != nil {
			return err
		}
		if bytes.Equal(old, ptx) {
			continue
		}
		if check {
			return fmt.Errorf("%s is not what the kernels compile to: run go generate ./lm/tensor/cuda", file)
		}
		if err := pack(file, ptx); err != nil {
			return err
		}
	}
	return nil
}

// read returns the text of kernels.cu and of all files that it may include.
func read(dir string) (source string, headers map[string]string, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.*"))
	if err != nil {
		return "", nil, err
	}
	headers = map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", nil, err
		}
		headers[filepath.Base(name)] = string(text)
	}
	return headers["kernels.cu"], headers, nil
}

// unpack returns the contents of a compressed file: nothing if there is none.
func unpack(file string) ([]byte, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return io.ReadAll(z)
}

// pack writes a compressed file.
func pack(file string, text []byte) error {
	var buf bytes.Buffer
	z, err := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	if err != nil {
		return err
	}
	if _, err := z.Write(text); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return os.WriteFile(file, buf.Bytes(), 0o644)
}

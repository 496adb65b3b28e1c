// Command asmgen writes the assembly kernels of packages lm/tensor/cpu and
// internal/vecmath. It is run by go generate in each of them; its argument is
// the package's folder.
//
// It is a module of its own so that users of the library don't get avo.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
	"github.com/mmcloughlin/avo/reg"
)

// file is an assembly file to be written.
type file struct {
	name string
	emit func(*build.Context)
}

// kernels lists the files of each package.
var kernels = map[string][]file{
	"cpu": {
		{"gemm_avx2", gemmAVX2},
		{"gemm_avx512", gemmAVX512},
		{"pairs_avx2", pairsAVX2},
		{"pairs_avx512", pairsAVX512},
		{"dots_avx512", dotsAVX512},
		{"ops_avx2", opsAVX2},
		{"ops_avx512", opsAVX512},
	},
	"vecmath": {{"avx2", vecmathAVX2}, {"avx512", vecmathAVX512}},
}

// neonKernels are those of arm64.
var neonKernels = map[string][]struct {
	name string
	emit func(*neon)
}{
	"cpu":     {{"gemm_neon", neonGemm}, {"dots_neon", neonDots}, {"ops_neon", neonOps}},
	"vecmath": {{"neon", neonVecmath}},
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: asmgen DIR")
	}
	all, ok := kernels[filepath.Base(os.Args[1])]
	if !ok {
		log.Fatalf("asmgen: no kernels for %s", os.Args[1])
	}
	for _, f := range all {
		if err := write(os.Args[1], f.name, f.emit); err != nil {
			log.Fatalf("asmgen: %s: %v", f.name, err)
		}
	}
	for _, f := range neonKernels[filepath.Base(os.Args[1])] {
		if err := writeNeon(os.Args[1], f.name, f.emit); err != nil {
			log.Fatalf("asmgen: %s: %v", f.name, err)
		}
	}
}

// write generates NAME_amd64.s and its Go declarations NAME_amd64.go.
func write(dir, name string, emit func(*build.Context)) error {
	ctx := build.NewContext()
	emit(ctx)
	file, err := ctx.Result()
	if err != nil {
		build.LogError(log.Default(), err, 0)
		return err
	}
	if err := pass.Compile.Execute(file); err != nil {
		return err
	}
	cfg := printer.Config{Name: "lm/tensor/asmgen", Pkg: filepath.Base(dir)}
	for ext, p := range map[string]printer.Printer{
		".s":  printer.NewGoAsm(cfg),
		".go": printer.NewStubs(cfg),
	} {
		text, err := p.Print(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+"_amd64"+ext), text, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", ext, err)
		}
	}
	return nil
}

// ymm and zmm are the vector registers of AVX2 and of AVX-512.
var (
	ymm = []reg.VecPhysical{
		reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7,
		reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
	}
	zmm = []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
		reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
		reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}
)

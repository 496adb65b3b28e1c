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
		{"ops_avx2", opsAVX2},
		{"ops_avx512", opsAVX512},
	},
	"vecmath": {{"avx2", vecmathAVX2}, {"avx512", vecmathAVX512}},
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

package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const ptxDir = "../cuda/ptx"

// tensorCores are the kernels with products on tensor cores, and the instruction:
// mma.sync in PTX, HMMA in machine code. They are not in the code for 7.5.
var tensorCores = map[string]string{
	"product_bf16": "bf16", "product_bf16_small": "bf16", "product_tf32": "tf32", "product_tf32_small": "tf32",
	"attend_bf16_64": "bf16", "attend_bf16_128": "bf16", "attend_dq_bf16_64": "bf16", "attend_dq_bf16_128": "bf16",
	"attend_dkv_bf16_64": "bf16", "attend_dkv_bf16_128": "bf16",
}

// TestInstructions: the committed PTX has the tensor-core instructions where they are
// meant, and nowhere else; and no atomics on floats, which would not be
// deterministic.
func TestInstructions(t *testing.T) {
	for _, target := range targets {
		text, err := unpack(filepath.Join(ptxDir, target.name+".ptx.gz"))
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]string{}
		for _, entry := range strings.Split(string(text), ".visible .entry ")[1:] {
			name, _, _ := strings.Cut(entry, "(")
			switch {
			case strings.Contains(entry, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"):
				found[name] = "bf16"
			case strings.Contains(entry, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"):
				found[name] = "tf32"
			}
			if regexp.MustCompile(`\b(atom|red)\.`).MatchString(entry) {
				t.Errorf("%s: %s has an atomic operation", target.name, name)
			}
		}
		want := tensorCores
		if target.name == "sm_75" {
			want = nil
		}
		if !maps.Equal(found, want) {
			t.Errorf("%s: tensor cores in %v, want %v", target.name, found, want)
		}
	}
}

// spills are kernels that may use local memory, each with a reason. There are none.
var spills = map[string]string{}

// TestMachineCode: the assembler accepts the PTX of every target, in the version that
// it states, and spills no register and needs no stack; the machine code has the
// tensor-core instructions. The environment variables PTXAS and NVDISASM hold the
// programs' paths (nvidia-cuda-nvcc and nvidia-cuda-nvdisasm of PyPI).
func TestMachineCode(t *testing.T) {
	ptxas, nvdisasm := os.Getenv("PTXAS"), os.Getenv("NVDISASM")
	if ptxas == "" {
		t.Skip("PTXAS is not set")
	}
	for _, target := range targets {
		t.Run(target.name, func(t *testing.T) {
			text, err := unpack(filepath.Join(ptxDir, target.name+".ptx.gz"))
			if err != nil {
				t.Fatal(err)
			}
			file, cubin := filepath.Join(t.TempDir(), "kernels.ptx"), filepath.Join(t.TempDir(), "kernels.cubin")
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(ptxas, "-v", "-arch="+target.name, file, "-o", cubin).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			kernels, registers := 0, 0
			name := ""
			for line := range strings.Lines(string(out)) {
				if m := regexp.MustCompile(`Compiling entry function '(\w+)'`).FindStringSubmatch(line); m != nil {
					name = m[1]
					kernels++
				}
				if strings.Contains(line, "bytes stack frame") && !strings.Contains(line, " 0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads") && spills[name] == "" {
					t.Errorf("%s:%s", name, strings.TrimRight(line, "\n"))
				}
				if strings.Contains(line, "Used 255 registers") {
					registers++
				}
			}
			t.Logf("%d kernels, %d of them with all 255 registers", kernels, registers)
			if want := strings.Count(string(text), ".visible .entry "); kernels != want {
				t.Errorf("%d kernels were assembled, want %d", kernels, want)
			}
			if nvdisasm == "" || target.name == "sm_75" {
				return
			}
			code, err := exec.Command(nvdisasm, "-c", cubin).Output()
			if err != nil {
				t.Fatal(err)
			}
			found := map[string]bool{}
			for line := range strings.Lines(string(code)) {
				if m := regexp.MustCompile(`^\.text\.(\w+):`).FindStringSubmatch(line); m != nil {
					name = m[1]
				}
				if strings.Contains(line, "HMMA.16816.F32.BF16") && tensorCores[name] == "bf16" || strings.Contains(line, "HMMA.1688.F32.TF32") && tensorCores[name] == "tf32" {
					found[name] = true
				}
			}
			if got, want := slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(tensorCores)); !slices.Equal(got, want) {
				t.Errorf("tensor-core instructions in %v, want %v", got, want)
			}
		})
	}
}

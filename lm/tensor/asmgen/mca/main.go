// Command mca states the bound of the kernels' inner loops: what llvm-mca (LLVM's
// simulator of a core's pipelines) says an iteration takes, beside what the multiply-adds
// alone would take. It builds the package's test binary for both architectures, and needs
// objdump for both (binutils, binutils-aarch64-linux-gnu).
//
//	go run ./mca -mca llvm-mca-19
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// core is a processor that llvm-mca has a model of.
type core struct {
	name string
	// lanes are the multiply-adds, of float32s or in products of bfloat16s, that it begins
	// in a cycle, by its maker's documents.
	lanes float64
	note  string
}

var targets = []struct {
	arch, objdump, triple string
	cores                 []core
	kernels               []string
	fma                   *regexp.Regexp
	lanes                 func(instruction string) int
}{
	{
		"arm64", "aarch64-linux-gnu-objdump", "aarch64",
		[]core{
			{"apple-m1", 12, "LLVM models it as the older Cyclone, with three floating-point pipes where the M1 has four"},
			{"neoverse-n1", 8, ""}, {"neoverse-v1", 16, ""}, {"neoverse-v2", 16, ""},
		},
		[]string{"gemmNEON", "gemmPairsNEON", "streamNEON", "scoresNEON", "decodeNEON"},
		regexp.MustCompile(`\bfmla\s`), func(string) int { return 4 },
	},
	{
		"arm64", "aarch64-linux-gnu-objdump", "aarch64",
		[]core{{"neoverse-n2", 32, ""}, {"neoverse-v1", 64, ""}, {"neoverse-v2", 64, ""}},
		[]string{"gemmDotsNEON"},
		regexp.MustCompile(`\bbfmmla\s`), func(string) int { return 16 },
	},
	{
		"amd64", "objdump", "x86_64",
		[]core{{"haswell", 16, ""}, {"znver3", 16, ""}},
		[]string{"gemm16AVX2", "gemmPairs16AVX2", "streamAVX2", "scoresAVX2", "decodeAVX2"},
		regexp.MustCompile(`\bvfmadd`), lanesAVX,
	},
	{
		"amd64", "objdump", "x86_64",
		[]core{{"skylake-avx512", 32, ""}, {"znver4", 16, ""}},
		[]string{"gemm32AVX512", "gemmPairs32AVX512", "streamAVX512", "scoresAVX512", "decodeKeysAVX512"},
		regexp.MustCompile(`\bvfmadd`), lanesAVX,
	},
	{
		"amd64", "objdump", "x86_64",
		[]core{{"cooperlake", 64, ""}},
		[]string{"gemmDots32AVX512"},
		regexp.MustCompile(`\bvdpbf16ps`), func(string) int { return 32 },
	},
}

func lanesAVX(instruction string) int {
	if strings.Contains(instruction, "%zmm") {
		return 16
	}
	return 8
}

func main() {
	log.SetFlags(0)
	mca := flag.String("mca", "llvm-mca", "llvm-mca; the models are those of its version")
	flag.Parse()
	dir, err := os.MkdirTemp("", "mca")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	fmt.Println("| loop | core | multiply-adds | their cycles | simulated | share |\n|---|---|---|---|---|---|")
	built := map[string]string{}
	for _, t := range targets {
		binary := built[t.arch]
		if binary == "" {
			binary = filepath.Join(dir, t.arch)
			build := exec.Command("go", "test", "-c", "-o", binary, "./cpu")
			build.Dir, build.Env = "..", append(os.Environ(), "GOARCH="+t.arch, "GOOS=linux")
			output(build)
			built[t.arch] = binary
		}
		for _, k := range t.kernels {
			code := output(exec.Command(t.objdump, "-d", "--no-show-raw-insn", "--disassemble=github.com/stepwise-rl/stepwise/lm/tensor/cpu."+k+".abi0", binary))
			loop := busiest(code, t.fma)
			adds, lanes := 0, 0
			for _, l := range loop {
				if t.fma.MatchString(l) {
					adds++
					lanes += t.lanes(l)
				}
			}
			for _, c := range t.cores {
				run := exec.Command(*mca, "-march="+map[string]string{"aarch64": "aarch64", "x86_64": "x86-64"}[t.triple], "-mtriple="+t.triple, "-mcpu="+c.name, "-iterations=200")
				run.Stdin = strings.NewReader(strings.Join(loop, "\n") + "\n")
				cycles := number(output(run), `Total Cycles:\s+(\d+)`) / 200
				limit := float64(lanes) / c.lanes
				fmt.Printf("| %s | %s | %d | %.1f | %.1f | %.0f%% |\n", k, c.name, adds, limit, cycles, 100*limit/cycles)
			}
		}
	}
	for _, t := range targets {
		for _, c := range t.cores {
			if c.note != "" {
				fmt.Printf("\n%s: %s.\n", c.name, c.note)
			}
		}
	}
}

func output(c *exec.Cmd) string {
	out, err := c.CombinedOutput()
	if err != nil {
		log.Fatalf("%v: %v\n%s", c.Args, err, out)
	}
	return string(out)
}

func number(text, pattern string) float64 {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		log.Fatalf("no %q in\n%s", pattern, text)
	}
	x, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		log.Fatal(err)
	}
	return x
}

var (
	line   = regexp.MustCompile(`^\s*([0-9a-f]+):\s+(.*?)\s*(?:<.*)?$`)
	branch = regexp.MustCompile(`^(?:b\.\w+|b|cbnz\s+\S+|jn?[a-z]+)\s+(?:0x)?([0-9a-f]+)$`)
)

// busiest returns the loop without an inner one that has most multiply-adds, without the
// branch at its end.
func busiest(code string, fma *regexp.Regexp) (best []string) {
	type instruction struct {
		at   uint64
		text string
	}
	var all []instruction
	index := map[uint64]int{}
	for l := range strings.Lines(code) {
		m := line.FindStringSubmatch(strings.TrimRight(l, "\n"))
		if m == nil {
			continue
		}
		at, err := strconv.ParseUint(m[1], 16, 64)
		if err != nil {
			continue
		}
		text, _, _ := strings.Cut(m[2], " //")
		index[at] = len(all)
		all = append(all, instruction{at, strings.TrimSpace(strings.ReplaceAll(text, "\t", " "))})
	}
	most := 0
	for i, x := range all {
		m := branch.FindStringSubmatch(strings.TrimSpace(x.text))
		if m == nil {
			continue
		}
		target, err := strconv.ParseUint(m[1], 16, 64)
		from, ok := index[target]
		if err != nil || !ok || from > i {
			continue
		}
		count, inner := 0, false
		var body []string
		for _, y := range all[from:i] {
			inner = inner || branch.MatchString(y.text)
			body = append(body, y.text)
			if fma.MatchString(y.text + " ") {
				count++
			}
		}
		if !inner && count > most {
			most, best = count, body
		}
	}
	if best == nil {
		log.Fatal("no loop in\n" + code)
	}
	return best
}

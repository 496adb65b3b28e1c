package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every word of the generated files is what GNU's assembler makes of the mnemonic in its
// comment.
func TestWords(t *testing.T) {
	line := regexp.MustCompile(`^\tWORD \$0x([0-9a-f]{8}) // (.*)$`)
	words := map[string]uint32{}
	var mnemonics []string
	for _, pattern := range []string{"../cpu/*_arm64.s", "../../../internal/vecmath/*_arm64.s"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s", pattern)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for l := range strings.Lines(string(text)) {
				if !strings.Contains(l, "WORD") {
					continue
				}
				m := line.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
				if m == nil {
					t.Fatalf("%s: no mnemonic in %q", f, l)
				}
				w, err := strconv.ParseUint(m[1], 16, 32)
				if err != nil {
					t.Fatal(err)
				}
				if before, ok := words[m[2]]; ok && before != uint32(w) {
					t.Errorf("%s is %08x and %08x", m[2], before, w)
				} else if !ok {
					words[m[2]] = uint32(w)
					mnemonics = append(mnemonics, m[2])
				}
			}
		}
	}
	code := assemble(t, "aarch64-linux-gnu", strings.Join(mnemonics, "\n"), "-march=armv8.2-a+bf16")
	if len(code) != 4*len(mnemonics) {
		t.Fatalf("%d instructions became %d bytes", len(mnemonics), len(code))
	}
	for i, m := range mnemonics {
		if got := binary.LittleEndian.Uint32(code[4*i:]); got != words[m] {
			t.Errorf("%s is %s in the files, %08x for the assembler", m, fmt.Sprintf("%08x", words[m]), got)
		}
	}
	t.Logf("%d different instructions", len(mnemonics))
}

// assemble returns what GNU's assembler of a target makes of the source, and skips the
// test if there is none.
func assemble(t *testing.T, target, source string, flags ...string) []byte {
	as, err := exec.LookPath(target + "-as")
	if err != nil {
		t.Skipf("%s-as is not installed (package binutils-%s)", target, strings.ReplaceAll(target, "_", "-"))
	}
	dir := t.TempDir()
	text, object, binaryFile := filepath.Join(dir, "x.s"), filepath.Join(dir, "x.o"), filepath.Join(dir, "x.bin")
	if err := os.WriteFile(text, []byte(source+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		append([]string{as, "-o", object, text}, flags...),
		{target + "-objcopy", "-O", "binary", "-j", ".text", object, binaryFile},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	code, err := os.ReadFile(binaryFile)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

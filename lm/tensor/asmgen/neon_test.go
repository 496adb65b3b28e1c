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
	as, err := exec.LookPath("aarch64-linux-gnu-as")
	if err != nil {
		t.Skip("aarch64-linux-gnu-as is not installed (package binutils-aarch64-linux-gnu)")
	}
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
	dir := t.TempDir()
	source, object, binaryFile := filepath.Join(dir, "x.s"), filepath.Join(dir, "x.o"), filepath.Join(dir, "x.bin")
	if err := os.WriteFile(source, []byte(strings.Join(mnemonics, "\n")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{
		{as, "-o", object, source},
		{strings.TrimSuffix(as, "as") + "objcopy", "-O", "binary", object, binaryFile},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	code, err := os.ReadFile(binaryFile)
	if err != nil {
		t.Fatal(err)
	}
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

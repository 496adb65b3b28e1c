package main

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What the AVX-512 kernels write by its encoding is what GNU's assembler makes of the
// mnemonic above it.
func TestEncodings(t *testing.T) {
	text, err := os.ReadFile("../cpu/dots_avx512_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	encoded := regexp.MustCompile(`\t// (v\S+ .*)\n\tLONG \$0x([0-9a-f]{8})\n\tWORD \$0x([0-9a-f]{4})\n`)
	all := encoded.FindAllStringSubmatch(string(text), -1)
	if n := strings.Count(string(text), "LONG $"); n != len(all) || n == 0 {
		t.Fatalf("%d instructions, %d of them with a mnemonic", n, len(all))
	}
	code := map[string]string{}
	var mnemonics []string
	for _, m := range all {
		long, err := strconv.ParseUint(m[2], 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		word, err := strconv.ParseUint(m[3], 16, 16)
		if err != nil {
			t.Fatal(err)
		}
		bytes := hex.EncodeToString(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint32(nil, uint32(long)), uint16(word)))
		if before, ok := code[m[1]]; ok && before != bytes {
			t.Errorf("%s is %s and %s", m[1], before, bytes)
		} else if !ok {
			code[m[1]] = bytes
			mnemonics = append(mnemonics, m[1])
		}
	}
	want := assemble(t, "x86_64-linux-gnu", ".intel_syntax noprefix\n"+strings.Join(mnemonics, "\n"))
	const size = 6
	if len(want) != size*len(mnemonics) {
		t.Fatalf("%d instructions became %d bytes", len(mnemonics), len(want))
	}
	for i, m := range mnemonics {
		if w := hex.EncodeToString(want[size*i : size*(i+1)]); w != code[m] {
			t.Errorf("%s is %s in the file, %s for the assembler", m, code[m], w)
		}
	}
	t.Logf("%d different instructions", len(mnemonics))
}

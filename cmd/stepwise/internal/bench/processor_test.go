package bench

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestReadCPUInfo(t *testing.T) {
	for text, want := range map[string]string{
		"processor\t: 0\nmodel name\t: AMD EPYC 9B14\n":                                          "AMD EPYC 9B14",
		strings.Repeat("processor : 0\nCPU implementer : 0x41\nCPU part : 0xd4f\n\n", 2):         "2× Neoverse V2",
		"CPU implementer : 0x41\nCPU part : 0xd03\n\nCPU implementer : 0x61\nCPU part : 0x023\n": "1× Cortex-A53, 1× Apple M1 performance core",
		"CPU implementer : 0x99\nCPU part : 0x123\n":                                             "1× core of implementer 0x99, part 0x123",
		"nothing to see": "unknown processor",
	} {
		assert.Equal(t, want, readCPUInfo(strings.NewReader(text)))
	}
}

package gpu

import (
	"embed"
	"strings"
)

//go:embed kernels/*.cu kernels/dialect.h
var kernels embed.FS

// Source returns the kernels for a compiler of OpenCL C, which has no files to
// include.
func Source() string { return expand("kernels.cu") }

// expand returns a file of kernels with those that it includes in their places.
func expand(name string) string {
	text, err := kernels.ReadFile("kernels/" + name)
	if err != nil {
		return "" // shim.h, which is for g++ alone
	}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		if included, ok := strings.CutPrefix(strings.TrimSpace(line), `#include "`); ok {
			out.WriteString(expand(strings.TrimSuffix(included, `"`)))
			continue
		}
		out.WriteString(line)
	}
	return out.String()
}

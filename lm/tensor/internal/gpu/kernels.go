package gpu

import _ "embed"

var (
	//go:embed kernels/dialect.h
	dialect string
	//go:embed kernels/kernels.cu
	kernels string
)

// Source returns the kernels for a compiler of OpenCL C, which has no files to
// include.
func Source() string { return dialect + "\n" + kernels }

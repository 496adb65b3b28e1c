package cuda

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"

	"github.com/stepwise-rl/stepwise/lm/tensor"
)

//go:generate go -C ../ptxgen run . ../internal/gpu/kernels ../cuda/ptx

//go:embed ptx/*.ptx.gz
var images embed.FS

// target names the PTX for a compute capability, 90 for 9.0. Every device from 8.0
// on runs that for 8.0: no kernel uses instructions that came later, such as the
// wgmma of 9.0a. That for 7.5 has no products in TF32 and bfloat16.
func target(capability int) (string, error) {
	switch {
	case capability < 75:
		return "", fmt.Errorf("want compute capability 7.5 or later")
	case capability < 80:
		return "sm_75", nil
	}
	return "sm_80", nil
}

// ptx returns the kernels for a compute capability, with the zero that ends a C
// string.
func ptx(capability int, p tensor.Precision) ([]byte, error) {
	name, err := target(capability)
	if err != nil {
		return nil, err
	}
	if p != tensor.PrecisionFloat32 && capability < 80 {
		return nil, fmt.Errorf("%v products want compute capability 8.0 or later", p)
	}
	packed, err := images.ReadFile("ptx/" + name + ".ptx.gz")
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	image, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	return append(image, 0), nil
}

package cuda

import (
	"bytes"
	"compress/gzip"
	"embed"
	"fmt"
	"io"
)

//go:generate go -C ../ptxgen run . ../internal/gpu/kernels ../cuda/ptx

//go:embed ptx/*.ptx.gz
var images embed.FS

// ptx returns the kernels for a compute capability, 90 for 9.0, with the zero
// that ends a C string. The code for 9.0a uses what only 9.0 has; every later
// device runs that for 8.0. That for 7.5 has no products in TF32 and bfloat16.
func ptx(capability int) ([]byte, error) {
	target := "sm_80"
	switch {
	case capability < 75:
		return nil, fmt.Errorf("compute capability %d.%d, want 7.5 or later", capability/10, capability%10)
	case capability < 80:
		target = "sm_75"
	case capability == 90:
		target = "sm_90a"
	}
	packed, err := images.ReadFile("ptx/" + target + ".ptx.gz")
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

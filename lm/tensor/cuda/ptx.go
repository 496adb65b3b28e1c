package cuda

import (
	"embed"
	"fmt"
)

//go:embed ptx/*.ptx
var images embed.FS

// ptx returns the kernels for a compute capability, 90 for 9.0, with the zero
// that ends a C string. The code for 9.0a uses what only 9.0 has; every later
// device runs that for 8.0.
func ptx(capability int) ([]byte, error) {
	target := "sm_80"
	switch {
	case capability < 75:
		return nil, fmt.Errorf("want compute capability 7.5 or later")
	case capability < 80:
		target = "sm_75"
	case capability == 90:
		target = "sm_90a"
	}
	image, err := images.ReadFile("ptx/" + target + ".ptx")
	if err != nil {
		return nil, err
	}
	return append(image, 0), nil
}

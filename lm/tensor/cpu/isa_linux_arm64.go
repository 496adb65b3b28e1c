package cpu

import "golang.org/x/sys/unix"

// hasBF16 reports whether the processor has BFMMLA, as the kernel tells a program that
// it starts.
func hasBF16() bool {
	const (
		hwcap2     = 26 // AT_HWCAP2
		hwcap2BF16 = 1 << 14
	)
	all, err := unix.Auxv()
	if err != nil {
		return false
	}
	for _, pair := range all {
		if pair[0] == hwcap2 {
			return pair[1]&hwcap2BF16 != 0
		}
	}
	return false
}

//go:build !linux && !darwin

package cpu

// hasBF16 is false where the system is not asked.
func hasBF16() bool { return false }

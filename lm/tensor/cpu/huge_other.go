//go:build !linux

package cpu

// preferHugePages does nothing where the system offers no such hint.
func preferHugePages([]float32) {}

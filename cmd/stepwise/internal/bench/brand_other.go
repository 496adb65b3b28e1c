//go:build !darwin

package bench

// brand is empty where the system has no call for it.
func brand() string { return "" }

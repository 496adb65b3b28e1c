package bench

import "syscall"

// brand is what the system calls the processor, such as "Apple M3 Pro".
func brand() string {
	name, err := syscall.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return ""
	}
	return name
}

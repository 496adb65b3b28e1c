package bench

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// processor names the processor, or the types of its cores.
func processor() string {
	if name := brand(); name != "" {
		return name
	}
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	defer f.Close()
	return readCPUInfo(f)
}

// readCPUInfo reads Linux's /proc/cpuinfo. On amd64 it has a model name; on arm64 each
// core has numbers for its maker and its type.
func readCPUInfo(r io.Reader) string {
	var kinds []string
	count := map[string]int{}
	maker := ""
	for lines := bufio.NewScanner(r); lines.Scan(); {
		key, value, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		switch value = strings.TrimSpace(value); strings.TrimSpace(key) {
		case "model name":
			return value
		case "CPU implementer":
			maker = value
		case "CPU part":
			kind := cores[maker+" "+value]
			if kind == "" {
				kind = fmt.Sprintf("core of implementer %s, part %s", maker, value)
			}
			if count[kind] == 0 {
				kinds = append(kinds, kind)
			}
			count[kind]++
		}
	}
	if len(kinds) == 0 {
		return "unknown processor"
	}
	for i, k := range kinds {
		kinds[i] = fmt.Sprintf("%d× %s", count[k], k)
	}
	return strings.Join(kinds, ", ")
}

// cores are the types of arm64 cores by implementer and part number, as in the main ID
// register (MIDR_EL1) of their manuals.
var cores = map[string]string{
	"0x41 0xd03": "Cortex-A53", "0x41 0xd08": "Cortex-A72", "0x41 0xd0b": "Cortex-A76",
	"0x41 0xd0c": "Neoverse N1", "0x41 0xd40": "Neoverse V1", "0x41 0xd49": "Neoverse N2", "0x41 0xd4f": "Neoverse V2",
	"0x41 0xd83": "Neoverse V3AE", "0x41 0xd84": "Neoverse V3", "0x41 0xd8e": "Neoverse N3",
	"0x61 0x022": "Apple M1 efficiency core", "0x61 0x023": "Apple M1 performance core",
	"0x61 0x032": "Apple M2 efficiency core", "0x61 0x033": "Apple M2 performance core",
	"0xc0 0xac3": "Ampere-1", "0xc0 0xac4": "Ampere-1A",
}

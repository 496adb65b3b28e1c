//go:build !unix && !windows

package progress

import "os"

func columns(*os.File) (int, bool) { return 0, false }

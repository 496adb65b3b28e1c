package examples

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every program says what it takes, and takes nothing else: none begins to train, or takes
// -h for the name of a folder.
func TestUsageOfEach(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", dir+string(filepath.Separator), "./...").CombinedOutput()
	require.NoError(t, err, "%s", out)
	programs, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Greater(t, len(programs), 10)
	for _, p := range programs {
		call := func(args ...string) (text string, status int) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			c := exec.CommandContext(ctx, filepath.Join(dir, p.Name()), args...)
			c.Dir = dir
			out, _ := c.CombinedOutput()
			return string(out), c.ProcessState.ExitCode()
		}
		for _, help := range []string{"-h", "-help"} {
			text, status := call(help)
			assert.Zero(t, status, p.Name())
			assert.Regexp(t, "^[Uu]sage", text, p.Name())
		}
		text, status := call("-nonsense")
		assert.Positive(t, status, p.Name())
		assert.Contains(t, text, "flag provided but not defined: -nonsense", p.Name())
		text, status = call("a", "b") // grpo takes one
		assert.Positive(t, status, p.Name())
		assert.Regexp(t, `unexpected argument "[ab]"`, text, p.Name())
	}
}

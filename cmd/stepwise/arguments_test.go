package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Each command says on standard output what it wants, wherever -h stands, and on
// standard error, in a line, what is wrong.
func TestUsageOfEach(t *testing.T) {
	for _, usage := range []string{
		"bench [flags]", "export-gguf DIR FILE", "generate [flags]", "info DIR", "load [flags] ADDRESS",
		"parity advantages [flags]", "parity loss [flags]",
		"posir build [flags] DOCUMENTS FOLDER", "posir eval [flags] DOMAIN...", "posir metrics [flags] RESULTS",
		"relevance criteria [flags] [TASK]", "relevance eval [flags] TASK", "relevance report [flags] RUN...",
		"relevance score [flags] TASK PAIRS", "relevance train [flags] TASK",
		"run check [flags] FOLDER", "run diff A B", "run show FOLDER", "serve [flags] MODEL",
	} {
		name := usage[:strings.IndexFunc(usage+" A", func(r rune) bool { return r == '[' || 'A' <= r && r <= 'Z' })-1]
		call := func(more ...string) (status int, out, errs string) {
			var stdout, stderr bytes.Buffer
			status = dispatch("stepwise", commands, append(strings.Fields(name), more...), strings.NewReader(""), &stdout, &stderr)
			return status, stdout.String(), stderr.String()
		}
		for _, args := range [][]string{{"-h"}, {"x", "--help"}} {
			status, out, errs := call(args...)
			assert.Equal(t, exitOK, status, name)
			assert.Empty(t, errs, name)
			assert.Equal(t, "usage: stepwise "+usage, strings.SplitN(out, "\n", 2)[0])
		}
		status, out, errs := call("-nonsense")
		assert.Equal(t, exitUsage, status, name)
		assert.Empty(t, out, name)
		assert.Equal(t, "stepwise "+name+": flag provided but not defined: -nonsense (stepwise "+name+" -h explains)\n", errs)
	}
}

// Whatever is wrong with flags and arguments: one line says so, and where to read more.
func TestMisuse(t *testing.T) {
	for _, command := range []string{
		"bench -isa abacus", "bench x", "generate", "generate -model a -prompt b c", "generate -model a -prompt b -system c",
		"generate -model a -prompt b -max-tokens 0", "info", "load -seconds 0 http://x", "load -documents 1,0 http://x", "load x",
		"load -token-env A -token-file b http://x", "parity loss -preset nonsense", "parity loss -config {", "parity advantages x",
		"posir build -query x a b", "posir build -per-cell -1 a b", "posir build -words -1 a b",
		"posir eval -bm25 -depth 0 x", "posir eval -bm25 -rerank-depth 0 x", "posir eval -model a -max-tokens -1 x", "posir eval x", "posir eval -bm25", "posir eval -run a -mirror x", "posir eval -bm25 -server a x",
		"posir eval -bm25 -task a x", "posir eval -bm25 -key-env A x", "posir eval -bm25 -chunk x", "posir eval -model a -saliency -1 x",
		"posir eval -model a -chunk -document-prefix b x", "posir eval -bm25 -replicates 1 x", "posir metrics",
		"relevance criteria a b", "relevance eval x", "relevance report", "relevance report -compare x", "relevance score x y",
		"relevance train", "relevance train -resume x", "run check", "run diff x", "run show", "serve", "serve -token-env A -token-file b x",
	} {
		var out, errs bytes.Buffer
		words := strings.Fields(command)
		assert.Equal(t, exitUsage, dispatch("stepwise", commands, words, strings.NewReader(""), &out, &errs), command)
		assert.Empty(t, out.String(), command)
		assert.Regexp(t, `^(stepwise `+words[0]+`( [a-z]+)?): [^\n]+ \(stepwise `+words[0]+`( [a-z]+)? -h explains\)\n$`, errs.String(), command)
	}
}

// full is a disk that is full.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

// SIGTERM ends a command's context, so that it saves, as Ctrl-C does.
func TestStopped(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send itself SIGTERM there")
	}
	var errs bytes.Buffer
	status := interruptible("stepwise x", &errs, func(ctx context.Context) error {
		self, err := os.FindProcess(os.Getpid())
		require.NoError(t, err)
		require.NoError(t, self.Signal(syscall.SIGTERM))
		<-ctx.Done()
		return ctx.Err()
	})
	require.Equal(t, exitInterrupted, status)
	require.Equal(t, "stepwise x: context canceled\n", errs.String())
}

// Flags may stand anywhere.
func TestFlagsBehindArguments(t *testing.T) {
	var out, errs bytes.Buffer
	status := dispatch("stepwise", commands, []string{"posir", "metrics", "/nonexistent.json", "-name", "x"}, strings.NewReader(""), &out, &errs)
	require.Equal(t, exitInput, status)
	require.Contains(t, errs.String(), "/nonexistent.json: no such file")
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
)

func TestRelevanceCriteria(t *testing.T) {
	stepwise := func(args ...string) (status int, out, errs string) {
		var o, e bytes.Buffer
		status = dispatch("stepwise", commands, append([]string{"relevance", "criteria"}, args...), nil, &o, &e)
		return status, o.String(), e.String()
	}
	status, out, _ := stepwise()
	assert.Equal(t, exitOK, status)
	for _, name := range criteria.Names() {
		assert.Contains(t, out, name+"\n  params")
	}
	assert.Contains(t, out, "brand\n  params   none\n  answers  match, mismatch, none\n  needs    a brand field\n")

	dir := t.TempDir()
	var pairs strings.Builder
	for i := range 60 {
		fmt.Fprintf(&pairs, `{"query": "red lamp %d", "document": {"title": "red lamp %d"}, "label": %d}`+"\n", i/3, i/3+i%2, 1-i%2)
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pairs.jsonl"), []byte(pairs.String()), 0o600))
	task := filepath.Join(dir, "task.yaml")
	require.NoError(t, os.WriteFile(task, []byte(strings.Replace(relevanceTask, "criteria: [", "criteria: [{kind: brand}, ", 1)), 0o600))
	status, out, errs := stepwise(task)
	require.Equal(t, exitOK, status, errs)
	assert.Contains(t, out, "relevant means 1 and above")
	assert.Regexp(t, `(?m)^coverage title +1.00 +`, out)
	assert.Contains(t, errs, `task.yaml:6:12: criteria[0]: "brand" tells little: no document has a brand field`)

	status, _, errs = stepwise(task, task)
	assert.Equal(t, exitUsage, status)
	assert.Contains(t, errs, "2 arguments, want [TASK]")
}

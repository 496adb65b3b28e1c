package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/stretchr/testify/require"
)

// vector is a shared golden vector; see testdata/parity/vectors.py.
type vector struct {
	Name    string
	Command string
	Config  json.RawMessage
	In, Out []json.RawMessage
}

func readVectors(t *testing.T) []vector {
	t.Helper()
	data, err := os.ReadFile("../../testdata/parity/vectors.json")
	require.NoError(t, err)
	var all []vector
	require.NoError(t, json.Unmarshal(data, &all))
	return all
}

// lines joins JSON values to the input of a program.
func lines(values []json.RawMessage) string {
	var b bytes.Buffer
	for _, v := range values {
		if err := json.Compact(&b, v); err != nil {
			panic(err)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// stepwise runs the program.
func stepwise(in string, args ...string) (status int, out, errs string) {
	var o, e bytes.Buffer
	status = dispatch("stepwise", commands, args, strings.NewReader(in), &o, &e)
	return status, o.String(), e.String()
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Command+"/"+v.Name, func(t *testing.T) {
			status, out, errs := stepwise(lines(v.In), "parity", v.Command, "-config", string(v.Config))
			require.Zero(t, status, errs)
			require.Empty(t, errs)
			got := strings.SplitAfter(strings.TrimSpace(out), "\n")
			require.Len(t, got, len(v.Out))
			for i := range got {
				compare(t, v.Out[i], []byte(got[i]))
			}
		})
	}
}

// compare checks the fields that want has.
func compare(t *testing.T, want, got []byte) {
	t.Helper()
	var w, g map[string]any
	require.NoError(t, json.Unmarshal(want, &w))
	require.NoError(t, json.Unmarshal(got, &g))
	for name := range g {
		if _, ok := w[name]; !ok {
			delete(g, name)
		}
	}
	if diff := cmp.Diff(w, g, cmpopts.EquateApprox(1e-12, 1e-14)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

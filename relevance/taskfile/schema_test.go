package taskfile

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/criteria"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

var update = flag.Bool("update", false, "write docs/taskfile.schema.json")

// schemaOf is the JSON schema of a type as the decoder reads it; structs go into defs.
func schemaOf(t reflect.Type, defs map[string]any) map[string]any {
	scalar := map[string]any{"type": []string{"string", "number", "boolean"}}
	switch t {
	case reflect.TypeFor[[]rows.FieldColumn]():
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"anyOf": []any{scalar, map[string]any{"type": "array", "items": scalar}}}}
	case reflect.TypeFor[map[string]any]():
		return map[string]any{"type": "object"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), defs)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), defs)}
	case reflect.Int:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.String:
		return scalar
	}
	properties := make(map[string]any)
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" && name != "-" {
			properties[name] = schemaOf(t.Field(i).Type, defs)
		}
	}
	if t == reflect.TypeFor[Criterion]() {
		properties["kind"] = map[string]any{"enum": criteria.Names()}
	}
	object := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	defs[t.Name()] = object
	ref := map[string]any{"$ref": "#/$defs/" + t.Name()}
	if t == reflect.TypeFor[rows.Label]() {
		return map[string]any{"anyOf": []any{scalar, ref}}
	}
	return ref
}

// The schema is made of the types; -update writes it.
func TestSchema(t *testing.T) {
	const path = "../../docs/taskfile.schema.json"
	defs := make(map[string]any)
	schemaOf(reflect.TypeFor[File](), defs)
	s := defs["File"].(map[string]any)
	delete(defs, "File")
	s["$defs"] = defs
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Stepwise task file, version 1"
	s["required"] = []string{"version", "name", "labels", "data", "steps"}
	text, err := json.MarshalIndent(s, "", "  ")
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(path, append(text, '\n'), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, strings.TrimSpace(string(want)), string(text))
}

// Each example of the document is valid, once the shortest task is completed with it.
func TestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/taskfile.md")
	require.NoError(t, err)
	examples := regexp.MustCompile("(?ms)^( *)```yaml\n(.*?)^ *```").FindAllStringSubmatch(string(text), -1)
	require.Greater(t, len(examples), 15)
	shortest := map[string]string{
		"version": "version: 1\n", "name": "name: x\n", "labels": "labels: [0, 1, 2]\n", "data": "data: {pairs: {file: pairs.csv}}\n", "steps": "steps: [{name: label}]\n",
		"criteria": "criteria: [{kind: brand}]\n",
	}
	top := regexp.MustCompile(`(?m)^([a-z]+):`)
	for _, e := range examples {
		for _, part := range strings.SplitAfter(outdent(e[2], e[1]), "test: 0}\n") { // two forms of one setting stand together
			if strings.HasPrefix(part, "rule:") {
				part = "steps:\n- name: topic\n  answers: [same, other]\n- name: x\n  " + strings.ReplaceAll(strings.TrimRight(part, "\n"), "\n", "\n  ") + "\n- name: label\n"
			}
			if strings.HasPrefix(part, "      fields") {
				part = "data:\n  pairs:\n    file: a.csv\n    columns:\n" + part
			}
			for name, rest := range shortest {
				found := false
				for _, m := range top.FindAllStringSubmatch(part, -1) {
					found = found || m[1] == name
				}
				if !found {
					part += rest
				}
			}
			_, err := Parse([]byte(part), "example.yaml")
			assert.NoError(t, err, part)
		}
	}
}

func outdent(text, by string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], by)
	}
	return strings.Join(lines, "\n")
}

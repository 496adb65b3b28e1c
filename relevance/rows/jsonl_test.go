package rows

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var grades = []string{"-1", "0", "1"}

func TestRead(t *testing.T) {
	const file = `{"query":"mouse","document":{"title":"Logi M185","brand":"Logi","price":9.50,"wireless":true,"ean":null,"body":"a mouse"},"label":1}

{"id":"b","query":"  mouse pad","document":{"body":"soft"},"label":"-1","rater":{"name":"x"}}
{"id":12,"query":"mouse","document":{"title":"Logi M185"},"label":0}
`
	got, err := Read(strings.NewReader(file), "f", grades)
	require.NoError(t, err)
	assert.Equal(t, []Example{
		{
			ID: "1", Query: "mouse", Truth: []string{"1"}, File: "f", Line: 1,
			Document: Document{Title: "Logi M185", Body: "a mouse", Fields: []Field{{"brand", "Logi"}, {"price", "9.50"}, {"wireless", "true"}}},
		},
		{ID: "b", Query: "  mouse pad", Document: Document{Body: "soft"}, Truth: []string{"-1"}, File: "f", Line: 3},
		{ID: "12", Query: "mouse", Document: Document{Title: "Logi M185"}, Truth: []string{"0"}, File: "f", Line: 4},
	}, got)
	assert.Equal(t, "-1", got[1].Label())
}

func TestReadNamesFileLineAndField(t *testing.T) {
	const good = `{"query":"q","document":{"title":"t"},"label":1}` + "\n"
	for row, want := range map[string]string{
		`{"document":{"title":"t"},"label":1}`:                            `f.jsonl:2: field "query": is missing, want a text that is not empty`,
		`{"query":7,"document":{"title":"t"},"label":1}`:                  `f.jsonl:2: field "query": is 7, want a text that is not empty`,
		`{"query":" ","document":{"title":"t"},"label":1}`:                `f.jsonl:2: field "query": is " ", want a text that is not empty`,
		`{"query":null,"document":{"title":"t"},"label":1}`:               `f.jsonl:2: field "query": is null, want a text that is not empty`,
		`{"query":"q","label":1}`:                                         `f.jsonl:2: field "document": is missing, want a text or an object such as {"title": "...", "body": "..."}`,
		`{"query":"q","document":7,"label":1}`:                            `f.jsonl:2: field "document": is 7, want a text or an object such as {"title": "...", "body": "..."}`,
		`{"query":"q","document":" ","label":1}`:                          `f.jsonl:2: field "document": is " ", want a text that is not empty`,
		`{"query":"q","document":{"title":["t"]},"label":1}`:              `f.jsonl:2: field "document.title": is ["t"], want a text, a number, true or false`,
		`{"query":"q","document":{"title":5},"label":1}`:                  `f.jsonl:2: field "document.title": is 5, want a text`,
		`{"query":"q","document":{"title":"t","size":{"w":1}},"label":1}`: `f.jsonl:2: field "document.size": is {"w":1}, want a text, a number, true or false`,
		`{"query":"q","document":{"brand":"b"},"label":1}`:                `f.jsonl:2: field "document": has neither title nor body, want one that is not empty`,
		`{"query":"q","document":{"title":"t"}}`:                          `f.jsonl:2: field "label": is missing, want one of -1, 0, 1`,
		`{"query":"q","document":{"title":"t"},"label":5}`:                `f.jsonl:2: field "label": is 5, want one of -1, 0, 1`,
		`{"query":"q","document":{"title":"t"},"label":"good"}`:           `f.jsonl:2: field "label": is "good", want one of -1, 0, 1`,
		`{"query":"q","document":{"title":"t"},"label":1.0}`:              `f.jsonl:2: field "label": is 1.0, want one of -1, 0, 1`,
		`{"id":{},"query":"q","document":{"title":"t"},"label":1}`:        `f.jsonl:2: field "id": is {}, want a text or a number`,
		`{"id":"1","query":"q","document":{"title":"t"},"label":1}`:       `f.jsonl:2: field "id": "1" is also the id of line 1, want unique ids`,
		`["q"]`:        `f.jsonl:2: not a JSON object, want {"query": ..., "document": {...}, "label": ...}`,
		`{"query":`:    `f.jsonl:2: not a JSON object: unexpected end of JSON input`,
		"{\"q\":\xff}": `f.jsonl:2: not valid UTF-8`,
	} {
		got, err := Read(strings.NewReader(good+row), "f.jsonl", grades)
		assert.EqualError(t, err, want)
		assert.Nil(t, got)
		var re *RowError
		if assert.ErrorAs(t, err, &re) {
			assert.Equal(t, 2, re.Line)
		}
	}
}

// A file as Windows writes it begins with a byte order mark, and labels that are
// numbers need no list.
func TestLabels(t *testing.T) {
	row := func(label string) string { return `{"query":"q","document":{"title":"t"},"label":` + label + "}\r\n" }
	got, err := Read(strings.NewReader("\ufeff"+row("10")+row(`"-1"`)+row("2.5")+row("10")), "f", nil)
	require.NoError(t, err)
	labels, err := Labels(got)
	require.NoError(t, err)
	assert.Equal(t, []string{"-1", "2.5", "10"}, labels)

	got, err = Read(strings.NewReader(row("1")+row(`"good"`)), "f", nil)
	require.NoError(t, err)
	_, err = Labels(got)
	assert.EqualError(t, err, `f:2: field "label": is "good", and the order of labels that are not numbers is not known, want the list of them (-labels)`)
	_, err = Read(strings.NewReader(row("1")+row("[]")), "f", nil)
	assert.EqualError(t, err, `f:2: field "label": is [], want a text or a number`)
	_, err = Read(strings.NewReader(row("1")+"\ufeff"+row("1")), "f", nil)
	assert.ErrorContains(t, err, "f:2: not a JSON object")
}

func TestReadOfNothing(t *testing.T) {
	_, err := Read(strings.NewReader("\n\n"), "f.jsonl", grades)
	assert.EqualError(t, err, "f.jsonl: no rows, want one JSON object a line")
}

func TestReadOfTooLongLine(t *testing.T) {
	_, err := Read(strings.NewReader("\n"+strings.Repeat("x", MaxLine+1)), "f.jsonl", grades)
	assert.EqualError(t, err, "f.jsonl:2: longer than 16777216 bytes")
}

func TestReadFile(t *testing.T) {
	const row = `{"query":"q","document":{"title":"t"},"label":1}`
	dir := t.TempDir()
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte(row))
	require.NoError(t, z.Close())
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	for _, path := range []string{write("a.jsonl", []byte(row)), write("a.jsonl.gz", zipped.Bytes())} {
		got, err := ReadFile(path, grades)
		require.NoError(t, err)
		assert.Len(t, got, 1)
	}
	_, err := ReadFile(write("b.jsonl.gz", []byte(row)), grades)
	assert.ErrorContains(t, err, "b.jsonl.gz: not a gzip file")
	_, err = ReadFile(write("c.jsonl.gz", zipped.Bytes()[:zipped.Len()-9]), grades)
	assert.ErrorContains(t, err, "c.jsonl.gz: after line")
	_, err = ReadFile(filepath.Join(dir, "none.jsonl"), grades)
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// Whatever the input, Read returns rows that keep its promises or an error
// that names the file.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"query":"q","document":{"title":"t","a":1},"label":1}`))
	f.Add([]byte("{\"query\":\"q\",\"document\":{\"title\":\"t\",\"title\":\"u\"},\"label\":\"0\"}\n{}"))
	f.Add([]byte(`{"query":"q","document":{"a":[{}],"a":null},"label":-1,"id":true}`))
	f.Add([]byte("\xef\xbb\xbf{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Read(bytes.NewReader(data), "f.jsonl", grades)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.jsonl:") || got != nil {
				t.Fatalf("error %q with %d rows", err, len(got))
			}
			return
		}
		ids := make(map[string]bool)
		for _, e := range got {
			if ids[e.ID] || strings.TrimSpace(e.Query) == "" || strings.TrimSpace(e.Document.Title+e.Document.Body) == "" {
				t.Fatalf("bad row %+v", e)
			}
			ids[e.ID] = true
			if l := e.Label(); l != "-1" && l != "0" && l != "1" {
				t.Fatalf("bad label %q", l)
			}
		}
	})
}

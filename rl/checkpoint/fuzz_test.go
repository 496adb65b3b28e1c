package checkpoint

import (
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

// FuzzParseManifest: no text panics, and no manifest, whatever its sum, makes
// the store touch files that are not the checkpoint's.
func FuzzParseManifest(f *testing.F) {
	seal := func(body string) []byte {
		text, _ := durable.Seal(json.RawMessage(body))
		return text
	}
	f.Add([]byte("{}"), "")
	f.Add(seal(`{"format":2,"name":"a","entry":"a","files":[{"path":"a/b","size":1,"sha256":""}],"state":{"policy":"x"}}`), "")
	f.Add([]byte(nil), `{"format":2,"name":"a","entry":"../a","state":{"policy":"x"}}`)
	f.Add([]byte(nil), `{"format":2,"name":"a","files":[{"path":"a/../b"}],"state":{"policy":"x"}}`)
	f.Fuzz(func(t *testing.T, text []byte, body string) {
		if body != "" && json.Valid([]byte(body)) {
			text = seal(body)
		}
		m, err := parseManifest(text)
		if err != nil || m.Format != manifestFormat {
			return
		}
		for _, path := range append([]string{m.Entry}, paths(m)...) {
			if path != "" && (!fs.ValidPath(path) || path[:len(m.Name)] != m.Name) {
				t.Fatalf("%q is accepted as a file of %q", path, m.Name)
			}
		}
	})
}

func paths(m *manifest) (all []string) {
	for _, f := range m.Files {
		all = append(all, f.Path)
	}
	return all
}

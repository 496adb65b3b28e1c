package tinker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote"
)

type entry struct {
	name, text string
	kind       byte
}

func pack(t testing.TB, entries ...entry) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: 0o600}
		if e.kind == tar.TypeReg {
			h.Size = int64(len(e.text))
		} else {
			h.Linkname = e.text
		}
		require.NoError(t, w.WriteHeader(h))
		if e.kind == tar.TypeReg {
			_, err := w.Write([]byte(e.text))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	return out.Bytes()
}

var whole = []entry{{"./adapter_config.json", "{}", tar.TypeReg}, {"adapter_model.safetensors", "weights", tar.TypeReg}}

func TestUnpackAdapter(t *testing.T) {
	dir := t.TempDir()
	more := []entry{
		{"README.md", "x", tar.TypeReg}, {"../adapter_config.json", "outside", tar.TypeReg}, {"/etc/passwd", "x", tar.TypeReg},
		{"sub/adapter_config.json", "x", tar.TypeReg},
	}
	require.NoError(t, unpackAdapter(bytes.NewReader(pack(t, append(more, whole...)...)), dir))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 2, "the adapter's files and no others")
	text, err := os.ReadFile(filepath.Join(dir, "adapter_model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, "weights", string(text))

	good := pack(t, whole...)
	for name, c := range map[string]struct {
		archive []byte
		want    string
	}{
		"cut":     {good[:len(good)-6], "unexpected EOF"},
		"damaged": {append(append([]byte{}, good[:len(good)-8]...), 1, 2, 3, 4, 5, 6, 7, 8), "invalid checksum"},
		"no gzip": {[]byte("<html>"), "EOF"},
		"missing": {pack(t, whole[0]), "it has no adapter_model.safetensors"},
		"twice":   {pack(t, whole[0], whole[0], whole[1]), "it has adapter_config.json twice"},
		"link":    {pack(t, whole[0], entry{"adapter_model.safetensors", "/etc/passwd", tar.TypeSymlink}), "it has no adapter_model.safetensors"},
	} {
		require.ErrorContains(t, unpackAdapter(bytes.NewReader(c.archive), t.TempDir()), c.want, name)
	}
}

// A server that stops in the middle of an archive is not waited for any longer than for
// other answers, and nothing is left of it.
func TestStalledArchive(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(pack(t, whole...)[:20])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	c, err := New(Config{
		Endpoint: remote.Endpoint{URL: s.URL}, Timeout: 50 * time.Millisecond, Heartbeat: 10 * time.Millisecond,
		Retry: remote.Retry{Attempts: 2, Elapsed: 50 * time.Millisecond, Backoff: time.Millisecond, MaxBackoff: time.Millisecond},
	})
	require.NoError(t, err)
	defer c.Close()
	dir := t.TempDir()
	require.ErrorContains(t, c.downloadAdapter(t.Context(), "m", "v1", filepath.Join(dir, "v1")), "not a byte of the answer for 50ms")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files)
}

func FuzzUnpackAdapter(f *testing.F) {
	f.Add(pack(f, whole...))
	f.Add(pack(f, entry{"../../adapter_config.json", "x", tar.TypeReg}))
	f.Fuzz(func(t *testing.T, b []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "adapter")
		require.NoError(t, os.Mkdir(dir, 0o700))
		err := unpackAdapter(bytes.NewReader(b), dir)
		files, rerr := os.ReadDir(parent)
		require.NoError(t, rerr)
		require.Len(t, files, 1, "nothing outside of the folder")
		if err == nil {
			files, rerr = os.ReadDir(dir)
			require.NoError(t, rerr)
			require.Len(t, files, 2)
		}
	})
}

// SkyRL's adapters do not say where they sit; their tensors' names do.
func TestTargetsAreNamed(t *testing.T) {
	header := `{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight":{},"base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight":{},` +
		`"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight":{},"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight":{}}`
	tensors := string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header + "data"
	for config, want := range map[string]string{
		`{"r":8,"target_modules":null}`:    `{"r":8,"target_modules":["q_proj","up_proj"]}`,
		`{"r":8}`:                          `{"r":8,"target_modules":["q_proj","up_proj"]}`,
		`{"target_modules":["down_proj"]}`: `{"target_modules":["down_proj"]}`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "adapter_config.json")
		require.NoError(t, os.WriteFile(path, []byte(config), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), []byte(tensors), 0o600))
		require.NoError(t, nameTargets(dir))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.JSONEq(t, want, string(got))
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte("{}"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), []byte("\xff\xff\xff\xff\xff\xff\xff\xff"), 0o600))
	require.ErrorContains(t, nameTargets(dir), "a header of")
}

package tinker

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
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

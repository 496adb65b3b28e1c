package tinker

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/remote/internal/transport"
)

// adapterFiles are the files of PEFT's format. Nothing else of an archive is written,
// and nothing under another name.
var adapterFiles = []string{"adapter_config.json", "adapter_model.safetensors"}

// maxArchive bounds an archive, packed and unpacked.
const maxArchive = 32 << 30

// downloadAdapter writes the adapters that were saved under a name into a folder in
// PEFT's format, which appears whole or not at all.
func (c *Client) downloadAdapter(ctx context.Context, model, name, folder string) error {
	if err := durable.MkdirAll(filepath.Dir(folder)); err != nil {
		return err
	}
	r := transport.Request{
		Method: http.MethodGet, Path: "/api/v1/training_runs/" + url.PathEscape(model) + "/checkpoints/" + url.PathEscape(name) + "/archive",
		MaxBody: maxArchive, Silence: c.patience(),
	}
	var tmp string
	err := c.http.Do(ctx, r, func(h *http.Response) (err error) {
		if tmp != "" { // of an attempt that failed
			if err := durable.RemoveAll(tmp); err != nil {
				return transport.Permanent(err)
			}
		}
		if tmp, err = durable.TempDir(folder); err != nil {
			return transport.Permanent(err)
		}
		return unpackAdapter(h.Body, tmp)
	})
	if err == nil {
		err = nameTargets(tmp)
	}
	if err == nil {
		return durable.ReplaceDir(folder, tmp)
	}
	if tmp != "" {
		err = errors.Join(err, durable.RemoveAll(tmp))
	}
	return fmt.Errorf("tinker: the archive of %s: %w", transport.Clean(name, 64), err)
}

// unpackAdapter writes the adapter's files of a gzipped tar archive into dir.
func unpackAdapter(r io.Reader, dir string) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	all := io.LimitReader(z, maxArchive) // what is longer is cut off
	found := map[string]bool{}
	for t := tar.NewReader(all); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		for _, name := range adapterFiles {
			if path.Clean(h.Name) != name || h.Typeflag != tar.TypeReg {
				continue
			}
			if found[name] {
				return fmt.Errorf("it has %s twice", name)
			}
			found[name] = true
			if err := writeFile(filepath.Join(dir, name), t); err != nil {
				return err
			}
		}
	}
	// The checksum comes at the end of the stream.
	if _, err := io.Copy(io.Discard, all); err != nil {
		return err
	}
	for _, name := range adapterFiles {
		if !found[name] {
			return fmt.Errorf("it has no %s", name)
		}
	}
	return durable.Sync(dir)
}

// nameTargets completes an adapter's configuration that does not say which modules have
// adapters, as SkyRL's does not, from the names of the tensors. PEFT would take that for
// its default, and miss most of them.
func nameTargets(dir string) error {
	path := filepath.Join(dir, "adapter_config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var config map[string]json.RawMessage
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("adapter_config.json: %w", err)
	}
	if targets := config["target_modules"]; targets != nil && string(targets) != "null" {
		return nil
	}
	names, err := tensorNames(filepath.Join(dir, "adapter_model.safetensors"))
	if err != nil {
		return fmt.Errorf("adapter_model.safetensors: %w", err)
	}
	var modules []string
	for _, name := range names {
		if module, ok := strings.CutSuffix(name, ".lora_A.weight"); ok {
			modules = append(modules, module[strings.LastIndexByte(module, '.')+1:])
		}
	}
	if modules == nil {
		return nil
	}
	slices.Sort(modules)
	if config["target_modules"], err = json.Marshal(slices.Compact(modules)); err != nil {
		return err
	}
	if text, err = json.MarshalIndent(config, "", "  "); err != nil {
		return err
	}
	return durable.ReplaceFile(path, text)
}

// tensorNames reads the names in the header of a safetensors file: its length as 8 bytes
// and JSON.
func tensorNames(path string) (names []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var n uint64
	if err := binary.Read(f, binary.LittleEndian, &n); err != nil {
		return nil, err
	}
	if n > 100<<20 {
		return nil, fmt.Errorf("a header of %d bytes, want at most 100 MiB", n)
	}
	var header map[string]json.RawMessage
	if err := json.NewDecoder(io.LimitReader(f, int64(n))).Decode(&header); err != nil {
		return nil, err
	}
	return slices.Collect(maps.Keys(header)), nil
}

func writeFile(name string, r io.Reader) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return transport.Permanent(err)
	}
	if _, err := io.Copy(f, r); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// Remove deletes what Policy.Save stored, of whatever policy. It is meant for the field
// Remove of a checkpoint.Store, a run.Config or relevance.Options: without it servers keep
// every checkpoint.
// One that is not there is no error.
func (c *Client) Remove(ctx context.Context, ref string) error {
	path, _, err := parseRef(ref)
	if err != nil {
		return err
	}
	parts := strings.Split(strings.TrimPrefix(path, "tinker://"), "/")
	if len(parts) != 3 || parts[1] != forTraining.kind {
		return fmt.Errorf("tinker: %q is of no checkpoint, want tinker://model/weights/name#version", ref)
	}
	return c.deleteSaved(ctx, parts[0], forTraining, parts[2], false)
}

// deleteSaved deletes what was saved under a name, in a single attempt if once is set.
func (c *Client) deleteSaved(ctx context.Context, model string, s saved, name string, once bool) error {
	r := transport.Request{Method: http.MethodDelete, Path: "/api/v1/training_runs/" + url.PathEscape(model) + "/checkpoints/" + s.kind + "/" + url.PathEscape(name), Once: once, Timeout: c.config.Timeout}
	err := c.http.Do(ctx, r, nil)
	if statusOf(err) == http.StatusNotFound {
		return nil
	}
	return err
}

package checkpoint_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/internal/durable"
	"github.com/stepwise-rl/stepwise/rl/checkpoint"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// fake is a training whose policy saves a directory of two files, or a file,
// or gives a reference that is no path.
type fake struct {
	dir     string
	step    int64
	metrics map[string]float64
	kind    string // "dir", "file", "server"
	fail    error
	during  func() // called within Save
}

func (f *fake) Steps() int64                { return f.step }
func (f *fake) Metrics() map[string]float64 { return f.metrics }

func (f *fake) Save(_ context.Context, name string) ([]byte, error) {
	ref := filepath.Join(f.dir, name)
	content := []byte(fmt.Sprint("weights after ", f.step))
	var err error
	switch f.kind {
	case "server":
		ref = "tinker://run/" + name
	case "file":
		ref += ".bin"
		err = os.WriteFile(ref, content, 0o666)
	default:
		if err = os.MkdirAll(filepath.Join(ref, "deep"), 0o777); err != nil {
			return nil, err
		}
		err = errors.Join(os.WriteFile(filepath.Join(ref, "weights..bin"), content, 0o666),
			os.WriteFile(filepath.Join(ref, "deep", "moments"), nil, 0o666))
	}
	if err = errors.Join(err, f.fail); err != nil {
		return nil, err
	}
	if f.during != nil {
		f.during()
	}
	return json.Marshal(map[string]any{"policy": ref, "step": f.step, "text": "<&>"})
}

func (f *fake) Restore(_ context.Context, saved []byte) error {
	var s struct {
		Policy string
		Step   int64
	}
	if err := json.Unmarshal(saved, &s); err != nil {
		return err
	}
	if f.kind != "server" {
		if _, err := os.Stat(s.Policy); err != nil {
			return err
		}
	}
	f.step = s.Step
	return nil
}

// open returns a store in a fresh directory, and a training that saves there.
func open(t *testing.T, keep checkpoint.Keep) (*checkpoint.Store, *fake) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "made", "at need")
	return &checkpoint.Store{Dir: dir, Keep: keep}, &fake{dir: dir}
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		if e.Name() != ".lock" {
			all = append(all, e.Name())
		}
	}
	return all
}

func steps(t *testing.T, s *checkpoint.Store) (all []int64) {
	t.Helper()
	list, err := s.List()
	require.NoError(t, err)
	for _, c := range list {
		all = append(all, c.Step)
	}
	return all
}

func TestSaveAndResume(t *testing.T) {
	for kind, entry := range map[string]string{"dir": "000002-step-20", "file": "000002-step-20.bin", "server": ""} {
		t.Run(kind, func(t *testing.T) {
			s, f := open(t, checkpoint.Keep{})
			f.kind = kind
			_, err := s.Latest(t.Context())
			require.ErrorIs(t, err, checkpoint.ErrNone)
			found, err := s.Resume(t.Context(), f)
			require.NoError(t, err)
			require.False(t, found)

			for _, f.step = range []int64{10, 20} {
				f.metrics = map[string]float64{"loss": 1 / float64(f.step), "bad": math.NaN(), "worse": math.Inf(-1)}
				require.NoError(t, s.Save(t.Context(), f))
			}
			c, err := s.Latest(t.Context())
			require.NoError(t, err)
			want := checkpoint.Checkpoint{Name: "000002-step-20", Step: 20, Ref: filepath.Join(s.Dir, entry), Metrics: map[string]float64{"loss": 0.05}}
			weights := fmt.Sprintf("%x", sha256.Sum256([]byte("weights after 20")))
			switch kind {
			case "dir":
				want.Files = map[string]string{"weights..bin": weights, "deep/moments": fmt.Sprintf("%x", sha256.Sum256(nil))}
			case "file":
				want.Files = map[string]string{".": weights}
			default:
				want.Ref = "tinker://run/000002-step-20"
			}
			require.Equal(t, want, c)
			f.step = 99
			found, err = s.Resume(t.Context(), f)
			require.NoError(t, err)
			require.True(t, found)
			require.EqualValues(t, 20, f.step)
			require.NoError(t, s.Restore(t.Context(), f, "000001-step-10"))
			require.EqualValues(t, 10, f.step)

			// Going on from the earlier one makes the last one.
			f.step = 15
			require.NoError(t, s.Save(t.Context(), f))
			require.Equal(t, []int64{10, 20, 15}, steps(t, s))
			c, err = s.Latest(t.Context())
			require.NoError(t, err)
			require.Equal(t, "000003-step-15", c.Name)
		})
	}
}

func TestTheDirectoryCanBeMoved(t *testing.T) {
	s, f := open(t, checkpoint.Keep{})
	f.step = 3
	require.NoError(t, s.Save(t.Context(), f))
	moved := &checkpoint.Store{Dir: filepath.Join(t.TempDir(), "elsewhere")}
	require.NoError(t, os.Rename(s.Dir, moved.Dir))
	f.step = 0
	found, err := moved.Resume(t.Context(), f)
	require.NoError(t, err)
	require.True(t, found)
	require.EqualValues(t, 3, f.step)
}

func TestRetention(t *testing.T) {
	quality := map[int64]float64{1: 5, 2: 9, 3: 1, 4: 9, 5: 1, 6: 3} // none at step 7
	for _, c := range []struct {
		keep checkpoint.Keep
		want []int64
	}{
		{checkpoint.Keep{}, []int64{1, 2, 3, 4, 5, 6, 7}},
		{checkpoint.Keep{Last: 1}, []int64{7}},
		{checkpoint.Keep{Last: 3}, []int64{5, 6, 7}},
		{checkpoint.Keep{Every: 3}, []int64{3, 6, 7}},
		{checkpoint.Keep{Last: 2, Every: 4}, []int64{4, 6, 7}},
		{checkpoint.Keep{Best: 1, Metric: "q"}, []int64{2, 7}},
		{checkpoint.Keep{Best: 3, Metric: "q"}, []int64{1, 2, 4, 7}},
		{checkpoint.Keep{Best: 1, Metric: "q", Lower: true}, []int64{3, 7}},
		{checkpoint.Keep{Best: 2, Metric: "q", Lower: true, Last: 2}, []int64{3, 5, 6, 7}},
		{checkpoint.Keep{Best: 2, Metric: "unknown"}, []int64{7}},
	} {
		s, f := open(t, c.keep)
		for _, f.step = range []int64{1, 2, 3, 4, 5, 6, 7} {
			f.metrics = nil
			if q, ok := quality[f.step]; ok {
				f.metrics = map[string]float64{"q": q}
			}
			require.NoError(t, s.Save(t.Context(), f))
		}
		require.Equal(t, c.want, steps(t, s), "%+v", c.keep)
		require.Len(t, names(t, s.Dir), 2*len(c.want), "an entry and a manifest each, and nothing else")
		list, err := s.List()
		require.NoError(t, err)
		for _, k := range list {
			require.NoError(t, s.Verify(t.Context(), k.Name))
		}
	}
}

func TestRemoveDeletesReferencesThatAreNoPath(t *testing.T) {
	s, f := open(t, checkpoint.Keep{Last: 1})
	f.kind = "server"
	var removed []string
	s.Remove = func(_ context.Context, ref string) error {
		removed = append(removed, ref)
		return nil
	}
	for _, f.step = range []int64{1, 2, 3} {
		require.NoError(t, s.Save(t.Context(), f))
	}
	require.Equal(t, []string{"tinker://run/000001-step-1", "tinker://run/000002-step-2"}, removed)
	gone := errors.New("server gone")
	s.Remove = func(context.Context, string) error { return gone }
	f.step = 4
	err := s.Save(t.Context(), f)
	require.ErrorIs(t, err, gone)
	require.ErrorContains(t, err, "step 4 is saved")
	require.Equal(t, []int64{4}, steps(t, s))
}

// TestLeftoversOfACrash: what has no manifest is removed by the next Save, and
// other files are left alone.
func TestLeftoversOfACrash(t *testing.T) {
	s, f := open(t, checkpoint.Keep{})
	f.step = 1
	require.NoError(t, s.Save(t.Context(), f))
	for _, left := range []string{"000002-step-2/deep", ".000002-step-2.123/deep", ".000001-step-1.99.old"} {
		require.NoError(t, os.MkdirAll(filepath.Join(s.Dir, left), 0o777))
	}
	other := []string{"notes.txt", ".hidden", "step-2", "000002-step-", "000002-step-2x", "2-step-2", "best"}
	for _, name := range append(other, "000002-step-2/weights", ".000002-step-2.manifest.json.tmp", "000003-step-2.bin") {
		require.NoError(t, os.WriteFile(filepath.Join(s.Dir, name), []byte("{"), 0o666))
	}
	require.Equal(t, []int64{1}, steps(t, s))
	f.step = 2
	require.NoError(t, s.Save(t.Context(), f))
	want := append(other, "000001-step-1", "000001-step-1.manifest.json", "000002-step-2", "000002-step-2.manifest.json")
	slices.Sort(want)
	require.Equal(t, want, names(t, s.Dir))
	require.NoError(t, s.Verify(t.Context(), "000002-step-2"))
}

func TestAFailedSaveLeavesTheEarlierCheckpoint(t *testing.T) {
	s, f := open(t, checkpoint.Keep{Last: 1})
	f.step = 1
	require.NoError(t, s.Save(t.Context(), f))
	f.fail, f.step = errors.New("disk full"), 2
	require.ErrorIs(t, s.Save(t.Context(), f), f.fail)
	require.Equal(t, []int64{1}, steps(t, s))
	require.NoError(t, s.Verify(t.Context(), "000001-step-1"))
	f.fail = nil
	require.NoError(t, s.Save(t.Context(), f))
	require.Equal(t, []string{"000002-step-2", "000002-step-2.manifest.json"}, names(t, s.Dir))
}

// TestDamage: a file that is missing, torn or altered is named, and the
// training is as it was.
func TestDamage(t *testing.T) {
	s, f := open(t, checkpoint.Keep{})
	f.step = 1
	require.NoError(t, s.Save(t.Context(), f))
	const name = "000001-step-1"
	for _, file := range []string{name + "/weights..bin", name + "/deep/moments", name + ".manifest.json"} {
		path := filepath.Join(s.Dir, filepath.FromSlash(file))
		whole, err := os.ReadFile(path)
		require.NoError(t, err)
		check := func(what string, want bool) {
			f.step = 7
			err := s.Restore(t.Context(), f, name)
			if err == nil && !want {
				require.EqualValues(t, 1, f.step)
				return
			}
			require.ErrorContains(t, err, path, what)
			require.EqualValues(t, 7, f.step)
		}
		require.NoError(t, os.Remove(path))
		check("missing", true)
		require.NoError(t, os.WriteFile(path, append(slices.Clone(whole), 'x'), 0o666))
		check("longer", true)
		for n := 0; n < len(whole); n += 1 + n/40 { // all of the beginning, then fewer
			require.NoError(t, os.WriteFile(path, whole[:n], 0o666))
			check(fmt.Sprint("cut to ", n), n < len(whole)-1) // but for the manifest's last line break
			altered := slices.Clone(whole)
			altered[n] ^= 0x20 // the case of a letter, for one
			require.NoError(t, os.WriteFile(path, altered, 0o666))
			// JSON does not mind the case of the two outermost names.
			inName := strings.HasSuffix(path, ".json") && n < len(`{"sha256": "0123`)+64+len(`",  "content"`)
			check(fmt.Sprintf("byte %d of %q", n, whole), !inName)
		}
		require.NoError(t, os.WriteFile(path, whole, 0o666))
		require.NoError(t, s.Restore(t.Context(), f, name))
	}
	// A manifest under another checkpoint's name is noticed too.
	other := filepath.Join(s.Dir, "000002-step-2.manifest.json")
	require.NoError(t, os.Rename(filepath.Join(s.Dir, name+".manifest.json"), other))
	_, err := s.Latest(t.Context())
	require.ErrorIs(t, err, checkpoint.ErrDamaged)
	require.ErrorContains(t, err, other)
	require.ErrorContains(t, err, `of checkpoint "000001-step-1"`)
}

// TestADamagedCheckpointIsSkipped: one checkpoint's damage, in its manifest or in
// another of its files, keeps nobody from the others, and from saving more. It is
// named, and goes when as many whole ones were saved after it as are to be kept.
func TestADamagedCheckpointIsSkipped(t *testing.T) {
	for _, file := range []string{".manifest.json", "/weights..bin"} {
		s, f := open(t, checkpoint.Keep{Last: 2})
		var log bytes.Buffer
		s.Logger = slog.New(slog.NewTextHandler(&log, nil))
		for _, f.step = range []int64{1, 2} {
			require.NoError(t, s.Save(t.Context(), f))
		}
		damaged := filepath.Join(s.Dir, "000002-step-2"+file)
		require.NoError(t, os.WriteFile(damaged, []byte("{"), 0o666))
		f.step = 9
		found, err := s.Resume(t.Context(), f)
		require.NoError(t, err)
		require.True(t, found)
		require.EqualValues(t, 1, f.step)
		require.Contains(t, log.String(), damaged+" is damaged")

		list, err := s.List()
		require.NoError(t, err)
		require.Len(t, list, 2)
		require.Equal(t, file == ".manifest.json", errors.Is(list[1].Damage, checkpoint.ErrDamaged))
		require.EqualValues(t, 2, list[1].Step)
		f.step = 2
		require.NoError(t, s.Save(t.Context(), f))
		if file == ".manifest.json" { // known without reading all files
			require.Equal(t, []int64{1, 2, 2}, steps(t, s), "the damaged one is not one of the last two")
		}
		for _, f.step = range []int64{3, 4} {
			require.NoError(t, s.Save(t.Context(), f))
		}
		require.Equal(t, []string{"000004-step-3", "000004-step-3.manifest.json", "000005-step-4", "000005-step-4.manifest.json"}, names(t, s.Dir))
	}
}

func TestSetAside(t *testing.T) {
	s, f := open(t, checkpoint.Keep{})
	for _, f.step = range []int64{1, 2} {
		require.NoError(t, s.Save(t.Context(), f))
	}
	const name = "000002-step-2"
	require.ErrorContains(t, s.SetAside(t.Context(), name), name+" is not damaged")
	require.NoError(t, os.WriteFile(filepath.Join(s.Dir, name, "weights..bin"), nil, 0o666))
	require.NoError(t, s.SetAside(t.Context(), name))
	require.Equal(t, []int64{1}, steps(t, s))
	require.NoError(t, s.Save(t.Context(), f))
	require.Equal(t, []string{"000001-step-1", "000001-step-1.manifest.json", name, name + ".manifest.json", "damaged-" + name + ".manifest.json"}, names(t, s.Dir))
	require.NoError(t, s.Verify(t.Context(), name))
}

func TestAStoreOfAnotherFormatIsLeftAlone(t *testing.T) {
	s, f := open(t, checkpoint.Keep{Last: 1})
	require.NoError(t, s.Save(t.Context(), f))
	path := filepath.Join(s.Dir, "000001-step-0.manifest.json")
	text, err := durable.Seal(map[string]any{"format": 99, "name": "000001-step-0"})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o666))
	want := path + " has format 99, want 2"
	_, err = s.Resume(t.Context(), f)
	require.ErrorContains(t, err, want)
	require.ErrorContains(t, s.Save(t.Context(), f), want)
}

// TestTwoSaversAtOnce: the second says who the first is, and touches nothing.
func TestTwoSaversAtOnce(t *testing.T) {
	s, f := open(t, checkpoint.Keep{})
	f.during = func() {
		g := &fake{dir: f.dir, step: 7}
		err := s.Save(t.Context(), g)
		require.ErrorContains(t, err, fmt.Sprintf("is held by process %d", os.Getpid()))
	}
	f.step = 3
	require.NoError(t, s.Save(t.Context(), f))
	require.Equal(t, []int64{3}, steps(t, s))
	require.NoError(t, s.Verify(t.Context(), "000001-step-3"))
}

func TestRefusals(t *testing.T) {
	ctx := t.Context()
	s, f := open(t, checkpoint.Keep{})
	require.ErrorContains(t, (&checkpoint.Store{}).Save(ctx, f), "Store.Dir")
	_, err := (&checkpoint.Store{}).List()
	require.ErrorContains(t, err, "Store.Dir")
	for want, keep := range map[string]checkpoint.Keep{
		"no negative":            {Last: -1},
		"needs Keep.Metric":      {Best: 1},
		"need Keep.Best":         {Metric: "q"},
		"Keep.Lower need":        {Lower: true},
		"want no negative numbe": {Every: -3},
	} {
		require.ErrorContains(t, (&checkpoint.Store{Dir: s.Dir, Keep: keep}).Save(ctx, f), want)
		require.NoDirExists(t, s.Dir, "refused before anything is written")
	}
	for _, name := range []string{"", "..", "last", "000001-step-1/..", ".000001-step-1", "0000001-step-1", "000001-step-1.bin"} {
		require.ErrorContains(t, s.Restore(ctx, f, name), "is no name of a checkpoint")
	}
	require.ErrorIs(t, s.Restore(ctx, f, "000001-step-1"), os.ErrNotExist)

	f.dir = t.TempDir()
	err = s.Save(ctx, f)
	require.ErrorContains(t, err, f.dir)
	require.ErrorContains(t, err, "its directory must be the store's")
	f.dir = s.Dir
	require.NoError(t, s.Save(ctx, f))
	link := filepath.Join(s.Dir, "000002-step-0", "link")
	require.NoError(t, os.MkdirAll(filepath.Dir(link), 0o777))
	linked := &linking{f, link}
	require.ErrorContains(t, s.Save(ctx, linked), link+" is neither a file nor a directory")

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, s.Save(cancelled, f), context.Canceled)
	require.ErrorIs(t, s.Verify(cancelled, "000001-step-0"), context.Canceled)
	require.NoError(t, s.Verify(ctx, "000001-step-0"))
}

// linking saves a symbolic link too.
type linking struct {
	*fake
	path string
}

func (l *linking) Save(ctx context.Context, name string) ([]byte, error) {
	state, err := l.fake.Save(ctx, name)
	return state, errors.Join(err, os.Symlink("nowhere", l.path))
}

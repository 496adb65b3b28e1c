package recorded

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/stepwise-rl/stepwise/rl"
)

const (
	formatName    = "stepwise-recorded"
	formatVersion = 1
)

// Header is what the lines of a file share.
type Header struct {
	// K is the number of tokens at each position, at least 1.
	K int `json:"k"`
	// Temperature divided the logits; 0 means 1.
	Temperature float64 `json:"temperature"`
	// Vocab is the digest of the teacher's tokenizer; empty = not known.
	Vocab string `json:"vocab"`
}

// Validate returns an error that names the first invalid field.
func (h Header) Validate() error {
	switch {
	case h.K < 1:
		return fmt.Errorf("recorded: Header.K is %d, want at least 1", h.K)
	case !(h.Temperature >= 0) || math.IsInf(h.Temperature, 1):
		return fmt.Errorf("recorded: Header.Temperature is %v, want 0 (for 1) or a positive number", h.Temperature)
	}
	return nil
}

// file is the header as it is written.
type file struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Header
}

// line is a completion.
type line struct {
	Prompt tokens      `json:"prompt"`
	Tokens tokens      `json:"tokens"`
	LogP   []number    `json:"logp"`
	IDs    []tokens    `json:"ids"`
	Top    [][]*number `json:"top"` // nil is -Inf
}

// tokens are token ids, none of which is null, which package json would take for 0.
type tokens []int32

func (t *tokens) UnmarshalJSON(text []byte) error {
	if bytes.Contains(text, []byte("null")) {
		return fmt.Errorf("token ids %.40s hold a null", text)
	}
	return json.Unmarshal(text, (*[]int32)(t))
}

// number is a log-prob that is written with the digits of a float32.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if v := float64(n); math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, fmt.Errorf("a log-prob is %v, want a finite number", v)
	}
	return strconv.AppendFloat(nil, float64(n), 'g', -1, 32), nil
}

// UnmarshalJSON does not take null for 0, the log-prob of a certain token.
func (n *number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return errors.New("a log-prob is null, want a number")
	}
	return json.Unmarshal(text, (*float64)(n))
}

// Digest is the SHA-256 of the bytes of all tokens of a vocabulary, each with its
// length before it, in hexadecimal.
func Digest(v rl.Vocab) string {
	h := sha256.New()
	for id := range int32(v.VocabSize()) {
		b := v.Bytes(id)
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Writer writes a file. After an error it must not be used.
type Writer struct {
	w io.Writer
	h Header
}

// NewWriter writes the header.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	if err := h.Validate(); err != nil {
		return nil, err
	}
	h.Temperature = cmp.Or(h.Temperature, 1)
	out := &Writer{w, h}
	return out, out.put(file{formatName, formatVersion, h})
}

func (w *Writer) put(v any) error {
	b, err := json.Marshal(v)
	if err == nil {
		_, err = w.w.Write(append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("recorded: %w", err)
	}
	return nil
}

// Record writes what the teacher, an rl.TopLogProber, says of the samples of b that
// have tokens. The batch's temperature must be the header's.
func (w *Writer) Record(ctx context.Context, teacher rl.LogProber, b *rl.Batch) error {
	top, ok := teacher.(rl.TopLogProber)
	if !ok {
		return fmt.Errorf("recorded: a teacher of type %T is no rl.TopLogProber", teacher)
	}
	if err := w.h.check(b); err != nil {
		return err
	}
	logp := make([][]float64, len(b.Samples))
	for i := range logp {
		logp[i] = make([]float64, len(b.Samples[i].Tokens))
	}
	if err := teacher.LogProbs(ctx, b, logp); err != nil {
		return fmt.Errorf("recorded: %w", err)
	}
	tops := rl.NewTops(b, w.h.K)
	if err := top.TopLogProbs(ctx, b, w.h.K, tops); err != nil {
		return fmt.Errorf("recorded: %w", err)
	}
	for i := range b.Samples {
		s := &b.Samples[i]
		if len(s.Tokens) == 0 {
			continue
		}
		l := line{Prompt: b.Prompts[s.Prompt], Tokens: s.Tokens}
		for t, p := range logp[i] {
			l.LogP = append(l.LogP, number(p))
			l.IDs = append(l.IDs, tops[i].IDs[t*w.h.K:][:w.h.K])
			row := make([]*number, w.h.K+1)
			for j, p := range tops[i].LogP[t*(w.h.K+1):][:w.h.K+1] {
				if n := number(p); !math.IsInf(p, -1) {
					row[j] = &n
				}
			}
			l.Top = append(l.Top, row)
		}
		if err := w.put(l); err != nil {
			return fmt.Errorf("sample %d: %w", i, err)
		}
	}
	return nil
}

// check returns an error unless the batch has the file's temperature.
func (h Header) check(b *rl.Batch) error {
	t := cmp.Or(b.Temperature, 1)
	if t != h.Temperature {
		return fmt.Errorf("recorded: the batch has temperature %v, the file %v", t, h.Temperature)
	}
	return nil
}

// Teacher is a file that was read. It implements rl.LogProber and rl.TopLogProber, for
// the completions that are in it, and may be used concurrently.
type Teacher struct {
	h     Header
	lines map[string]entry // by prompt and completion
}

// entry has the layout of rl.Top.
type entry struct {
	logp, top []float32
	ids       []int32
}

var (
	_ rl.LogProber         = (*Teacher)(nil)
	_ rl.TopLogProber      = (*Teacher)(nil)
	_ rl.TopLogProbChecker = (*Teacher)(nil)
)

// maxLine bounds a line of a file, in bytes.
const maxLine = 1 << 28

// Read reads a whole file. If policy, the tokenizer of the policy, is not nil, the
// teacher's must be the same. A line that does not fit the format is an error with its
// number.
func Read(r io.Reader, policy rl.Vocab) (*Teacher, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 1<<16), maxLine)
	t := &Teacher{lines: map[string]entry{}}
	n := 0
	for s.Scan() {
		n++
		err := error(nil)
		if n == 1 {
			err = t.readHeader(s.Bytes(), policy)
		} else {
			err = t.readLine(s.Bytes())
		}
		if err != nil {
			return nil, fmt.Errorf("recorded: line %d: %w", n, err)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("recorded: line %d: %w", n+1, err)
	}
	if n == 0 {
		return nil, errors.New("recorded: the file is empty, want a header")
	}
	return t, nil
}

// decode reads one JSON value without unknown fields.
func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more after the value")
	}
	return nil
}

func (t *Teacher) readHeader(b []byte, policy rl.Vocab) error {
	var f file
	if err := decode(b, &f); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	if f.Format != formatName || f.Version != formatVersion {
		return fmt.Errorf("format %.40q, version %d, want %q, version %d", f.Format, f.Version, formatName, formatVersion)
	}
	if err := f.Header.Validate(); err != nil {
		return err
	}
	f.Temperature = cmp.Or(f.Temperature, 1)
	t.h = f.Header
	if policy == nil {
		return nil
	}
	if d := Digest(policy); f.Vocab != d {
		return fmt.Errorf("the teacher's tokenizer has the digest %.80q, the policy's %q: they must be the same", f.Vocab, d)
	}
	return nil
}

func (t *Teacher) readLine(b []byte) error {
	var l line
	if err := decode(b, &l); err != nil {
		return err
	}
	n, k := len(l.Tokens), t.h.K
	switch {
	case len(l.Prompt) == 0 || n == 0:
		return fmt.Errorf("%d prompt tokens and %d completion tokens, want some of both", len(l.Prompt), n)
	case len(l.LogP) != n || len(l.IDs) != n || len(l.Top) != n:
		return fmt.Errorf("%d, %d and %d entries in logp, ids and top, want one for each of %d tokens", len(l.LogP), len(l.IDs), len(l.Top), n)
	}
	var e entry
	for at, p := range l.LogP {
		if p > roundingLogP {
			return fmt.Errorf("logp[%d] is %v, want at most 0", at, p)
		}
		e.logp = append(e.logp, float32(min(p, 0)))
		ids, top := l.IDs[at], l.Top[at]
		if len(ids) != k || len(top) != k+1 {
			return fmt.Errorf("%d ids and %d log-probs at position %d, want %d and %d", len(ids), len(top), at, k, k+1)
		}
		sum := 0.0
		for j, p := range top {
			v := math.Inf(-1)
			if p != nil {
				v = float64(*p)
			}
			if v > roundingLogP {
				return fmt.Errorf("top[%d][%d] is %v, want at most 0", at, j, v)
			}
			if 0 < j && j < k && float32(v) > e.top[len(e.top)-1] {
				return fmt.Errorf("top[%d][%d] is %v, more than the one before it", at, j, v)
			}
			e.top = append(e.top, float32(min(v, 0)))
			sum += math.Exp(v)
		}
		if math.Abs(sum-1) > 1e-3 {
			return fmt.Errorf("the probabilities at position %d sum to %v, want 1", at, sum)
		}
		sorted := slices.Clone(ids)
		slices.Sort(sorted)
		if sorted[0] < 0 || len(slices.Compact(sorted)) < k {
			return fmt.Errorf("ids[%d] are %v, want different token ids", at, ids)
		}
		e.ids = append(e.ids, ids...)
	}
	name := key(l.Prompt, l.Tokens)
	if _, ok := t.lines[name]; !ok {
		t.lines[name] = e
	}
	return nil
}

// roundingLogP is how far above 0 a log-prob may be by rounding alone.
const roundingLogP = 1e-4

// key identifies a prompt with a completion.
func key(prompt, tokens []int32) string {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(prompt)))
	for _, ids := range [][]int32{prompt, tokens} {
		for _, id := range ids {
			b = binary.LittleEndian.AppendUint32(b, uint32(id))
		}
	}
	return string(b)
}

// Header returns the file's header.
func (t *Teacher) Header() Header { return t.h }

// Len is the number of completions.
func (t *Teacher) Len() int { return len(t.lines) }

// CheckTopLogProbs implements rl.TopLogProbChecker: k is 1 to the header's K.
func (t *Teacher) CheckTopLogProbs(k int) error {
	if k < 1 || k > t.h.K {
		return fmt.Errorf("recorded: %d most likely tokens, want 1 to the %d of the file", k, t.h.K)
	}
	return nil
}

// LogProbs implements rl.LogProber. A sample that is not in the file is an error that
// names it.
func (t *Teacher) LogProbs(ctx context.Context, b *rl.Batch, dst [][]float64) error {
	if len(dst) != len(b.Samples) {
		panic(fmt.Sprintf("recorded: %d samples, but room for the log-probs of %d", len(b.Samples), len(dst)))
	}
	return t.each(ctx, b, func(i int, e entry) {
		if len(dst[i]) != len(e.logp) {
			panic(fmt.Sprintf("recorded: sample %d has %d tokens, but room for %d log-probs", i, len(e.logp), len(dst[i])))
		}
		for at, p := range e.logp {
			dst[i][at] = float64(p)
		}
	})
}

// TopLogProbs implements rl.TopLogProber. Of fewer tokens than were recorded, the
// others go to the rest.
func (t *Teacher) TopLogProbs(ctx context.Context, b *rl.Batch, k int, dst []rl.Top) error {
	if err := t.CheckTopLogProbs(k); err != nil {
		return err
	}
	if len(dst) != len(b.Samples) {
		panic(fmt.Sprintf("recorded: %d samples, but room for the most likely tokens of %d", len(b.Samples), len(dst)))
	}
	return t.each(ctx, b, func(i int, e entry) {
		if n := len(e.logp); len(dst[i].IDs) != n*k || len(dst[i].LogP) != n*(k+1) {
			panic(fmt.Sprintf("recorded: sample %d has %d tokens, but room for %d ids and %d log-probs", i, n, len(dst[i].IDs), len(dst[i].LogP)))
		}
		for at := range e.logp {
			copy(dst[i].IDs[at*k:][:k], e.ids[at*t.h.K:])
			top, rest := e.top[at*(t.h.K+1):][:t.h.K+1], 0.0
			for j, p := range top {
				if j < k {
					dst[i].LogP[at*(k+1)+j] = float64(p)
				} else {
					rest += math.Exp(float64(p))
				}
			}
			dst[i].LogP[at*(k+1)+k] = math.Log(rest)
		}
	})
}

// similar says, for an error, if a completion after the same prompt begins with the one
// that is sought, or the other way round: the end is then what differs.
func (t *Teacher) similar(name string) string {
	longest := 0
	for have, e := range t.lines {
		if strings.HasPrefix(have, name) || strings.HasPrefix(name, have) {
			longest = max(longest, len(e.logp))
		}
	}
	if longest == 0 {
		return ""
	}
	return fmt.Sprintf(", which has one of %d completion tokens that begins alike: did rl.Imitation.End write an end that was not recorded, or was recorded already?", longest)
}

// each calls use with the entry of every sample that has tokens.
func (t *Teacher) each(ctx context.Context, b *rl.Batch, use func(i int, e entry)) error {
	if err := t.h.check(b); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range b.Samples {
		s := &b.Samples[i]
		if len(s.Tokens) == 0 {
			continue
		}
		if s.Prompt < 0 || s.Prompt >= len(b.Prompts) {
			return fmt.Errorf("recorded: sample %d is of prompt %d, but there are %d", i, s.Prompt, len(b.Prompts))
		}
		name := key(b.Prompts[s.Prompt], s.Tokens)
		e, ok := t.lines[name]
		if !ok {
			return fmt.Errorf("recorded: sample %d (%d prompt tokens and %d completion tokens) is not in the file%s", i, len(b.Prompts[s.Prompt]), len(s.Tokens), t.similar(name))
		}
		use(i, e)
	}
	return nil
}

package remotetest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode"
)

// hostileBody is the size of the bodies that are too large.
const hostileBody = 100 << 20

// escapes is text that does something in a terminal, or is not what it looks like.
const escapes = "\x1b]0;title\x07\x1b[2J\x1b[31m\r\n2026-11-29 INFO all is well\n\u202egnp.exe\u2066\u200b\x00\x7f\xff\xfe\ufeff"

// large writes a JSON object of hostileBody bytes, or until writing fails.
func large(w io.Writer) {
	_, _ = w.Write([]byte(`{"error":"`))
	chunk := bytes.Repeat([]byte("x"), 1<<16)
	for range hostileBody / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
	_, _ = w.Write([]byte(`"}`))
}

// packed is the same in gzip, about 100 KB: many members of the same content, which
// read as one.
var packed = sync.OnceValue(func() []byte {
	member := func(content []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(content)
		_ = z.Close()
		return b.Bytes()
	}
	const megabyte = 1 << 20
	middle := bytes.Repeat(member(bytes.Repeat([]byte("x"), megabyte)), hostileBody/megabyte)
	return slices.Concat(member([]byte(`{"error":"`)), middle, member([]byte(`"}`)))
})

// Hostile returns servers, by name, that a client must survive with an error: fast,
// in bounded memory, and with a text that [CheckError] accepts. They quote the key
// that they got, send terminal escapes, bodies of 100 MB (as JSON, packed, and with an
// error status), endless headers, JSON nested a million deep, and redirects.
func Hostile() map[string]http.Handler {
	mime := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/json") }
	quote := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			mime(w)
			w.WriteHeader(status)
			// Broken JSON, so that the text itself gets into the error.
			fmt.Fprintf(w, `{"error": wrong key in %v of %s%s`, r.Header, r.URL, escapes)
		}
	}
	return map[string]http.Handler{
		"quotes the key":                quote(http.StatusUnauthorized),
		"quotes the key with status OK": quote(http.StatusOK),
		"escapes": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "-1e9")
			http.Error(w, strings.Repeat(escapes, 100), http.StatusInternalServerError)
		}),
		"large": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mime(w); large(w) }),
		"large error": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			large(w)
		}),
		"packed": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mime(w)
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed())
		}),
		"headers": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for i := range 1000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("y", 1000))
			}
			w.WriteHeader(http.StatusOK)
		}),
		"nested": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mime(w)
			_, _ = w.Write(bytes.Repeat([]byte(`[`), 1<<20))
		}),
		"other types": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mime(w)
			_, _ = w.Write([]byte(`"` + strings.Repeat(`\u001b[31m`, 1000) + `"`))
		}),
		"redirects": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://user:"+r.Header.Get("Authorization")+"@127.0.0.1:1/?"+escapes)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}),
		"no HTTP": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, out, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			_, _ = out.WriteString(escapes + "\r\n\r\n" + r.Header.Get("Authorization"))
			_ = out.Flush()
			_ = conn.Close()
		}),
	}
}

// CheckError says what is wrong with an error that goes into logs: that there is none,
// that its text has more than 4096 bytes, line ends or other characters that do not
// print, or the secret in it.
func CheckError(err error, secret string) error {
	if err == nil {
		return errors.New("remotetest: there is no error")
	}
	text := err.Error()
	switch {
	case len(text) > 4096:
		return fmt.Errorf("remotetest: the error has %d bytes", len(text))
	case holds([]byte(text), secret):
		return errors.New("remotetest: the error holds the secret")
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("remotetest: the error holds %U: %q", r, text)
		}
	}
	return nil
}

// Leaks lists the files below dir that hold a secret: as it is, in JSON, in a URL, in
// base64 or in hexadecimal.
func Leaks(dir, secret string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil && (holds(b, secret) || holds([]byte(path), secret)) {
			found = append(found, path)
		}
		return err
	})
	return found, err
}

// holds looks for a secret and its usual encodings.
func holds(b []byte, secret string) bool {
	inJSON, _ := json.Marshal(secret)
	forms := []string{secret, strings.Trim(string(inJSON), `"`), url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret))}
	// In base64 the secret looks different behind 0, 1 or 2 other bytes; the
	// characters at both ends depend on the neighbours.
	for before := range 3 {
		coded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", before) + secret))
		from, to := []int{0, 2, 3}[before], len(coded)
		if (before+len(secret))%3 != 0 {
			to--
		}
		forms = append(forms, coded[from:to], strings.NewReplacer("+", "-", "/", "_").Replace(coded[from:to]))
	}
	return slices.ContainsFunc(forms, func(f string) bool { return len(f) >= 4 && bytes.Contains(b, []byte(f)) })
}

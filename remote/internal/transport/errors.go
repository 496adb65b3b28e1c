package transport

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// ErrTooLarge is in the error of a body with more bytes than allowed.
var ErrTooLarge = errors.New("the answer is too large")

// StatusError is an answer with a status that is not 2xx.
type StatusError struct {
	Method, URL string // redacted
	Status      int
	// Body is the beginning of the body, cleaned (see Clean), with the key
	// replaced.
	Body string
	// RetryAfter is how long the server asks to wait; 0 = it does not say.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	s := fmt.Sprintf("remote: %s %s: %d %s", e.Method, e.URL, e.Status, http.StatusText(e.Status))
	if e.RetryAfter > 0 {
		s += fmt.Sprintf(" (Retry-After %v)", e.RetryAfter)
	}
	if e.Body != "" {
		s += fmt.Sprintf(": %q", e.Body)
	}
	return s
}

// CallError is a request without an answer, or with one that cannot be read.
type CallError struct {
	Method, URL string // redacted
	Err         error
	keys        func() []string
}

// Error has the text of Err cleaned: it can quote what a server sent.
func (e *CallError) Error() string {
	return fmt.Sprintf("remote: %s %s: %s", e.Method, e.URL, Clean(hide(e.Err.Error(), e.keys()), 2*maxExcerpt))
}

func (e *CallError) Unwrap() error { return e.Err }

// Permanent marks an error that another attempt would meet again.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ error }

func (e *permanentError) Unwrap() error { return e.error }

// Retryable reports whether another attempt, here or at another server, may help:
// after status 408, 425, 429 or 5xx except 501 and 505, after a lost connection, and
// after an answer that was cut off or malformed. Not after any other status, an error
// marked as Permanent, a certificate that is not trusted, a
// server without TLS, or the end of a caller's
// context by cancellation.
func Retryable(err error) bool {
	if _, ok := errors.AsType[*permanentError](err); ok || err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if s, ok := errors.AsType[*StatusError](err); ok {
		return s.Status >= 500 && s.Status != http.StatusNotImplemented && s.Status != http.StatusHTTPVersionNotSupported ||
			slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}, s.Status)
	}
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	return !untrusted && !errors.Is(err, http.ErrSchemeMismatch)
}

// retryAfter reads the header Retry-After: seconds or a date (RFC 9110, 10.2.3).
// What is neither, or in the past, is 0.
func retryAfter(text string, now time.Time) time.Duration {
	const most = 24 * time.Hour
	if s, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(most, time.Duration(s)*time.Second)
	}
	if t, err := http.ParseTime(text); err == nil {
		return min(most, max(0, t.Sub(now)))
	}
	return 0
}

// hide replaces keys in a text: some servers quote the key that they refuse.
func hide(text string, keys []string) string {
	for _, key := range keys {
		if key != "" {
			text = strings.ReplaceAll(text, key, "[key]")
		}
	}
	return text
}

// Clean makes text from outside fit for an error or a log: one line of printable
// characters, at most max bytes and then "…". White space becomes a blank; control
// characters (terminal escapes among them), marks of direction and invalid UTF-8
// become U+FFFD.
func Clean(text string, max int) string {
	head := cut(text, max)
	clean := strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, head))
	if short := cut(clean, max); len(short) < len(clean) || len(head) < len(text) {
		return short + "…"
	}
	return clean
}

// cut returns the beginning of a text, at most max bytes, without half a character at
// its end.
func cut(text string, max int) string {
	if len(text) <= max {
		return text
	}
	text = text[:max]
	for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
		if tail := text[len(text)-i:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRuneInString(tail) {
				return text[:len(text)-i]
			}
			break
		}
	}
	return text
}

// JSON returns a function for Do that reads the body as one JSON value into v. v is
// only changed by a complete value.
func JSON[T any](v *T) func(*http.Response) error {
	return func(r *http.Response) error {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		var x T
		if err := json.Unmarshal(b, &x); err != nil {
			return fmt.Errorf("the answer is not the JSON that was expected: %w: %s", err, b[:min(len(b), maxHead)])
		}
		*v = x
		return nil
	}
}

// Bytes returns a function for Do that reads all of the body into b.
func Bytes(b *[]byte) func(*http.Response) error {
	return func(r *http.Response) error {
		all, err := io.ReadAll(r.Body)
		if err == nil {
			*b = all
		}
		return err
	}
}

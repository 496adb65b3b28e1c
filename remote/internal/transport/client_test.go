package transport

import (
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/remotetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "sk-canary-0123456789"

var bearer = Options{KeyHeader: "Authorization", KeyPrefix: "Bearer "}

// start serves h and returns a client for it with the canary as its key.
func start(t *testing.T, o Options, h http.HandlerFunc) *Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return client(t, o, remote.Endpoint{URL: server.URL})
}

func client(t *testing.T, o Options, e remote.Endpoint) *Client {
	t.Helper()
	t.Setenv("CANARY_KEY", canary)
	e.Key = remote.Key{Env: "CANARY_KEY"}
	c, err := New(e, o)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

func get(path string) Request { return Request{Method: http.MethodGet, Path: path} }

var thrice = remote.Retry{Attempts: 3, Elapsed: time.Minute, Backoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond}

func TestJSONAndRawBodies(t *testing.T) {
	o := bearer
	o.IDHeader = "X-Idempotency-Key"
	c := start(t, o, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "Bearer "+canary || r.Header.Get("X-Idempotency-Key") == "" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		if r.Header.Get("Content-Type") == "application/x-protobuf" {
			_, _ = w.Write(body)
			return
		}
		fmt.Fprintf(w, `{"path":%q,"body":%q}`, r.URL.String(), body)
	})
	var answer struct{ Path, Body string }
	r, err := PostJSON("/v1/x?a=b", map[string]int{"n": 1})
	require.NoError(t, err)
	require.NoError(t, c.Do(t.Context(), r, JSON(&answer)))
	require.Equal(t, "/v1/x?a=b", answer.Path)
	require.Equal(t, `{"n":1}`, answer.Body)

	var raw []byte
	require.NoError(t, c.Do(t.Context(), Request{Method: http.MethodPost, Path: "/", ContentType: "application/x-protobuf", Body: []byte{0, 255}}, Bytes(&raw)))
	require.Equal(t, []byte{0, 255}, raw)
	require.NoError(t, c.Do(t.Context(), get("/"), nil))
	s := c.Stats()
	require.EqualValues(t, []int64{3, 3, 0, 0}, []int64{s.Requests, s.Attempts, s.Failed, s.InFlight})

	_, err = PostJSON("/", func() {})
	require.ErrorContains(t, err, "unsupported type")
	require.Panics(t, func() { _ = c.Do(t.Context(), get("no slash"), nil) })
}

// A server that quotes the key, terminal escapes and a lot of text.
func TestStatusError(t *testing.T) {
	c := start(t, bearer, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, "\x1b]0;owned\x07 wrong key "+canary+"\r\n\u202e", strings.Repeat("x", 1<<20))
	})
	err := c.Do(t.Context(), get("/v1/models?token=abc"), nil)
	status, ok := errors.AsType[*StatusError](err)
	require.True(t, ok)
	require.Equal(t, http.StatusUnauthorized, status.Status)
	require.Equal(t, 7*time.Second, status.RetryAfter)
	require.False(t, Retryable(err))
	text := err.Error()
	require.NotContains(t, text, canary)
	require.NotContains(t, text, "abc")
	require.Contains(t, text, "GET "+c.String()+"/v1/models?...: 401 Unauthorized (Retry-After 7s)")
	require.Contains(t, text, "]0;owned� wrong key [key]")
	require.Less(t, len(text), 800)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", c, c, c, status.Body), canary)
}

func TestRetry(t *testing.T) {
	var log strings.Builder
	o := bearer
	o.IDHeader, o.Retry = "X-Id", thrice
	o.Log = slog.New(slog.NewJSONHandler(&log, nil))
	var ids []string
	var fail atomic.Int32
	c := start(t, o, func(w http.ResponseWriter, r *http.Request) {
		ids = append(ids, r.Header.Get("X-Id"))
		if int32(len(ids)) <= fail.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, canary)
			return
		}
		fmt.Fprint(w, "{}")
	})
	fail.Store(2)
	require.NoError(t, c.Do(t.Context(), get("/"), JSON(new(struct{}))))
	require.Len(t, ids, 3)
	require.Equal(t, []string{ids[0], ids[0]}, ids[1:])
	require.Equal(t, 2, strings.Count(log.String(), "trying again"))
	require.NotContains(t, log.String(), canary)

	ids = nil
	fail.Store(100)
	require.ErrorContains(t, c.Do(t.Context(), get("/"), nil), "503")
	require.Len(t, ids, 3)
	ids = nil
	require.ErrorContains(t, c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/", Once: true}, nil), "503")
	require.Len(t, ids, 1)
}

// Answers that cannot be read are asked for again, unless that cannot help.
func TestUnreadable(t *testing.T) {
	o := bearer
	o.Retry, o.MaxBody = thrice, 1000
	answers := map[string]string{"/malformed": `{"a":` + canary, "/type": `{"a":"x"}`, "/large": strings.Repeat("x", 1001), "/fits": `"` + strings.Repeat("x", 998) + `"`}
	var asked atomic.Int32
	c := start(t, o, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/cut":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"a":1}`)
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 100 {
				_, _ = z.Write(make([]byte, 1<<16))
			}
			_ = z.Close()
		default:
			fmt.Fprint(w, answers[r.URL.Path])
		}
	})
	for path, want := range map[string]struct {
		text  string
		asked int32
	}{
		"/cut":       {"unexpected EOF", 3},
		"/malformed": {"not the JSON that was expected: invalid character 's' looking for beginning of value: {\"a\":[key]", 3},
		"/type":      {"cannot unmarshal string", 3},
		"/large":     {"the answer is too large, want at most 1000 bytes", 1},
		"/bomb":      {"the answer is too large", 1},
	} {
		asked.Store(0)
		a := struct{ A int }{7}
		err := c.Do(t.Context(), get(path), JSON(&a))
		require.ErrorContains(t, err, want.text, path)
		require.NotContains(t, err.Error(), canary)
		require.Equal(t, want.asked, asked.Load(), path)
		require.Equal(t, 7, a.A, "unchanged")
	}
	var s string
	require.NoError(t, c.Do(t.Context(), get("/fits"), JSON(&s)))
	require.ErrorIs(t, c.Do(t.Context(), get("/large"), Bytes(new([]byte))), ErrTooLarge)
	require.NoError(t, c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/large", MaxBody: 1001}, Bytes(new([]byte))))
}

// The wait follows Retry-After, in seconds and as a date, and gives up at once if that
// is beyond the bound.
func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after := ""
		var times []time.Time
		c, err := New(remote.Endpoint{URL: "http://example.com"}, Options{Retry: remote.Retry{Attempts: 3, Elapsed: time.Minute, Backoff: time.Second, MaxBackoff: time.Second}})
		require.NoError(t, err)
		c.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			times = append(times, time.Now())
			w := httptest.NewRecorder()
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusTooManyRequests)
			return w.Result(), nil
		})
		for _, c2 := range []struct {
			header   string
			from, to time.Duration
		}{
			{"", 500 * time.Millisecond, 1500 * time.Millisecond},
			{"20", 20500 * time.Millisecond, 21500 * time.Millisecond},
			{time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat), 500 * time.Millisecond, 21500 * time.Millisecond},
		} {
			after, times = c2.header, nil
			require.ErrorContains(t, c.Do(t.Context(), get("/"), nil), "429")
			require.Len(t, times, 3, c2.header)
			wait := times[1].Sub(times[0])
			require.True(t, c2.from <= wait && wait <= c2.to, "%q: %v", c2.header, wait)
		}
		after, times = "3600", nil
		require.ErrorContains(t, c.Do(t.Context(), get("/"), nil), "Retry-After 1h0m0s")
		require.Len(t, times, 1)

		// Cancelled while it waits.
		after, times = "20", nil
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		begin := time.Now()
		err = c.Do(ctx, get("/"), nil)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorContains(t, err, "429")
		require.Equal(t, 3*time.Second, time.Since(begin))
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRetryAfterHeader(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "12": 12 * time.Second, "-1": 0, "1.5": 0, "soon": 0, "4000000000": 24 * time.Hour,
		"Sun, 29 Nov 2026 12:00:30 GMT": 30 * time.Second,
		"Sun, 29 Nov 2026 11:00:00 GMT": 0,
		"Mon, 29 Nov 2027 12:00:00 GMT": 24 * time.Hour,
	} {
		require.Equal(t, want, retryAfter(text, now), text)
	}
}

// A body that never ends is cut by the attempt's deadline, or by the caller.
func TestDeadlineAndCancel(t *testing.T) {
	c := start(t, bearer, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	})
	err := c.Do(t.Context(), Request{Method: http.MethodGet, Path: "/", Timeout: 50 * time.Millisecond}, JSON(new(int)))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "no answer within 50ms")
	require.True(t, Retryable(err))

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	err = c.Do(ctx, get("/"), JSON(new(int)))
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, Retryable(err))
}

// A body may take as long as it takes, but not stop: the attempt then fails, and is
// repeated.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := New(remote.Endpoint{URL: "http://example.com"}, Options{Retry: remote.Retry{Attempts: 2, Elapsed: 24 * time.Hour, Backoff: time.Second, MaxBackoff: time.Second}})
		require.NoError(t, err)
		bytes, attempts := 100, 0
		c.http.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			attempts++
			return &http.Response{StatusCode: http.StatusOK, Body: &slowly{r.Context(), bytes}}, nil
		})
		q := get("/")
		q.Silence = time.Minute
		var got []byte
		start := time.Now()
		require.NoError(t, c.Do(t.Context(), q, Bytes(&got)))
		require.Len(t, got, 100)
		require.Equal(t, 100*50*time.Second, time.Since(start))

		bytes, attempts = -3, 0
		err = c.Do(t.Context(), q, Bytes(&got))
		require.ErrorContains(t, err, "not a byte of the answer for 1m0s")
		require.True(t, Retryable(err))
		require.Equal(t, 2, attempts)

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, cancel)
		require.ErrorIs(t, c.Do(ctx, q, Bytes(&got)), context.Canceled)
	})
}

// slowly is a body that gives a byte every 50 seconds. If left is negative, it stops after
// so many, and does not end.
type slowly struct {
	ctx  context.Context
	left int
}

func (s *slowly) Read(p []byte) (int, error) {
	wait := 50 * time.Second
	switch s.left {
	case 0:
		return 0, io.EOF
	case -1:
		wait = 1000 * time.Hour
	}
	select {
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	case <-time.After(wait):
	}
	if s.left < 0 {
		s.left++
	} else {
		s.left--
	}
	p[0] = 'x'
	return 1, nil
}

func (s *slowly) Close() error { return nil }

// The key stays with the server that it is for, and a POST is not sent elsewhere.
func TestRedirect(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name := range r.Header {
			require.NotContains(t, r.Header.Get(name), canary)
		}
		fmt.Fprint(w, "archive")
	}))
	defer other.Close()
	o := bearer
	o.KeyHeader, o.KeyPrefix = "X-API-Key", ""
	c := start(t, o, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/loop" {
			http.Redirect(w, r, "/loop", http.StatusFound)
			return
		}
		http.Redirect(w, r, other.URL+"/?signature=secret", http.StatusTemporaryRedirect)
	})
	var b []byte
	require.NoError(t, c.Do(t.Context(), get("/"), Bytes(&b)))
	require.Equal(t, "archive", string(b))
	require.ErrorContains(t, c.Do(t.Context(), get("/loop"), Bytes(&b)), "302")
	err := c.Do(t.Context(), Request{Method: http.MethodPost, Path: "/", Body: []byte("x")}, Bytes(&b))
	require.ErrorContains(t, err, "307")
	require.NotContains(t, err.Error(), "secret")
}

func TestCertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	server.StartTLS()
	defer server.Close()
	o := bearer
	o.Retry = thrice
	c := client(t, o, remote.Endpoint{URL: server.URL})
	err := c.Do(t.Context(), get("/"), nil)
	require.ErrorContains(t, err, "certificate")
	require.False(t, Retryable(err))
	require.EqualValues(t, 1, c.Stats().Attempts)

	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	c = client(t, o, remote.Endpoint{URL: server.URL, CAFile: file})
	require.NoError(t, c.Do(t.Context(), get("/"), nil))

	// TLS to a server that speaks none.
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	c = client(t, o, remote.Endpoint{URL: strings.Replace(plain.URL, "http:", "https:", 1)})
	require.Error(t, c.Do(t.Context(), get("/"), nil))
	require.EqualValues(t, 1, c.Stats().Attempts)

	require.NoError(t, os.WriteFile(file, []byte("no certificate"), 0o600))
	_, err = New(remote.Endpoint{URL: server.URL, CAFile: file}, o)
	require.ErrorContains(t, err, "has no PEM certificate")
	_, err = New(remote.Endpoint{URL: server.URL, CAFile: file + "x"}, o)
	require.ErrorContains(t, err, "Endpoint.CAFile")
}

func TestKeys(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	read := func(text string) (string, error) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return readKey(remote.Key{File: file})
	}
	key, err := read("\n " + canary + "\r\n")
	require.NoError(t, err)
	require.Equal(t, canary, key)
	for _, bad := range []string{"", " \n", canary + " x", canary + "\x00", "schlüssel", strings.Repeat("x", 5000)} {
		_, err := read(bad)
		require.ErrorContains(t, err, file)
		require.NotContains(t, err.Error(), canary)
	}
	_, err = readKey(remote.Key{File: file + "x"})
	require.ErrorContains(t, err, "Key.File")
	_, err = readKey(remote.Key{Env: "STEPWISE_NO_SUCH_VARIABLE"})
	require.ErrorContains(t, err, "no key in the environment variable STEPWISE_NO_SUCH_VARIABLE")
}

// A key that is replaced in its file is taken up when the server refuses the old one, also
// by many requests at once; an old one that a server quotes stays hidden.
func TestRotatedKey(t *testing.T) {
	const second, third = "sk-second-0123456789", "sk-third-0123456789"
	var valid atomic.Value
	valid.Store(canary)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != "Bearer "+valid.Load().(string) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "refused ", r.Header.Get("Authorization"), ", once ", canary)
			return
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "key")
	write := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }
	write(canary + "\n")
	c, err := New(remote.Endpoint{URL: server.URL, Key: remote.Key{File: file}}, bearer)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	do := func() error {
		var echo []byte
		err := c.Do(t.Context(), Request{Method: http.MethodPost, Path: "/", Body: []byte("text"), Once: true}, Bytes(&echo))
		if err == nil && string(echo) != "text" {
			err = fmt.Errorf("the body came as %q", echo)
		}
		return err
	}
	require.NoError(t, do())
	valid.Store(second)
	require.ErrorContains(t, do(), "401", "the file has the old key")
	write("")
	require.ErrorContains(t, do(), "401", "it is being replaced")
	require.EqualValues(t, 3, c.Stats().Attempts)
	write(second)
	require.NoError(t, do())
	require.EqualValues(t, 5, c.Stats().Attempts)

	valid.Store(third)
	err = do()
	require.ErrorContains(t, err, "refused Bearer [key], once [key]")
	require.NotContains(t, fmt.Sprintf("%+v %#v", c, c), "sk-")
	write(third)
	errs := make(chan error)
	for range 8 {
		go func() { errs <- do() }()
	}
	for range 8 {
		require.NoError(t, <-errs)
	}
}

// 64 requests at once use 64 connections, and the next 64 the same ones.
func TestPool(t *testing.T) {
	const many = 64
	var opened atomic.Int32
	var gate sync.WaitGroup
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gate.Done()
		gate.Wait() // until all are here
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	c := client(t, bearer, remote.Endpoint{URL: server.URL})
	for range 4 {
		gate.Add(many)
		var done sync.WaitGroup
		for range many {
			done.Go(func() { require.NoError(t, c.Do(t.Context(), get("/"), nil)) })
		}
		done.Wait()
	}
	require.EqualValues(t, many, opened.Load())
}

// The connection is refused, reset within the headers, reset within the body.
func TestLostConnections(t *testing.T) {
	o := bearer
	o.Retry = thrice
	c := start(t, o, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("part"))
			_ = http.NewResponseController(w).Flush()
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		require.NoError(t, err)
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	})
	for _, path := range []string{"/head", "/body"} {
		before := c.Stats().Attempts
		err := c.Do(t.Context(), get(path), Bytes(new([]byte)))
		require.True(t, Retryable(err))
		_, ok := errors.AsType[*CallError](err)
		require.True(t, ok)
		require.EqualValues(t, 3, c.Stats().Attempts-before)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	c = client(t, o, remote.Endpoint{URL: "http://" + l.Addr().String()})
	require.ErrorContains(t, c.Do(t.Context(), get("/"), nil), "dial tcp")
	require.EqualValues(t, 3, c.Stats().Failed)
}

func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "",
		" a\r\n\tb ":           "a   b",
		"\x1b[1ma\x00":         "�[1ma�",
		"\u202egnp\u200b":      "�gnp�",
		"\xff\xfe":             "��",
		"12345678901":          "1234567890…",
		"123456789é":           "123456789…",
		"12345678é":            "12345678é",
		"日本語日本語":               "日本語…",
		"1234567890":           "1234567890",
		"\xe2\xe2\xe2\xe2xxxx": "���…", // each is three bytes now
	} {
		require.Equal(t, want, Clean(text, 10), "%q", text)
	}
}

// Hostile servers cost an error, not time or memory.
func TestHostile(t *testing.T) {
	for name, h := range remotetest.Hostile() {
		o := bearer
		o.MaxBody = 1 << 20
		c := start(t, o, h.ServeHTTP)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			err := c.Do(t.Context(), Request{Method: method, Path: "/", Body: []byte("{}"), Timeout: time.Minute}, JSON(new(struct{ A int })))
			require.NoError(t, remotetest.CheckError(err, canary), "%s: %v", name, err)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
		}
		runtime.ReadMemStats(&after)
		t.Logf("%s: %.1f MB", name, float64(after.TotalAlloc-before.TotalAlloc)/1e6)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20), name) // the server's share included
	}
}

// What comes from a server's headers and bodies keeps its bounds.
func FuzzServerText(f *testing.F) {
	for _, s := range []string{"", "12", "Sun, 29 Nov 2026 12:00:30 GMT", "\x1b[31m\xff", "\u202e日本語", strings.Repeat("\xe2\x80", 300)} {
		f.Add(s, 10)
	}
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string, max int) {
		wait := retryAfter(text, now)
		require.True(t, 0 <= wait && wait <= 24*time.Hour)
		max &= 1<<10 - 1
		clean := Clean(text, max)
		require.LessOrEqual(t, len(clean), max+len("…"))
		require.True(t, utf8.ValidString(clean))
		require.False(t, strings.ContainsFunc(clean, func(r rune) bool { return !unicode.IsPrint(r) }))
	})
}

package transport

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/stepwise-rl/stepwise/remote"
)

// Options are what a driver decides about its client.
type Options struct {
	// KeyHeader is the header that carries the key, after KeyPrefix: Authorization
	// with "Bearer ", for example.
	KeyHeader, KeyPrefix string
	// IDHeader, if not empty, is the header that carries Request.ID, so that the
	// server can recognise a repeated request.
	IDHeader string
	// MaxBody bounds the bytes of an answer, unpacked; 0 = 64 MiB.
	MaxBody int64
	// Retry bounds the attempts of a request.
	Retry remote.Retry
	// Log gets a line for each failed attempt that is followed by another; nil =
	// none.
	Log *slog.Logger
}

const (
	defaultMaxBody = 64 << 20
	maxExcerpt     = 512 // bytes of a server's text in an error
	maxKey         = 4096
	// maxHead is how much of a text is looked at for an excerpt: the key may stand in
	// it and must not be cut in two before it is found.
	maxHead = 2 * maxKey
	// idle connections are kept for as many requests at once.
	idle = 256
)

// Client sends requests to one server. It is safe for concurrent use.
type Client struct {
	options Options
	base    *url.URL
	http    *http.Client
	// keys returns the keys that were read, the newest first. It is a function so that
	// printing a Client by accident does not print them.
	keys func() []string
	// renew reads the key once more if it is in a file, and reports whether there is
	// another one than a key that was refused.
	renew func(refused string) bool

	requests, attempts, failed, inFlight, busy atomic.Int64
}

// New returns a client for the endpoint. It reads the key and the CA file, and sends
// nothing.
func New(e remote.Endpoint, o Options) (*Client, error) {
	if err := errors.Join(e.Validate(), o.Retry.Validate()); err != nil {
		return nil, err
	}
	base, err := url.Parse(e.URL)
	if err != nil {
		return nil, errors.New("remote: Endpoint.URL is no URL")
	}
	base.Path = strings.TrimRight(base.Path, "/")
	keys, renew, err := openKey(e.Key)
	if err != nil {
		return nil, err
	}
	if keys()[0] != "" && o.KeyHeader == "" {
		panic("transport: Options.KeyHeader is empty, but there is a key")
	}
	var roots *x509.CertPool // nil = the system's
	if e.CAFile != "" {
		pem, err := os.ReadFile(e.CAFile)
		if err != nil {
			return nil, fmt.Errorf("remote: Endpoint.CAFile: %w", err)
		}
		if roots = x509.NewCertPool(); !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("remote: Endpoint.CAFile: %s has no PEM certificate", e.CAFile)
		}
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	c := &Client{options: o, base: base, keys: keys, renew: renew}
	c.http = &http.Client{
		// HTTP/1.1: one slow body holds up one connection, not all requests.
		Transport: &keyed{client: c, next: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    10 * time.Second,
			MaxIdleConns:           idle,
			MaxIdleConnsPerHost:    idle,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		}},
		CheckRedirect: checkRedirect,
	}
	return c, nil
}

// openKey returns the functions of a Client.
func openKey(k remote.Key) (keys func() []string, renew func(refused string) bool, err error) {
	first, err := readKey(k)
	if err != nil {
		return nil, nil, err
	}
	all := []string{first}
	var mu sync.Mutex
	keys = func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
	renew = func(refused string) bool {
		mu.Lock()
		defer mu.Unlock()
		if k.File != "" && all[0] == refused {
			// While the file is being replaced, the key that there was stays.
			if key, err := readKey(k); err == nil && key != refused {
				all = append([]string{key}, all...)
			}
		}
		return all[0] != refused
	}
	return keys, renew, nil
}

func readKey(k remote.Key) (string, error) {
	key, from := "", ""
	switch {
	case k.Env != "":
		key, from = os.Getenv(k.Env), "the environment variable "+k.Env
	case k.File != "":
		f, err := os.Open(k.File)
		if err != nil {
			return "", fmt.Errorf("remote: Key.File: %w", err)
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxKey+1))
		if err != nil {
			return "", fmt.Errorf("remote: Key.File: %w", err)
		}
		key, from = string(b), k.File
	default:
		return "", nil
	}
	key = strings.TrimSpace(key)
	switch {
	case key == "":
		return "", fmt.Errorf("remote: there is no key in %s", from)
	case len(key) > maxKey || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("remote: what is in %s is no key, want at most %d printable ASCII characters without blanks", from, maxKey)
	}
	return key, nil
}

// keyed adds the key to requests for the client's own server, and to no others:
// a redirect does not take it along.
type keyed struct {
	client *Client
	next   *http.Transport
}

func (k *keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	c := k.client
	if key := c.keys()[0]; key != "" && r.URL.Scheme == c.base.Scheme && r.URL.Host == c.base.Host {
		r = r.Clone(r.Context())
		r.Header.Set(c.options.KeyHeader, c.options.KeyPrefix+key)
	}
	return k.next.RoundTrip(r)
}

// CloseIdleConnections is found by http.Client.
func (k *keyed) CloseIdleConnections() { k.next.CloseIdleConnections() }

// checkRedirect follows downloads (an archive's signed link), never a POST: the
// answer with the 3xx status is then a StatusError.
func checkRedirect(r *http.Request, via []*http.Request) error {
	if via[0].Method != http.MethodGet || len(via) > 3 || via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	return nil
}

// Close closes idle connections. Requests under way are their contexts' to end.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// String returns the redacted base URL.
func (c *Client) String() string { return remote.Redact(c.base) }

// Hide returns a text from the server with the key in it replaced: some servers quote
// the key that they got. Errors of Do are treated so already.
func (c *Client) Hide(text string) string { return hide(text, c.keys()) }

// Stats counts what a client did since it was made.
type Stats struct {
	// Requests were given to Do; they took Attempts, of which Failed failed.
	// InFlight of the attempts are under way.
	Requests, Attempts, Failed, InFlight int64
	// Busy is the time that all attempts took, added up.
	Busy time.Duration
}

// Stats returns the counts so far.
func (c *Client) Stats() Stats {
	return Stats{c.requests.Load(), c.attempts.Load(), c.failed.Load(), c.inFlight.Load(), time.Duration(c.busy.Load())}
}

// Request is one call of a server, however often it is sent.
type Request struct {
	Method string
	// Path is added to the base URL. It starts with a slash and may have a query;
	// what comes from elsewhere in it must be escaped (url.PathEscape).
	Path string
	// Body is sent as ContentType; nil = none.
	Body        []byte
	ContentType string
	// Accept is what the caller can read; "" says nothing.
	Accept string
	// ID is sent in Options.IDHeader, the same with each attempt. If it is empty
	// where there is such a header, a random one is made.
	ID string
	// Timeout bounds each attempt, its body included; 0 = only the context does.
	Timeout time.Duration
	// Silence bounds the time in which an attempt gets not a byte of its answer, for
	// bodies that may take as long as they take; 0 = unlimited.
	Silence time.Duration
	// MaxBody replaces Options.MaxBody unless it is 0.
	MaxBody int64
	// Once allows a single attempt whatever Options.Retry says.
	Once bool
}

// PostJSON returns a POST of v as JSON that asks for JSON.
func PostJSON(path string, v any) (Request, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return Request{}, fmt.Errorf("remote: the request for %s as JSON: %w", path, err)
	}
	const mime = "application/json"
	return Request{Method: http.MethodPost, Path: path, Body: body, ContentType: mime, Accept: mime}, nil
}

// Do sends a request until it is answered with a 2xx status and read, called with
// the answer, returns nil. An error of read counts as a failed attempt; Permanent
// makes it the last. Body gives an error after MaxBody bytes, and may be left unread;
// Do closes it. Nil reads nothing.
//
// After status 401 the file of the key is read again, and if there is a new one in it,
// the request is sent once more, whatever Options.Retry says: the server has not taken it.
//
// The error is a *StatusError or a *CallError of the last attempt. If ctx ended
// first, it wraps ctx.Err() too.
func (c *Client) Do(ctx context.Context, r Request, read func(*http.Response) error) error {
	target, err := url.Parse(c.base.String() + r.Path)
	if err != nil || !strings.HasPrefix(r.Path, "/") {
		panic(fmt.Sprintf("transport: %q cannot be the path of a request", r.Path))
	}
	if r.ID == "" && c.options.IDHeader != "" {
		r.ID = rand.Text()
	}
	tries := uint(max(1, c.options.Retry.Attempts))
	if r.Once {
		tries = 1
	}
	c.requests.Add(1)
	wait := &waits{ExponentialBackOff: &backoff.ExponentialBackOff{
		InitialInterval: c.options.Retry.Backoff, MaxInterval: c.options.Retry.MaxBackoff,
		RandomizationFactor: 0.5, Multiplier: 1.5,
	}}
	var last error
	attempt := 0
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		attempt++
		key := c.keys()[0]
		last = c.try(ctx, r, target, read)
		status, _ := errors.AsType[*StatusError](last)
		if status != nil && status.Status == http.StatusUnauthorized && c.renew(key) {
			last = c.try(ctx, r, target, read)
			status, _ = errors.AsType[*StatusError](last)
		}
		wait.after = 0
		if status != nil {
			wait.after = status.RetryAfter
		}
		if last != nil && !Retryable(last) {
			return struct{}{}, backoff.Permanent(last)
		}
		return struct{}{}, last
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(tries), backoff.WithMaxElapsedTime(c.options.Retry.Elapsed),
		backoff.WithNotify(func(err error, next time.Duration) {
			if c.options.Log != nil {
				c.options.Log.WarnContext(ctx, "remote: trying again", "error", err.Error(), "attempt", attempt, "wait", next)
			}
		}))
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && !errors.Is(last, ctx.Err()) {
		return fmt.Errorf("%w; before that, %w", ctx.Err(), last)
	}
	return last
}

// waits adds what the server asked for to the wait before the next attempt.
type waits struct {
	*backoff.ExponentialBackOff
	after time.Duration
}

func (w *waits) NextBackOff() time.Duration { return w.after + w.ExponentialBackOff.NextBackOff() }

// try is one attempt.
func (c *Client) try(ctx context.Context, r Request, target *url.URL, read func(*http.Response) error) (err error) {
	start := time.Now()
	c.attempts.Add(1)
	c.inFlight.Add(1)
	defer func() {
		c.inFlight.Add(-1)
		c.busy.Add(int64(time.Since(start)))
		if err != nil {
			c.failed.Add(1)
		}
	}()
	whole := ctx
	heard, silent := func() {}, &atomic.Bool{}
	if r.Silence > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		t := time.AfterFunc(r.Silence, func() { silent.Store(true); cancel() })
		defer t.Stop()
		heard = func() { t.Reset(r.Silence) }
	}
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	fail := func(err error) error {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // the rest repeats the URL, not redacted
		}
		switch {
		case ctx.Err() == nil || whole.Err() != nil:
		case silent.Load(): // not as cancelled, which is not repeated
			err = fmt.Errorf("not a byte of the answer for %v", r.Silence)
		default:
			err = fmt.Errorf("no answer within %v: %w", r.Timeout, err)
		}
		return &CallError{Method: r.Method, URL: remote.Redact(target), Err: err, keys: c.keys}
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, target.String(), bytes.NewReader(r.Body))
	if err != nil {
		return Permanent(fail(err))
	}
	for name, value := range map[string]string{"Content-Type": r.ContentType, "Accept": r.Accept, c.options.IDHeader: r.ID} {
		if name != "" && value != "" {
			request.Header.Set(name, value)
		}
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fail(err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(response.Body, maxHead)) // what there is of it
		return &StatusError{
			Method: r.Method, URL: remote.Redact(target), Status: response.StatusCode,
			Body:       Clean(hide(string(text), c.keys()), maxExcerpt),
			RetryAfter: retryAfter(response.Header.Get("Retry-After"), time.Now()),
		}
	}
	if r.MaxBody == 0 {
		r.MaxBody = c.options.MaxBody
	}
	response.Body = &bounded{ReadCloser: response.Body, left: r.MaxBody, max: r.MaxBody, heard: heard}
	if read != nil {
		if err := read(response); err != nil {
			return fail(err)
		}
	}
	// What is left of a short body is read, so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, response.Body, 4096)
	return nil
}

// bounded gives an error after max bytes instead of the end. It calls heard with each read.
type bounded struct {
	io.ReadCloser
	left, max int64
	heard     func()
}

func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.heard()
	if b.left -= int64(n); b.left < 0 {
		return n + int(b.left), Permanent(fmt.Errorf("%w, want at most %d bytes", ErrTooLarge, b.max))
	}
	return n, err
}

// Sleep waits for d or for the end of ctx, whose error it returns.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package tinker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/stepwise-rl/stepwise/remote/internal/transport"
)

const protobuf = "application/x-protobuf"

// failure is what a server says about a request that it accepted and could not do.
// Another attempt would fail too.
type failure struct{ what, text string }

func (f *failure) Error() string {
	return fmt.Sprintf("tinker: %s: the server says %q", f.what, f.text)
}

// submit sends a request that is answered by a future and returns the future's id.
func (c *Client) submit(ctx context.Context, r transport.Request) (string, error) {
	var answer struct {
		RequestID string `json:"request_id"`
	}
	err := c.http.Do(ctx, r, transport.JSON(&answer))
	c.hear(err)
	if err != nil {
		return "", err
	}
	if answer.RequestID == "" {
		return "", fmt.Errorf("tinker: the answer to %s has no request_id", r.Path)
	}
	return answer.RequestID, nil
}

// await polls for the result of a future of a session until it is there. what names
// the request in errors. read gets the result: JSON, or protobuf if asProto is set.
// Its error counts as an answer that was damaged on its way, so the result is asked
// for again.
//
// A poll that ends without a result (408, or the bound of Config.Poll) is followed
// by the next one at once, without limit: a result may take as long as it takes, if
// the server answers anything meanwhile. Polls that fail are bounded by Config.Retry
// from the first failure on.
func (c *Client) await(ctx context.Context, session, id, what string, asProto bool, read func([]byte) error) error {
	r := c.request("/retrieve_future", map[string]any{"request_id": id})
	r.Once, r.Timeout = true, c.config.Poll
	if asProto {
		r.Accept = protobuf
	}
	begun := time.Now()
	var failing time.Time // since when; zero = the last poll was answered
	failures, damaged := 0, false
	check := func(b []byte) error {
		err := read(b)
		damaged = err != nil
		return err
	}
	for {
		if err := c.alive(session); err != nil {
			return err
		}
		asked := time.Now()
		damaged = false
		again, err := c.poll(ctx, r, what, asProto, check)
		c.hear(err)
		switch status := statusOf(err); {
		case err == nil && !again:
			c.results.Add(1)
			c.waited.Add(int64(time.Since(begun)))
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case isFailure(err) != nil:
			return isFailure(err)
		case err == nil || status == http.StatusRequestTimeout || status == 0 && errors.Is(err, context.DeadlineExceeded):
			failures = 0
			if silent := c.silent(); silent != nil {
				return fmt.Errorf("tinker: %s: no result: %w: %w", what, silent, err)
			}
			// A server that does not hold the request is not asked without pause.
			if err := transport.Sleep(ctx, c.config.Retry.Backoff-time.Since(asked)); err != nil {
				return err
			}
			continue
		case status == http.StatusNotFound || status == http.StatusGone:
			return fmt.Errorf("tinker: %s: the server has lost the request: %w", what, err)
		case failed(err, what) != nil:
			return failed(err, what)
		case status == http.StatusBadRequest && failures < 3:
			// Without the server's own words: perhaps an intermediary's.
		case !transport.Retryable(err):
			return err
		}
		if failures++; failures == 1 {
			failing = time.Now()
		}
		wait := c.backoff(failures, err)
		if damaged { // it is not the server that needs time
			wait = c.config.Retry.Backoff
		}
		if c.enough(failures, failing, wait) {
			return fmt.Errorf("tinker: %s: no result after %d polls: %w", what, failures, err)
		}
		if err := transport.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// enough reports whether Config.Retry allows no further attempt after failures of
// them since then, and a wait, which is as long as a server says.
func (c *Client) enough(failures int, since time.Time, wait time.Duration) bool {
	return failures >= max(c.config.Retry.Attempts, 1) || time.Since(since)+wait > c.config.Retry.Elapsed
}

// backoff is the wait after a number of failures, the last of which was err.
func (c *Client) backoff(failures int, err error) time.Duration {
	wait := min(c.config.Retry.Backoff<<min(failures-1, 20), c.config.Retry.MaxBackoff)
	wait = wait/2 + rand.N(wait+1) // not all clients at once
	if s, ok := errors.AsType[*transport.StatusError](err); ok {
		wait += s.RetryAfter
	}
	return wait
}

// poll asks for a result once. again is set if the server has none yet.
func (c *Client) poll(ctx context.Context, r transport.Request, what string, asProto bool, read func([]byte) error) (again bool, err error) {
	err = c.http.Do(ctx, r, func(h *http.Response) error {
		body, err := io.ReadAll(h.Body)
		if err != nil {
			return err
		}
		kind, _, _ := mime.ParseMediaType(h.Header.Get("Content-Type"))
		if kind == protobuf {
			if !asProto {
				return fmt.Errorf("the result of %s is protobuf, want JSON", what)
			}
			return read(body)
		}
		var state struct {
			Type  string  `json:"type"`
			Error *string `json:"error"`
		}
		if err := json.Unmarshal(body, &state); err != nil {
			return fmt.Errorf("the result of %s is neither protobuf nor JSON: %w", what, err)
		}
		switch {
		case state.Type == "try_again":
			again = true
			return nil
		case state.Error != nil:
			return transport.Permanent(&failure{what, transport.Clean(*state.Error, 512)})
		case asProto:
			return transport.Permanent(fmt.Errorf("the result of %s is JSON, want protobuf: the server is older than SDK 0.25", what))
		}
		return read(body)
	})
	return again, err
}

func isFailure(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	return nil
}

// failed returns the failure that a status 400 with a detail stands for; nil if it
// is none.
func failed(err error, what string) error {
	s, ok := errors.AsType[*transport.StatusError](err)
	if !ok || s.Status != http.StatusBadRequest || !strings.HasPrefix(s.Body, `{"detail":`) {
		return nil
	}
	var body struct {
		Detail string `json:"detail"`
	}
	if json.Unmarshal([]byte(s.Body), &body) != nil {
		body.Detail = s.Body // cut short, or not a string
	}
	return &failure{what, transport.Clean(body.Detail, 512)}
}

// into returns a function that reads JSON into v.
func into(v any) func([]byte) error {
	return func(b []byte) error { return json.Unmarshal(b, v) }
}

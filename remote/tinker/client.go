package tinker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stepwise-rl/stepwise/remote"
	"github.com/stepwise-rl/stepwise/remote/internal/transport"
)

// Config says how a server is reached. The zero value of a duration or a Retry means
// the default.
type Config struct {
	// Endpoint is the server; its URL is what comes before /api/v1. The key, if there is
	// one, is sent as X-API-Key.
	Endpoint remote.Endpoint `json:"endpoint"`
	// Retry bounds the attempts of a request. It also bounds how long a result is
	// waited for while polls fail, or the server answers nothing at all, heartbeats
	// included. Polls of a server that does not hold them are Backoff apart, 200 ms if
	// that is 0. The zero value means 10 attempts within 5 minutes.
	Retry remote.Retry `json:"retry"`
	// Heartbeat is the time between two signs of life; 0 means 10 s. A server
	// frees the models of a session that gives none (SkyRL after 300 s).
	Heartbeat time.Duration `json:"heartbeat"`
	// Timeout bounds each attempt at a request that servers answer at once, which
	// are all but the wait for a result; 0 means 1 minute.
	Timeout time.Duration `json:"timeout"`
	// Poll bounds each wait for a result, after which the client asks again; 0
	// means 45 s.
	Poll time.Duration `json:"poll"`
	// Log gets a line for each attempt that failed and is repeated; nil = none.
	Log *slog.Logger `json:"-"`
}

func (c Config) withDefaults() Config {
	if c.Retry == (remote.Retry{}) {
		c.Retry = remote.Retry{Attempts: 10, Elapsed: 5 * time.Minute, Backoff: 200 * time.Millisecond, MaxBackoff: 30 * time.Second}
	}
	c.Heartbeat = cmp.Or(c.Heartbeat, 10*time.Second)
	if c.Retry.Backoff == 0 { // of a single attempt
		c.Retry.Backoff = 200 * time.Millisecond
		c.Retry.MaxBackoff = max(c.Retry.MaxBackoff, c.Retry.Backoff)
	}
	c.Timeout = cmp.Or(c.Timeout, time.Minute)
	c.Poll = cmp.Or(c.Poll, 45*time.Second)
	c.Log = cmp.Or(c.Log, slog.New(slog.DiscardHandler))
	return c
}

// Validate returns an error that names an invalid setting.
func (c Config) Validate() error {
	if c.Heartbeat < 0 || c.Timeout < 0 || c.Poll < 0 {
		return fmt.Errorf("tinker: Config.Heartbeat is %v, Timeout %v and Poll %v, want 0 (for the default) or more", c.Heartbeat, c.Timeout, c.Poll)
	}
	if strings.HasSuffix(strings.TrimRight(c.Endpoint.URL, "/"), "/api/v1") {
		return errors.New("tinker: Config.Endpoint.URL ends in /api/v1, which the client adds: want it without")
	}
	return errors.Join(c.Endpoint.Validate(), c.Retry.Validate())
}

// Client is a connection to a server. Policies and engines share it. It is safe for
// concurrent use. Close it in the end: it keeps its sessions alive until then.
type Client struct {
	config Config
	http   *transport.Client

	stop context.CancelFunc
	done chan struct{} // closed when the heartbeat has ended

	results, waited atomic.Int64 // that arrived, and the nanoseconds that took
	began           time.Time    // when the client was made
	heard           atomic.Int64 // when the server last answered anything, in nanoseconds since then

	mu       sync.Mutex
	sessions map[string]error // live ones, and why the server dropped them
	held     map[string]int   // by engines of this client: weights that must not be deleted
	counted  counts           // at the last call of Metrics
}

// New returns a client. It reads the key and sends nothing.
func New(c Config) (*Client, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	h, err := transport.New(c.Endpoint, transport.Options{
		// No header of idempotency: servers do not look at it, and with it net/http
		// would send even a create_model twice.
		KeyHeader: "X-API-Key", Retry: c.Retry, Log: c.Log,
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	client := &Client{config: c, http: h, stop: stop, done: make(chan struct{}), began: time.Now(), sessions: map[string]error{}, held: map[string]int{}}
	client.counted.at = client.began
	go client.heartbeat(ctx)
	return client, nil
}

// Close ends the heartbeat, so that the server frees what the client's sessions hold,
// and closes idle connections. Policies and engines of the client must not be used
// afterwards.
func (c *Client) Close() {
	c.stop()
	<-c.done
	c.http.Close()
}

// Metrics returns what the client did since the last call of it, for a rl.Recorder:
//
//	tinker/requests         requests, and polls for their results
//	tinker/retries          attempts after the first of a request
//	tinker/failed           attempts without an answer, or with one that says to wait
//	tinker/in_flight        requests and polls under way, as a mean over the time
//	tinker/server_seconds   mean time of an attempt
//	tinker/results          results that arrived
//	tinker/result_seconds   mean time from the first poll to the result
func (c *Client) Metrics() map[string]float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := counts{c.http.Stats(), c.results.Load(), time.Duration(c.waited.Load()), time.Now()}
	was := c.counted
	c.counted = now
	attempts := float64(now.Attempts - was.Attempts)
	busy, results := (now.Busy - was.Busy).Seconds(), float64(now.results-was.results)
	return map[string]float64{
		"tinker/requests":       float64(now.Requests - was.Requests),
		"tinker/retries":        attempts - float64(now.Requests-was.Requests),
		"tinker/failed":         float64(now.Failed - was.Failed),
		"tinker/in_flight":      busy / max(now.at.Sub(was.at).Seconds(), 1e-9),
		"tinker/server_seconds": busy / max(attempts, 1),
		"tinker/results":        results,
		"tinker/result_seconds": (now.waited - was.waited).Seconds() / max(results, 1),
	}
}

// counts is what Metrics takes the difference of.
type counts struct {
	transport.Stats
	results int64
	waited  time.Duration
	at      time.Time
}

// heartbeat gives the signs of life of all sessions until ctx is done.
func (c *Client) heartbeat(ctx context.Context) {
	defer close(c.done)
	tick := time.NewTicker(c.config.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		var live []string
		for id, err := range c.sessions {
			if err == nil {
				live = append(live, id)
			}
		}
		c.mu.Unlock()
		for _, id := range live {
			r := c.request("/session_heartbeat", map[string]any{"session_id": id, "type": "session_heartbeat"})
			r.Once = true
			err := c.http.Do(ctx, r, nil)
			c.hear(err)
			if statusOf(err) == http.StatusNotFound || statusOf(err) == http.StatusGone {
				c.mu.Lock()
				if _, ok := c.sessions[id]; ok {
					c.sessions[id] = fmt.Errorf("tinker: the server has dropped the session: %w", err)
				}
				c.mu.Unlock()
			} else if err != nil && ctx.Err() == nil {
				c.config.Log.Warn("tinker: no heartbeat", "error", err.Error())
			}
		}
	}
}

// newSession starts a session, which the heartbeat keeps alive until endSession.
func (c *Client) newSession(ctx context.Context) (string, error) {
	var answer struct {
		SessionID string `json:"session_id"`
	}
	r := c.request("/create_session", map[string]any{"tags": []string{}, "sdk_version": "stepwise", "type": "create_session"})
	err := c.http.Do(ctx, r, transport.JSON(&answer))
	c.hear(err)
	if err != nil {
		return "", err
	}
	if answer.SessionID == "" {
		return "", errors.New("tinker: create_session gave no session_id")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions[answer.SessionID] = nil
	return answer.SessionID, nil
}

// endSession lets a session expire; the protocol has no call for it.
func (c *Client) endSession(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, id)
}

// alive returns why the server dropped a session; nil if it has not.
func (c *Client) alive(session string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessions[session]
}

// hear notes that a request was answered, unless err says that it was not.
func (c *Client) hear(err error) {
	if err == nil || statusOf(err) != 0 {
		c.heard.Store(int64(time.Since(c.began))) // whatever becomes of the clock
	}
}

// patience is how long a server may keep silent.
func (c *Client) patience() time.Duration {
	return max(c.config.Retry.Elapsed, c.config.Timeout, 3*c.config.Heartbeat)
}

// silent returns an error if the server has answered nothing for so long, heartbeats
// neither, that it is not just busy with a result.
func (c *Client) silent() error {
	silence := time.Since(c.began) - time.Duration(c.heard.Load())
	if silence <= c.patience() {
		return nil
	}
	return fmt.Errorf("the server has answered nothing for %v, heartbeats neither", silence.Round(time.Millisecond))
}

// request returns a POST of JSON. The body is of this package's making.
func (c *Client) request(path string, body any) transport.Request {
	r, err := transport.PostJSON("/api/v1"+path, body)
	if err != nil {
		panic(err)
	}
	r.Timeout = c.config.Timeout
	return r
}

// statusOf returns the status of an answer that was not 2xx; 0 for other errors.
func statusOf(err error) int {
	if s, ok := errors.AsType[*transport.StatusError](err); ok {
		return s.Status
	}
	return 0
}

package serve

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Config holds the settings of a server. Zero values mean the defaults.
type Config struct {
	// Token, if not empty, must come with every request as "Authorization: Bearer
	// TOKEN", save for /healthz, /readyz, /openapi.json and the page.
	Token string
	// Timeout is how long a request may take to be answered, waiting included; 0 means
	// 10 s. Its header and its body may take as long again, each.
	Timeout time.Duration
	// Wait is how long a batch that is not full waits for requests of others; 0 means
	// 500 µs, negative not at all.
	Wait time.Duration
	// MaxBatch is the most documents that are scored at once; 0 means 64. They are fewer as
	// long as a batch takes more than a quarter of Timeout, or all its clients give it up. It
	// does not bound a Scorer that is no relevance.PairScorer, which gets whole requests.
	MaxBatch int
	// MaxQueue is the most documents that may wait in all; 0 means 4096. A request
	// beyond is refused with 429.
	MaxQueue int
	// MaxRequests is the most requests that are read or scored at a time; 0 means 256.
	MaxRequests int
	// MaxDocuments is the most documents of a request; 0 means 1000.
	MaxDocuments int
	// MaxBody and MaxText are the most bytes of a request's body and of the texts of a
	// document, or of a query; 0 means 8 MiB and 256 KiB.
	MaxBody, MaxText int
	// MaxHeld is the most bytes of the bodies of all requests together, from their first
	// byte to the end of the answer; 0 means 128 MiB, or MaxBody if that is more. A request
	// that would exceed it is refused with 429. In memory a body takes three to four times its
	// size, with what is decoded of it (TestMemoryOfABody).
	MaxHeld int
	// DrainDelay is how long the server still accepts requests after its context has
	// ended, while /readyz fails, so that load balancers notice; 0 means not at all.
	DrainDelay time.Duration
	// Log gets a line for each request, without its texts; nil means none.
	Log *slog.Logger
	// LogTexts writes queries and documents to the log as well, to find faults.
	LogTexts bool
}

// Validate returns an error that names every invalid setting.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	for _, f := range []struct {
		name string
		v    int
	}{{"MaxBatch", c.MaxBatch}, {"MaxQueue", c.MaxQueue}, {"MaxRequests", c.MaxRequests}, {"MaxDocuments", c.MaxDocuments},
		{"MaxBody", c.MaxBody}, {"MaxText", c.MaxText}} {
		if f.v < 1 {
			errs = append(errs, fmt.Errorf("serve: Config.%s is %d, want at least 1", f.name, f.v))
		}
	}
	if c.MaxQueue < c.MaxDocuments {
		errs = append(errs, fmt.Errorf("serve: Config.MaxQueue is %d, want at least MaxDocuments (%d), or a large request is always refused", c.MaxQueue, c.MaxDocuments))
	}
	if c.MaxHeld < c.MaxBody {
		errs = append(errs, fmt.Errorf("serve: Config.MaxHeld is %d, want at least MaxBody (%d), or a large request is always refused", c.MaxHeld, c.MaxBody))
	}
	if c.Timeout < 0 || c.DrainDelay < 0 {
		errs = append(errs, fmt.Errorf("serve: Config.Timeout is %v, DrainDelay %v, want no negative time", c.Timeout, c.DrainDelay))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.Timeout = cmp.Or(c.Timeout, 10*time.Second)
	c.Wait = cmp.Or(c.Wait, 500*time.Microsecond)
	c.MaxBatch = cmp.Or(c.MaxBatch, 64)
	c.MaxQueue = cmp.Or(c.MaxQueue, 4096)
	c.MaxRequests = cmp.Or(c.MaxRequests, 256)
	c.MaxDocuments = cmp.Or(c.MaxDocuments, 1000)
	c.MaxBody = cmp.Or(c.MaxBody, 8<<20)
	c.MaxText = cmp.Or(c.MaxText, 256<<10)
	c.MaxHeld = cmp.Or(c.MaxHeld, max(128<<20, c.MaxBody))
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

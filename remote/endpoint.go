package remote

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Endpoint says how a server is reached.
type Endpoint struct {
	// URL is the base that paths are added to, such as "http://10.0.0.7:8000" or
	// "https://judge.example.com/v1". It must have no user, password, query or
	// fragment: settings are written into run folders. The path must be no secret
	// either: errors and logs print it. A key belongs in Key.
	URL string `json:"url"`
	// Key says where the server's key is; the zero Key sends none.
	Key Key `json:"key"`
	// CAFile names a file of PEM certificates. If it is set, these authorities are
	// trusted instead of the system's. Only for https.
	CAFile string `json:"ca_file"`
}

// Validate returns an error that names an invalid setting. It reads no files.
func (e Endpoint) Validate() error {
	u, err := url.Parse(e.URL)
	switch {
	case e.URL == "":
		return errors.New("remote: Endpoint.URL is empty, want http:// or https:// and a host")
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		// Not the text: who knows what is in it.
		return errors.New("remote: Endpoint.URL is no URL, want http:// or https:// and a host")
	case u.User != nil:
		return fmt.Errorf("remote: Endpoint.URL is %s with a user or password, want it without: use Endpoint.Key", e)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fmt.Errorf("remote: Endpoint.URL is %s with a query or fragment, want it without", e)
	case e.CAFile != "" && u.Scheme != "https":
		return fmt.Errorf("remote: Endpoint.CAFile is %q, but the URL is %s, want https", e.CAFile, e)
	}
	return e.Key.Validate()
}

// String returns the URL without what may be secret in it: see [Redact].
func (e Endpoint) String() string {
	u, err := url.Parse(e.URL)
	if err != nil || u.Host == "" {
		return "(no URL)"
	}
	return Redact(u)
}

// Redact returns scheme, host and path of a URL. User, password, query and fragment
// can hold secrets (the signature of a download link, for example) and are left out.
// A query that was there shows as "?...".
func Redact(u *url.URL) string {
	r := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	s := r.String()
	if u.RawQuery != "" {
		s += "?..."
	}
	return s
}

// Key says where an API key is: in an environment variable or in a file, not both.
// The zero Key means that there is none.
type Key struct {
	// Env names an environment variable.
	Env string `json:"env"`
	// File names a file with nothing but the key. White space around it does not
	// count. The file is read again when the server refuses the key (status 401), so
	// that a run outlives a key that is replaced.
	File string `json:"file"`
}

// Validate returns an error if both are set, or if Env cannot be the name of a
// variable, because it is the key itself for example.
func (k Key) Validate() error {
	if k.Env != "" && k.File != "" {
		return errors.New("remote: Key has both Env and File, want one of them")
	}
	name := func(r rune) bool {
		return r == '_' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9'
	}
	if len(k.Env) > 64 || strings.TrimFunc(k.Env, name) != "" || strings.ContainsFunc(k.Env, func(r rune) bool { return !name(r) }) {
		return errors.New("remote: Key.Env is no name of a variable, want letters, digits and _, at most 64 (the name, not the key)")
	}
	return nil
}

// Retry bounds how often a request is sent, and for how long. The zero Retry sends
// it once.
type Retry struct {
	// Attempts is how often a request is sent at most, the first time included;
	// 0 means 1.
	Attempts int `json:"attempts"`
	// Elapsed is the time after which no further attempt starts. It is required
	// for more than one attempt.
	Elapsed time.Duration `json:"elapsed"`
	// Backoff and MaxBackoff bound the wait between attempts: Backoff before the
	// second, half as much again before each later one up to MaxBackoff, each time
	// changed at random by up to a half. A server that says Retry-After is given
	// that much more time. Both are required for more than one attempt.
	Backoff    time.Duration `json:"backoff"`
	MaxBackoff time.Duration `json:"max_backoff"`
}

// Validate returns an error that names an invalid setting.
func (r Retry) Validate() error {
	switch {
	case r.Attempts < 0:
		return fmt.Errorf("remote: Retry.Attempts is %d, want 0 or more", r.Attempts)
	case r.Attempts > 1 && r.Elapsed <= 0:
		return fmt.Errorf("remote: Retry.Elapsed is %v, want a bound for %d attempts", r.Elapsed, r.Attempts)
	case r.Attempts > 1 && r.Backoff <= 0:
		return fmt.Errorf("remote: Retry.Backoff is %v, want a wait between %d attempts", r.Backoff, r.Attempts)
	case r.Attempts > 1 && r.MaxBackoff < r.Backoff:
		return fmt.Errorf("remote: Retry.MaxBackoff is %v, want at least Backoff, %v", r.MaxBackoff, r.Backoff)
	}
	return nil
}

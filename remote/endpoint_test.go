package remote_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/internal/settings"
	"github.com/stepwise-rl/stepwise/remote"
)

func TestEndpoint(t *testing.T) {
	for _, e := range []remote.Endpoint{
		{URL: "http://10.0.0.7:8000"},
		{URL: "https://judge.example.com/v1/", Key: remote.Key{Env: "JUDGE_KEY"}, CAFile: "ca.pem"},
		{URL: "http://[::1]:80", Key: remote.Key{File: "/run/secrets/key"}},
	} {
		require.NoError(t, e.Validate())
		b, err := settings.Encode(e)
		require.NoError(t, err)
		again, err := settings.Decode(b, remote.Endpoint{})
		require.NoError(t, err)
		require.Equal(t, e, again)
		require.Equal(t, e.URL, e.String())
	}
	for want, e := range map[string]remote.Endpoint{
		"URL is empty, want http:// or https://":      {},
		"Endpoint.URL is no URL":                      {URL: "ftp://secret.example.com"},
		"URL is no URL":                               {URL: "://user:secret@x"},
		"is https://x/v1 with a user or password":     {URL: "https://user:secret@x/v1"},
		"is https://x/v1?... with a query":            {URL: "https://x/v1?key=secret"},
		"is https://x with a query or fragment":       {URL: "https://x#secret"},
		"CAFile is \"ca.pem\", but the URL is http:/": {URL: "http://x", CAFile: "ca.pem"},
		"both Env and File":                           {URL: "http://x", Key: remote.Key{Env: "A", File: "b"}},
		"Key.Env is no name":                          {URL: "http://x", Key: remote.Key{Env: "sk-secret"}},
	} {
		err := e.Validate()
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "secret")
		require.NotContains(t, e.String(), "user:")
		require.NotContains(t, e.String(), "key=")
	}
}

func TestRetry(t *testing.T) {
	good := remote.Retry{Attempts: 5, Elapsed: time.Minute, Backoff: time.Second, MaxBackoff: 10 * time.Second}
	require.NoError(t, good.Validate())
	require.NoError(t, remote.Retry{}.Validate())
	require.NoError(t, remote.Retry{Attempts: 1}.Validate())
	b, err := settings.Encode(good)
	require.NoError(t, err)
	require.JSONEq(t, `{"attempts":5,"elapsed":"1m0s","backoff":"1s","max_backoff":"10s"}`, string(b))
	for want, change := range map[string]func(*remote.Retry){
		"Attempts is -1": func(r *remote.Retry) { r.Attempts = -1 },
		"Elapsed is 0s":  func(r *remote.Retry) { r.Elapsed = 0 },
		"Backoff is 0s":  func(r *remote.Retry) { r.Backoff = 0 },
		"MaxBackoff is ": func(r *remote.Retry) { r.MaxBackoff = 1 },
	} {
		r := good
		change(&r)
		require.ErrorContains(t, r.Validate(), want)
	}
}

// Package transport sends HTTP requests for the drivers of remote: the one place
// that knows a key, retries, and decides what of a server's answer may appear in an
// error.
//
// A [Client] belongs to one server. [Client.Do] sends a request until it is answered
// with a 2xx status whose body the caller's function could read, or until the bounds
// of remote.Retry are reached. What can go wrong has a type: [StatusError] for an
// answer with another status, [CallError] for everything else. [Retryable] tells
// whether another attempt may help.
//
// Bodies are raw bytes or JSON ([PostJSON], [JSON], [Bytes]); a function that reads
// from http.Response.Body streams. The size of every body is bounded.
package transport

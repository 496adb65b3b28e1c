// Package objective holds losses as functions of per-token log-probs, with
// their derivatives, and the aggregations that turn masks into token weights.
package objective

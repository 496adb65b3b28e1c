package serve

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"

	"github.com/stepwise-rl/stepwise/relevance"
)

// scoreAnswer is the answer of /v1/score.
type scoreAnswer struct {
	ID      string        `json:"id"`
	Model   identity      `json:"model"`
	Labels  []string      `json:"labels"`
	Results []scoreResult `json:"results"`
}

// scoreResult is what is said of one document, in the order of the request.
type scoreResult struct {
	Index int `json:"index"`
	// Label is "" and Grade and Relevance are null if nothing is known.
	Label     string                `json:"label"`
	P         []float64             `json:"p,omitempty"`
	Grade     *float64              `json:"grade"`
	Relevance *float64              `json:"relevance_score"`
	ByGrade   string                `json:"label_by_grade,omitempty"`
	Malformed bool                  `json:"malformed,omitempty"`
	Steps     []relevance.StepScore `json:"steps,omitempty"`
}

// rerankAnswer is the answer of /rerank.
type rerankAnswer struct {
	ID      string         `json:"id"`
	Model   string         `json:"model"`
	Results []rerankResult `json:"results"`
	Usage   usage          `json:"usage"`
	Meta    rerankMeta     `json:"meta"`
}

type usage struct {
	TotalTokens int `json:"total_tokens"`
}

type rerankMeta struct {
	Digest string `json:"model_digest"`
	// Unscorable counts the documents that are missing in the results because their
	// grade is not known.
	Unscorable int `json:"unscorable,omitempty"`
}

type rerankResult struct {
	Index     int             `json:"index"`
	Relevance float64         `json:"relevance_score"`
	Document  json.RawMessage `json:"document,omitempty"`
}

// unscorable reports whether nothing is known. JSON has no grade that is not finite.
func unscorable(s *relevance.Score) bool { return math.IsNaN(s.Grade) || math.IsInf(s.Grade, 0) }

// relevanceScore is the expected grade on [0, 1].
func relevanceScore(s *relevance.Score, labels int) float64 {
	return min(max(s.Grade/float64(labels-1), 0), 1)
}

func (s *Server) score(w http.ResponseWriter, r *http.Request) {
	in := intake{s: s}
	defer in.leave()
	var q scoreRequest
	p := in.read(w, r, &q)
	if p == nil && q.Steps && !s.batcher.current().reasons() {
		p = wrong(http.StatusUnprocessableEntity, "steps: this model classifies and writes no steps")
	}
	var documents []document
	if p == nil {
		documents, p = s.c.documents(q.Documents)
	}
	var done scored
	if p == nil {
		done, p = s.run(w, r, q.Query, documents, q.Steps)
	}
	if p != nil {
		refuse(w, p)
		return
	}
	a := scoreAnswer{ID: w.Header().Get("X-Request-ID"), Model: done.model.identity(), Labels: done.model.labels, Results: make([]scoreResult, len(done.scores))}
	for i := range done.scores {
		one := &done.scores[i]
		a.Results[i] = scoreResult{Index: i, Malformed: one.Malformed}
		if !unscorable(one) { // else label and distribution would mean nothing either
			a.Results[i].Label, a.Results[i].ByGrade = one.Label, one.ByGrade
			grade, rel := one.Grade, relevanceScore(one, len(done.model.labels))
			a.Results[i].P, a.Results[i].Grade, a.Results[i].Relevance = one.P, &grade, &rel
		}
		if q.Steps {
			a.Results[i].Steps = one.Steps
		}
	}
	respond(w, a)
}

func (s *Server) rerank(w http.ResponseWriter, r *http.Request) {
	in := intake{s: s}
	defer in.leave()
	var q rerankRequest
	p := in.read(w, r, &q)
	if p == nil && q.TopN != nil && *q.TopN < 1 {
		p = wrong(http.StatusUnprocessableEntity, "top_n: %d, want at least 1", *q.TopN)
	}
	var documents []document
	if p == nil {
		documents, p = s.c.documents(q.Documents)
	}
	var done scored
	if p == nil {
		done, p = s.run(w, r, q.Query, documents, false)
	}
	if p != nil {
		refuse(w, p)
		return
	}
	a := rerankAnswer{ID: w.Header().Get("X-Request-ID"), Model: done.model.Version, Results: []rerankResult{}, Meta: rerankMeta{Digest: done.model.Digest}}
	for i := range done.scores {
		a.Usage.TotalTokens += done.scores[i].Tokens()
		if unscorable(&done.scores[i]) {
			a.Meta.Unscorable++
			continue
		}
		a.Results = append(a.Results, rerankResult{Index: i, Relevance: relevanceScore(&done.scores[i], len(done.model.labels))})
	}
	slices.SortStableFunc(a.Results, func(x, y rerankResult) int {
		switch {
		case x.Relevance > y.Relevance:
			return -1
		case x.Relevance < y.Relevance:
			return 1
		}
		return 0
	})
	if q.TopN != nil {
		a.Results = a.Results[:min(*q.TopN, len(a.Results))]
	}
	if q.Return == nil || *q.Return {
		for i := range a.Results {
			a.Results[i].Document = documents[a.Results[i].Index].echo()
		}
	}
	respond(w, a)
}

package taskfile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const unjudged = `version: 1
name: shop
labels: [0, 1, 2]
data:
  documents: {file: shop.jsonl}
  weak: {pairs: 500, seed: 3}
criteria: [{kind: coverage}]
steps: [{name: coverage, rule: {criterion: coverage}}, {name: label}]
`

func catalogue() string {
	var b strings.Builder
	for i := range 20 {
		for _, thing := range []string{"desk lamp", "lamp bag", "tent"} {
			fmt.Fprintf(&b, "{\"title\": \"Acme L%d %s\"}\n", i, thing)
		}
	}
	return b.String()
}

// A catalogue without judgements is a task; the queries of a judged test set are none
// of its weak ones.
func TestWeakTask(t *testing.T) {
	got, err := open(t, unjudged, Options{}, "shop.jsonl", catalogue())
	require.NoError(t, err)
	assert.Len(t, got.Collection.Documents(), 60)
	assert.Contains(t, got.Reports[0].String(), "500 weak pairs (")
	s := got.Source
	counts := make(map[string]int)
	for i := range s.Size {
		e := s.Train(i)
		counts[e.Label()]++
		require.NotEmpty(t, e.Found)
		require.True(t, e.Weak)
		if e.Query == "tent" {
			assert.Equal(t, strings.HasSuffix(e.Document.Title, "tent"), e.Label() == "2", e.Document.Title)
		}
	}
	assert.Greater(t, counts["0"], 20)
	assert.Greater(t, counts["2"], 20)
	assert.NotEmpty(t, s.Validation)
	assert.Equal(t, TestName, s.Tests[0].Name)
	assert.True(t, s.Tests[0].Examples[0].Weak)

	judged := strings.Replace(unjudged, "  weak:", "  tests: [{name: JUDGED, pairs: {file: judged.csv}}]\n  weak:", 1)
	judged = strings.Replace(judged, "documents: {file", "documents: {columns: {id: title}, file", 1)
	got, err = open(t, judged, Options{}, "shop.jsonl", catalogue(), "judged.csv", "query,document_id,label\nlamps,Acme L1 lamp bag,0\ntent,Acme L2 tent,2\n")
	require.NoError(t, err)
	require.Len(t, got.Source.Tests, 1)
	assert.Equal(t, "Acme L1 lamp bag", got.Source.Tests[0].Examples[0].Document.Title)
	assert.False(t, got.Source.Tests[0].Examples[0].Weak)
	for i := range got.Source.Size {
		assert.NotContains(t, []string{"lamp", "lamps", "tent", "tents"}, got.Source.Train(i).Query)
	}
	assert.Contains(t, got.Reports[0].String(), "equal to a held one, 2 different")

	for change, want := range map[string]string{
		"weak: {pairs: 0}": "task.yaml:6:9: data.weak: has 0 pairs",
		"weak: {pairs: 5}\n  pairs: {file: shop.csv}": "data: has a file of pairs and weak ones",
	} {
		_, err := open(t, strings.Replace(unjudged, "weak: {pairs: 500, seed: 3}", change, 1), Options{}, "shop.jsonl", catalogue())
		assert.ErrorContains(t, err, want)
	}
	_, err = open(t, strings.Replace(unjudged, "  documents: {file: shop.jsonl}\n", "", 1), Options{})
	assert.ErrorContains(t, err, "data.documents: are missing")
	broken := catalogue() + "{}\n"
	_, err = open(t, unjudged, Options{}, "shop.jsonl", broken)
	assert.ErrorContains(t, err, `shop.jsonl:61: field "document": has neither title nor body`)
	got, err = open(t, strings.Replace(unjudged, "data:\n", "data:\n  on_bad_row: skip\n", 1), Options{}, "shop.jsonl", broken)
	require.NoError(t, err)
	assert.Equal(t, 1, got.Reports[0].Bad)
	_, err = open(t, unjudged, Options{}, "shop.jsonl", "{\"title\": \"x\"}\n")
	assert.ErrorContains(t, err, "data.weak: weak: fewer than two kinds")
}

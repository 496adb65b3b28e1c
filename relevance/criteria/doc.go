// Package criteria holds relevance criteria, each in one definition: the sentence
// that a prompt has, the code that judges a pair of query and document, the short
// fact that a prompt can state about the pair, and the reason that a trace gives.
//
// A [Collection] knows what can be learned of all documents without labels: how
// rare words are, which brands there are, what the documents look like that match
// a query. It prepares queries and documents, and a [Criterion], made by [New]
// from its name and parameters or as a plain Go value, judges them:
//
//	c := criteria.NewCollection(documents, criteria.DefaultRoles())
//	coverage, err := criteria.New("coverage", map[string]any{"field": "title"})
//	finding := coverage.Judge(c.Query("wireless mouse"), c.Document(d))
//
// [Row] makes numbers of the findings, for package linear. [Kinds] describes all kinds,
// and [Collection.Lacks] says what a criterion needs that the documents do not have.
package criteria

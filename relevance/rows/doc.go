// Package rows holds the form that every data source of the relevance job takes:
// judged pairs of a query and a document, with the true answer of every reasoning
// step where somebody knows it.
//
// A [Source] is all that a training run needs to know about its data: the
// reasoning steps with their rules (which become the prompt, the parser and the step
// rewards), the labels, an indexed stream of training examples, the test sets, and the
// text that shows an example to the model. Package taskfile makes one of a file.
//
// [Data] reads judged pairs from files of several formats. The simplest is one JSON
// object a line:
//
//	{"query": "wireless mouse", "document": {"title": "Logi M185", "body": "..."}, "label": 3}
//
// Files are UTF-8; a byte order mark and the line ends of Windows are accepted.
// Malformed rows are errors that name file, line and column, or are skipped and
// listed. Rows with the same query and document become one example. The [Report] says
// what was found.
package rows

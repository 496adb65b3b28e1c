// Package rows holds the form that every data source of the relevance program
// takes: judged pairs of a query and a document, with the true answer of every
// reasoning step where a rule can tell it.
//
// A [Source] is all that a training run needs to know about its data: the
// reasoning steps (which become the prompt and the parser), the labels, an
// indexed stream of training examples, the test sets, and the text that shows
// an example to the model. The packages notes (generated), chorus (a real
// judgement list) and lexical (rule-derived steps for any product search data)
// build sources; the program consumes them and knows no other difference
// between them.
//
// [ReadFile] reads a user's own data, one JSON object a line:
//
//	{"query": "wireless mouse", "document": {"title": "Logi M185", "body": "..."}, "label": 3}
//
// A document may also be a text.
package rows

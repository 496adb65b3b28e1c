// Package lexical turns any list of judged product pairs into a source with
// reasoning steps whose truth a rule can tell from the words alone:
//
//	head       the query's head noun (its last word) stands in the title
//	coverage   all words of the query stand in the title, or there and in the text, or not
//	accessory  the title names an accessory (a case, a cable) that the query does not
//	supplier   the query names a supplier, and the product is theirs or another's
//	grade      the label, as people judged it
//
// The rules compare stemmed words ([Words], [Stem]) of what the model reads: if its
// room is short, the texts are clipped first (rows.Source.Clip), so that no step
// asks for what the model cannot see. The model reads texts as they are, punctuation
// and capitals included; only white space becomes single spaces, which keeps each
// part on its line. The rules are crude on purpose. Each moves the grade a
// long way on product search data, none decides it.
package lexical

// Package notes generates the main job's data: notes as people write them in a
// lifestyle app, queries that search them, and a relevance label from -1 to 3
// whose every reason is known.
//
// A query asks for a category and up to three more things: a feature to have,
// a feature to do without, and one setting (a place, a time, a brand or a
// price). A note has a title, a body and a few structured facts. Words vary as
// they do in real search: synonyms (lodge for cabin), typos (cabn), places and
// times that contain others (norway, oslo; winter, january), facts that stand
// now in the text and now in a field, and passing mentions of other things.
//
// The label follows from four intermediate judgements, in this order:
//
//	category   is the note about what the query names: same, related, other
//	attribute  does the note state the wanted feature: met, unmet, none asked
//	setting    place, time, brand or price: met, unmet, none asked
//	exclusion  does the note have what the query rules out: clear, violated, none
//
//	other category           0
//	else exclusion violated -1
//	else related category    1
//	else something unmet     2
//	else                     3
//
// [Label] is that rule. Because a category that is off decides alone, and one
// unmet wish is enough, many answers are right although a step is wrong: the
// case that step-level credit is for.
//
// [Teacher] writes the traces for the supervised warm-up and errs on purpose:
// it misreads synonyms, typos and negations some of the time and now and then
// states a label without minding its own steps.
//
// Some pairs of a category with a feature or a setting are held out: no
// training example contains one, in its query or in its note, and every query
// of the LONGTAIL test set does, in words that are rare in training.
package notes

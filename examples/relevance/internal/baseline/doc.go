// Package baseline is multinomial logistic regression on sparse features: the
// yardstick that shows whether a label can be read from surface cues.
//
// [BagOfWords] gives it the words of the query and of the document, apart, so
// that it can learn which words go with which labels but not whether the two
// texts agree. [Overlap] gives it nothing but counts: how long the texts are
// and how many words they share. A task that either of them solves needs no
// reasoning.
package baseline

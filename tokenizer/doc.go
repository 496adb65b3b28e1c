// Package tokenizer turns text into token ids and back: byte-level byte-pair
// encoding (BPE), as GPT-2 introduced it and as Hugging Face's tokenizer.json
// stores it.
//
// # How a text is encoded
//
//  1. Added tokens inside the text are found first, the leftmost and, at one
//     place, the longest. A special token is an added one that stands for no
//     text: the end of a text, say.
//  2. What lies between them is cut into words by GPT-2's pattern: a
//     contraction ('s, 't, …), letters, digits, or other signs, each with at
//     most one space before it, or white space.
//  3. A word starts as its bytes, one token each, and the pair of neighbours
//     with the lowest rank is merged until no pair of the merge table is left.
//
// Every byte is a token, so every text can be encoded, valid UTF-8 or not, and
// the tokens' bytes put end to end are the text again.
//
// # Tokens, bytes and offsets
//
// [Tokenizer.Bytes] gives the bytes that a token stands for; special tokens
// have none. Package rollout builds a completion's text of them, and
// [Tokenizer.EncodeOffsets] gives the byte at which each token of a text ends.
// Spans of text are so mapped to spans of tokens without encoding anything a
// second time.
//
// # Training and files
//
// [Train] learns a vocabulary from a corpus, [Tokenizer.Save] writes it as
// tokenizer.json, and [Load] reads what Hugging Face's tokenizers library or
// this package wrote. A file that asks for something that this package does
// not do is an error that names the option; nothing is ignored that would
// change the ids.
//
// A Tokenizer does not change, so any number of goroutines may use it at once.
package tokenizer

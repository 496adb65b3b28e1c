// Package tokenizer turns text into token ids and back. It gives the ids that
// Hugging Face's tokenizers library gives, for four kinds of tokenizer:
// byte-level byte-pair encoding (GPT-2, RoBERTa, Llama 3, Qwen2 and 3, SmolLM), byte-pair
// encoding with byte fallback (Llama 2, as tokenizer.json or as a SentencePiece
// model), WordPiece (BERT) and Unigram (XLM-R). It can also learn a byte-level vocabulary.
//
//	tok, err := tokenizer.Load("tokenizer.json")
//	ids := tok.Encode("The miller's cat")
//	text := tok.Decode(ids)
//
// # How a text is encoded
//
//  1. Added tokens in the text are found first, from left to right, the longest
//     where several begin. Some of them are special tokens, which stand for no
//     text, such as the end of a text.
//  2. The text between them is normalised if the file says so: composed (NFC,
//     Qwen), lower-cased and stripped of accents (BERT), rewritten by a table (XLM-R),
//     or its spaces are marked (Llama 2). Some added tokens are looked for only in the normalised text.
//  3. The rest is cut into words. The patterns of GPT-2, Llama 3 and Qwen are
//     hand-written scanners, which take time in proportion to the length of any
//     text. Other patterns are run as regular expressions, with a limit of a
//     second per word; if that passes, the rest of the text is one word.
//  4. A word becomes tokens. In byte-pair encoding it starts as its bytes or
//     characters, and the neighbours with the lowest rank are merged until the
//     merge table has no pair of neighbours: O(n log n) for n bytes. WordPiece
//     takes the longest token that fits, from left to right. Unigram takes the tokens
//     whose log-probs have the largest sum.
//
// [Tokenizer.AddSpecial] adds the tokens that the model expects around a text, such
// as Llama 3's <|begin_of_text|>. A chat template usually writes them itself.
//
// Except in WordPiece and Unigram every byte has a token, so that every text can be encoded,
// valid UTF-8 or not, and decoding returns it, as far as the normaliser kept it. To
// the patterns, a byte of invalid UTF-8 is neither letter, digit nor space. Some
// published vocabularies lack bytes that no valid UTF-8 has (C0, C1, F5 to FF):
// with these, such a byte is encoded as U+FFFD.
//
// # Text from outside
//
// Text from outside must not become tokens that end a prompt or fake parts of it:
// [Tokenizer.EncodeOrdinary] finds no added tokens in it. In a text that is partly
// from outside, such as a chat template with a user's message in it,
// [Tokenizer.Markup] and [Tokenizer.EncodeExcept] find those of the template only
// (chat.Encode does that). [Tokenizer.Clip] cuts a text that is too long.
//
// # Tokens, bytes and ranges
//
// [Tokenizer.Bytes] gives the bytes that a token stands for; special tokens have
// none. Package rollout builds the text of a completion from them.
// [Tokenizer.EncodeRanges] gives the range of the text that each token stands for,
// and [Overlapping] finds the tokens of a range. So ranges of text map to ranges
// of tokens and back, and nothing is encoded twice.
//
// # Training and files
//
// [Train] learns a vocabulary from a corpus, and [Tokenizer.Save] writes a
// tokenizer.json. [Load] reads one, and [LoadSentencePiece] reads a
// tokenizer.model. If a file asks for something that this package does not do, the
// error names the option: nothing that could change the ids is ignored.
//
// The same ids need the same classes of characters: which are letters, digits or
// marks comes from the library, not from package unicode (testdata/unicode.py).
// The tests compare more than 1,200 texts in all scripts for Qwen3, Llama 3.1,
// GPT-2, bert-base-uncased and Llama 2 (testdata/families.py).
//
// A Tokenizer does not change, so any number of goroutines may use it at once.
//
// Examples are in example_test.go. A program that uses it: examples/owntask, whose
// learn trains a tokenizer and encodes texts from outside, in which no markup counts.
package tokenizer

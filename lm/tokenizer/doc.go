// Package tokenizer turns text into token ids and back, as Hugging Face's
// tokenizers library does for the models that can be trained here: byte-level
// byte-pair encoding (GPT-2, Llama 3, Qwen2 and 3, SmolLM), byte-pair encoding
// with byte fallback (Llama 2, as tokenizer.json or as a SentencePiece model)
// and WordPiece (BERT). It also learns a small byte-level vocabulary.
//
// # How a text is encoded
//
//  1. Added tokens inside the text are found first, the leftmost and, at one
//     place, the longest. A special token is an added one that stands for no
//     text: the end of a text, say.
//  2. What lies between them is normalised, if the file says so: composed
//     (NFC, Qwen), made small and without accents (BERT), or its spaces are
//     marked (Llama 2). Some added tokens are found only in what comes of it.
//  3. The rest is cut into words. The patterns of GPT-2, Llama 3 and Qwen are
//     scanners written by hand, which take time in proportion to the text,
//     whatever it is. Any other pattern is left to a regular expression, with
//     a time limit of a second for each word; after that the rest of the text
//     is one word.
//  4. A word becomes tokens. In byte-pair encoding it starts as its bytes or
//     characters, and the pair of neighbours with the lowest rank is merged
//     until no pair of the merge table is left: n log n steps for n bytes.
//     WordPiece takes the longest token that fits, from left to right.
//
// [Tokenizer.AddSpecial] then puts around it what the model expects, such as
// Llama 3's <|begin_of_text|>; a chat template usually does that itself.
//
// Except with WordPiece every byte is a token, so every text can be encoded,
// valid UTF-8 or not, and decoding gives it back as far as the normaliser has
// kept it. A broken byte counts as a sign for the patterns.
//
// # Tokens, bytes and ranges
//
// [Tokenizer.Bytes] gives the bytes that a token stands for; special tokens
// have none. Package rollout builds a completion's text of them.
// [Tokenizer.EncodeRanges] gives the part of a text that each token stands for,
// and [Overlapping] the tokens of a part. Ranges of text are so mapped to ranges
// of tokens, and back, without encoding anything a second time.
//
// # Training and files
//
// [Train] learns a vocabulary from a corpus, [Tokenizer.Save] writes it as
// tokenizer.json, [Load] reads such a file, and [LoadSentencePiece] a
// tokenizer.model. A file that asks for something that this package does not do
// is an error that names the option; nothing is ignored that would change the
// ids.
//
// The same ids as the library's means also the same characters: which are
// letters, digits or marks is taken from the library, not from package unicode
// (see testdata/unicode.py). testdata/families.py compares more than 1,200
// texts in all scripts for Qwen3, Llama 3.1, GPT-2, bert-base-uncased and
// Llama 2.
//
// A Tokenizer does not change, so any number of goroutines may use it at once.
package tokenizer

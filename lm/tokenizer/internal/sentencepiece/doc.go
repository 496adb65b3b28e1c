// Package sentencepiece reads SentencePiece's model files, tokenizer.model,
// as the models of the Llama 2 kind bring them.
//
// Such a file is a protocol buffer, ModelProto of google/sentencepiece's
// sentencepiece_model.proto: a list of pieces, each with its text, its score
// and what it is for, then how the model was trained and how it changes text.
// [Parse] reads what is needed to encode and decode, checks that the rest is a
// well-formed message, and refuses what it does not know where that could
// change the tokens. Package tokenizer makes a tokenizer of it.
package sentencepiece

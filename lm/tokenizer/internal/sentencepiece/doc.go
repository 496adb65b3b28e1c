// Package sentencepiece reads SentencePiece's model files, tokenizer.model, of the
// kind that Llama 2 comes with.
//
// Such a file is a protocol buffer, ModelProto of google/sentencepiece's
// sentencepiece_model.proto: a list of pieces, each with its text, score and type,
// then how the model was trained and how it normalises text. [Parse] reads what is
// needed to encode and decode, checks that the rest is well formed, and refuses
// unknown fields that could change the tokens. Package tokenizer makes a tokenizer
// of it.
package sentencepiece

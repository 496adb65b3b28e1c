package tokenizer

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

const byteLevel = `{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":false,"use_regex":true}`

// MarshalJSON returns the contents of a tokenizer.json that Hugging Face's
// tokenizers library, and [Parse], read as this tokenizer.
func (t *Tokenizer) MarshalJSON() ([]byte, error) {
	added := slices.Clone(t.def.added)
	slices.SortFunc(added, func(a, b addedToken) int { return cmp.Compare(a.id, b.id) })
	// The library gives added tokens that the vocabulary lacks the ids after
	// its last, so only those at the very end may be left out of it.
	inVocab := len(t.def.spelling)
	for i := len(added) - 1; i >= 0 && int(added[i].id) == inVocab-1; i-- {
		inVocab--
	}
	m := fileBPE{Type: "BPE", Vocab: make(fileVocab, inVocab), Merges: []fileMerge{}}
	for id, s := range t.def.spelling[:inVocab] {
		m.Vocab[s] = int32(id)
	}
	for _, pair := range t.def.merges {
		m.Merges = append(m.Merges, pair)
	}
	model, err := encode(m)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	f := file{
		Version:      "1.0",
		AddedTokens:  []fileAdded{},
		PreTokenizer: json.RawMessage(byteLevel),
		Decoder:      json.RawMessage(byteLevel),
		Model:        model,
	}
	for _, a := range added {
		f.AddedTokens = append(f.AddedTokens, fileAdded{ID: a.id, Content: a.content, Special: a.special, Normalized: a.normalized})
	}
	return encode(f)
}

// Save writes the tokenizer as a tokenizer.json.
func (t *Tokenizer) Save(path string) error {
	data, err := t.MarshalJSON()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o666); err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	return nil
}

package tokenizer

import (
	"cmp"
	"fmt"
	"os"
	"slices"
)

// MarshalJSON returns the contents of a tokenizer.json that Hugging Face's
// tokenizers library, and [Parse], read as this tokenizer.
func (t *Tokenizer) MarshalJSON() ([]byte, error) {
	f := t.def.parts
	added := slices.Clone(t.def.added)
	slices.SortFunc(added, func(a, b addedToken) int { return cmp.Compare(a.id, b.id) })
	f.AddedTokens = []fileAdded{}
	vocab := make(fileVocab, len(t.def.spelling))
	for id, s := range t.def.spelling {
		if s != "" {
			vocab[s] = int32(id)
		}
	}
	for _, a := range added {
		f.AddedTokens = append(f.AddedTokens, fileAdded{
			ID: a.id, Content: a.content, Special: a.special, Normalized: a.normalized,
			SingleWord: a.singleWord, LStrip: a.lstrip, RStrip: a.rstrip,
		})
		if !a.inVocab {
			delete(vocab, a.content)
		}
	}
	var model any
	if t.def.bpe != nil {
		m := *t.def.bpe
		m.Vocab, m.Merges = vocab, []fileMerge{}
		for _, pair := range t.def.merges {
			m.Merges = append(m.Merges, pair)
		}
		model = m
	} else {
		m := *t.def.wordPiece
		m.Vocab = vocab
		model = m
	}
	var err error
	if f.Model, err = encode(model); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
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

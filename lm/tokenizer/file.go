package tokenizer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/durable"
)

// The tokenizer.json of Hugging Face's tokenizers library. Other fields are
// refused, because they may change the ids.
type (
	file struct {
		Version       string      `json:"version"`
		Truncation    filePart    `json:"truncation"`
		Padding       filePart    `json:"padding"`
		AddedTokens   []fileAdded `json:"added_tokens"`
		Normalizer    filePart    `json:"normalizer"`
		PreTokenizer  filePart    `json:"pre_tokenizer"`
		PostProcessor filePart    `json:"post_processor"`
		Decoder       filePart    `json:"decoder"`
		Model         filePart    `json:"model"`
	}
	fileAdded struct {
		ID         int32  `json:"id"`
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
		Special    bool   `json:"special"`
	}
	fileBPE struct {
		Type                    string      `json:"type"` // absent in older files, see modelKind
		Dropout                 *float64    `json:"dropout"`
		UnkToken                *string     `json:"unk_token"` // never used: every byte is a token
		ContinuingSubwordPrefix *string     `json:"continuing_subword_prefix"`
		EndOfWordSuffix         *string     `json:"end_of_word_suffix"`
		FuseUnk                 bool        `json:"fuse_unk"` // as UnkToken
		ByteFallback            bool        `json:"byte_fallback"`
		IgnoreMerges            bool        `json:"ignore_merges"`
		Vocab                   fileVocab   `json:"vocab"`
		Merges                  []fileMerge `json:"merges"`
	}
	fileWordPiece struct {
		Type                    string    `json:"type"`
		UnkToken                string    `json:"unk_token"`
		ContinuingSubwordPrefix string    `json:"continuing_subword_prefix"`
		MaxInputCharsPerWord    int       `json:"max_input_chars_per_word"`
		Vocab                   fileVocab `json:"vocab"`
	}
)

// filePart is a part of the file in JSON, without white space; nil means null.
type filePart []byte

// UnmarshalJSON implements json.Unmarshaler.
func (p *filePart) UnmarshalJSON(data []byte) error {
	var out bytes.Buffer
	if err := json.Compact(&out, data); err != nil {
		return err
	}
	*p = nil
	if out.String() != "null" {
		*p = out.Bytes()
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (p filePart) MarshalJSON() ([]byte, error) {
	if p == nil {
		return []byte("null"), nil
	}
	return p, nil
}

// kind returns the type that a part names.
func (p filePart) kind() (string, error) {
	var kind struct{ Type *string }
	if err := json.Unmarshal(p, &kind); err != nil {
		return "", err
	}
	if kind.Type == nil {
		return "", nil
	}
	return *kind.Type, nil
}

// fileVocab maps spellings to ids; it is written in the order of the ids.
type fileVocab map[string]int32

// MarshalJSON implements json.Marshaler.
func (v fileVocab) MarshalJSON() ([]byte, error) {
	keys := slices.SortedFunc(maps.Keys(v), func(a, b string) int { return cmp.Compare(v[a], v[b]) })
	var out bytes.Buffer
	out.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			out.WriteByte(',')
		}
		key, err := encode(k)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "%s:%d", key, v[k])
	}
	out.WriteByte('}')
	return out.Bytes(), nil
}

// fileMerge is a pair of tokens; older files write it as a string with a space.
type fileMerge [2]string

// UnmarshalJSON implements json.Unmarshaler.
func (m *fileMerge) UnmarshalJSON(data []byte) error {
	var pair []string
	if len(data) > 0 && data[0] == '"' {
		var joined string
		if err := json.Unmarshal(data, &joined); err != nil {
			return err
		}
		pair = strings.Split(joined, " ")
	} else if err := json.Unmarshal(data, &pair); err != nil {
		return err
	}
	if len(pair) != 2 || pair[0] == "" || pair[1] == "" {
		return fmt.Errorf("model.merges: %.80s is not a pair of tokens", data)
	}
	*m = fileMerge(pair)
	return nil
}

// encode is json.Marshal without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), err
}

// MarshalJSON returns the contents of a tokenizer.json, from which [Parse] and
// Hugging Face's tokenizers library make the same tokenizer.
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
	} else if t.def.unigram != nil {
		m := *t.def.unigram
		for id, score := range t.def.scores {
			m.Vocab = append(m.Vocab, fileScored{t.def.spelling[id], score})
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

// Save writes the tokenizer.json to path.
func (t *Tokenizer) Save(path string) error {
	data, err := t.MarshalJSON()
	if err != nil {
		return err
	}
	if err := durable.ReplaceFile(path, append(data, '\n')); err != nil {
		return fmt.Errorf("tokenizer: %w", err)
	}
	return nil
}

package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stepwise-rl/stepwise/internal/infile"
)

// Load reads the tokenizer.json at path. See [Parse].
func Load(path string) (*Tokenizer, error) {
	return load(path, parse)
}

// Parse reads the contents of a tokenizer.json. An error names the field that is
// wrong or not supported. Supported are
//
//   - byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM): the model BPE over all bytes
//     that UTF-8 has, the normaliser NFC, the pre-tokenisers ByteLevel, with
//     add_prefix_space or without, Split by a regular expression and Digits, and
//     Sequences of them;
//   - BPE with byte fallback, as in the files of Llama 2, where the normalisers
//     Prepend and Replace or the pre-tokeniser Metaspace mark spaces;
//   - WordPiece with BertNormalizer and BertPreTokenizer;
//   - Unigram (XLM-R, BGE-M3, multilingual E5) with the normalisers Precompiled, NFC,
//     Strip and Replace of several spaces, the pre-tokenisers WhitespaceSplit and
//     Metaspace, and byte fallback or none;
//   - added tokens of every kind, gaps between ids, and the post-processors
//     TemplateProcessing, BertProcessing and RobertaProcessing.
//
// As in the library, a Sequence of nothing does nothing, a token that is added
// again takes the new flags, one that is in the vocabulary has its id there, and a
// model that does not say its type, as in old files, is known by its fields.
// A null decoder decodes like the one that belongs to the model.
//
// Truncation and padding are read and saved again but not applied: a text is
// always encoded whole.
func Parse(data []byte) (*Tokenizer, error) {
	t, err := read(data, parse)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return t, nil
}

// maxFile bounds the size of a file. The largest published ones have 40 MB.
const maxFile = 256 << 20

func load(path string, parse func([]byte) (definition, error)) (*Tokenizer, error) {
	data, err := infile.Read(path, maxFile)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := read(data, parse)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %s: %w", path, err)
	}
	return t, nil
}

func read(data []byte, parse func([]byte) (definition, error)) (*Tokenizer, error) {
	d, err := parse(data)
	if err != nil {
		return nil, err
	}
	return build(d)
}

// parse reads a tokenizer.json.
func parse(data []byte) (d definition, err error) {
	var f file
	if err := decodeStrict(data, &f); err != nil {
		return d, err
	}
	if f.Version != "1.0" {
		return d, fmt.Errorf("version: %q is not supported, only \"1.0\"", f.Version)
	}
	if f.Model == nil {
		return d, errors.New("model: missing")
	}
	kind, err := modelKind(f.Model)
	if err != nil {
		return d, fmt.Errorf("model: %w", err)
	}
	var vocab fileVocab
	switch kind {
	case "BPE":
		vocab, err = d.parseBPE(f)
	case "WordPiece":
		vocab, err = d.parseWordPiece(f)
	case "Unigram":
		vocab, err = d.parseUnigram(f)
	default:
		err = fmt.Errorf("model: type: %q is not supported, only \"BPE\", \"WordPiece\" and \"Unigram\"", kind)
	}
	if err != nil {
		return d, err
	}
	if d.template, err = parsePostProcessor(f.PostProcessor); err != nil {
		return d, fmt.Errorf("post_processor: %w", err)
	}
	added := f.AddedTokens
	f.Model, f.AddedTokens = nil, nil
	d.parts = f
	return d, d.setVocab(vocab, added)
}

// modelKind returns the type of a model. Older files, such as BERT's, do not say; as in
// the library, the fields then tell.
func modelKind(p filePart) (string, error) {
	kind, err := p.kind()
	if err != nil || kind != "" {
		return kind, err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(p, &fields); err != nil {
		return "", err
	}
	switch {
	case fields["merges"] != nil:
		return "BPE", nil
	case fields["max_input_chars_per_word"] != nil:
		return "WordPiece", nil
	case fields["unk_id"] != nil:
		return "Unigram", nil
	}
	return "", nil
}

func (d *definition) parseBPE(f file) (vocab fileVocab, err error) {
	m := &fileBPE{}
	if err := decodeStrict(f.Model, m); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	empty := func(s *string) bool { return s == nil || *s == "" }
	switch {
	case m.Dropout != nil && *m.Dropout != 0:
		err = errors.New("dropout: only null is supported")
	case !empty(m.ContinuingSubwordPrefix):
		err = fmt.Errorf("continuing_subword_prefix: %q is not supported, only null", *m.ContinuingSubwordPrefix)
	case !empty(m.EndOfWordSuffix):
		err = fmt.Errorf("end_of_word_suffix: %q is not supported, only null", *m.EndOfWordSuffix)
	}
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if d.normalizer, err = parseNormalizer(f.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if d.metaspace, err = parseMetaspaceBPE(f.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	switch {
	case d.metaspace != nil && d.normalizer != nil:
		return nil, errors.New("normalizer: only null is supported with the pre_tokenizer \"Metaspace\"")
	case m.ByteFallback && !d.marksSpaces():
		return nil, errors.New("model: byte_fallback: true is supported only where spaces are marked")
	case !m.ByteFallback && d.marksSpaces():
		return nil, errors.New("model: byte_fallback: false is not supported where spaces are marked")
	case m.IgnoreMerges && d.marksSpaces():
		return nil, errors.New("model: ignore_merges: true is not supported where spaces are marked")
	}
	if d.marksSpaces() {
		err = d.parseMarked(f)
	} else {
		err = d.parseByteLevel(f)
	}
	if err != nil {
		return nil, err
	}
	for _, pair := range m.Merges {
		d.merges = append(d.merges, pair)
	}
	vocab = m.Vocab
	m.Type, m.Vocab, m.Merges = "BPE", nil, nil
	d.bpe = m
	return vocab, nil
}

// parseMarked reads the other parts of a tokenizer of the Llama 2 kind.
func (d *definition) parseMarked(f file) error {
	d.splitter = chain{}
	if pre, err := flatten(f.PreTokenizer, "pretokenizers"); err != nil {
		return fmt.Errorf("pre_tokenizer: %w", err)
	} else if d.metaspace == nil && len(pre) > 0 {
		return fmt.Errorf("pre_tokenizer: %s is not supported where the normalizer marks spaces, only null", f.PreTokenizer)
	}
	decoders, err := flatten(f.Decoder, "decoders")
	if err != nil {
		return fmt.Errorf("decoder: %w", err)
	}
	if want := unmarkerJSON(d.addsSpace()); len(decoders) > 0 && !same(sequence(decoders, "decoders"), want) {
		return fmt.Errorf("decoder: %s is not supported, only %s", f.Decoder, want)
	}
	return nil
}

// parseByteLevel reads the other parts of a byte-level tokenizer.
func (d *definition) parseByteLevel(f file) (err error) {
	if d.spaced, d.splitter, err = parseByteLevel(f.PreTokenizer); err != nil {
		return fmt.Errorf("pre_tokenizer: %w", err)
	}
	if err := parseByteLevelDecoder(f.Decoder); err != nil {
		return fmt.Errorf("decoder: %w", err)
	}
	return nil
}

func (d *definition) parseWordPiece(f file) (vocab fileVocab, err error) {
	m := &fileWordPiece{}
	if err := decodeStrict(f.Model, m); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	switch {
	case m.MaxInputCharsPerWord < 1 || m.MaxInputCharsPerWord > maxWordChars:
		return nil, fmt.Errorf("model: max_input_chars_per_word: %d is not supported, want 1 to %d", m.MaxInputCharsPerWord, maxWordChars)
	case m.ContinuingSubwordPrefix == "":
		return nil, errors.New("model: continuing_subword_prefix: empty")
	}
	if d.normalizer, err = parseNormalizer(f.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	if d.marksSpaces() {
		return nil, errors.New("normalizer: marking spaces is not supported with WordPiece")
	}
	if d.splitter, err = parseBertPreTokenizer(f.PreTokenizer); err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if d.cleanup, err = parseWordPieceDecoder(f.Decoder, m.ContinuingSubwordPrefix); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	vocab = m.Vocab
	m.Type, m.Vocab = "WordPiece", nil
	d.wordPiece = m
	return vocab, nil
}

// maxID bounds the memory that a small file can ask for.
const maxID = 1<<21 - 1

// setVocab enters the vocabulary and the added tokens by id.
func (d *definition) setVocab(vocab fileVocab, added []fileAdded) error {
	spelling := make(map[int32]string, len(vocab)+len(added))
	largest := int32(-1)
	set := func(s string, id int32) error {
		if id < 0 || id > maxID {
			return fmt.Errorf("id %d of %q is not supported, only 0 to %d", id, s, maxID)
		}
		spelling[id] = s
		largest = max(largest, id)
		return nil
	}
	for s, id := range vocab {
		if old, ok := spelling[id]; ok {
			return fmt.Errorf("model.vocab: id %d is that of %q and of %q", id, min(s, old), max(s, old))
		}
		if s == "" {
			return fmt.Errorf("model.vocab: the token of id %d is empty", id)
		}
		if err := set(s, id); err != nil {
			return fmt.Errorf("model.vocab: %w", err)
		}
	}
	if err := d.setAdded(vocab, added, spelling, set); err != nil {
		return err
	}
	d.spelling = make([]string, largest+1)
	for id, s := range spelling {
		d.spelling[id] = s
	}
	return nil
}

// setAdded enters the added tokens. As in the library an empty one is none, one
// that is in the vocabulary has its id there, and of one that is added again the
// new flags count. set enters a spelling and its id.
func (d *definition) setAdded(vocab fileVocab, added []fileAdded, spelling map[int32]string, set func(s string, id int32) error) error {
	at := map[string]int{} // in d.added
	moved := ""            // a token that has another id when it is added again
	for i, a := range added {
		if a.Content == "" {
			continue
		}
		id, inVocab := vocab[a.Content]
		k, again := at[a.Content]
		switch {
		case inVocab:
			a.ID = id
		case again:
			if a.ID != d.added[k].id {
				moved = a.Content
			}
			a.ID = d.added[k].id
		case moved != "":
			return fmt.Errorf("added_tokens[%d] (%q): id %d is in doubt, because %q was added before with two ids", i, a.Content, a.ID, moved)
		}
		if s, ok := spelling[a.ID]; ok && s != a.Content {
			return fmt.Errorf("added_tokens[%d] (%q): id %d is that of %q", i, a.Content, a.ID, s)
		}
		if err := set(a.Content, a.ID); err != nil {
			return fmt.Errorf("added_tokens[%d]: %w", i, err)
		}
		token := addedToken{
			content: a.Content, id: a.ID, special: a.Special, normalized: a.Normalized,
			singleWord: a.SingleWord, lstrip: a.LStrip, rstrip: a.RStrip, inVocab: inVocab,
		}
		if again {
			token.special = token.special || d.added[k].special
			d.added[k] = token
			continue
		}
		at[a.Content] = len(d.added)
		d.added = append(d.added, token)
	}
	return nil
}

// decodeStrict decodes one JSON value and refuses unknown fields.
func decodeStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return errors.New(strings.TrimPrefix(infile.Explain(data, err).Error(), "json: "))
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the JSON value")
	}
	return nil
}

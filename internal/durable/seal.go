package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
)

// sealed is the outermost object of a sealed text: a value and the SHA-256 of its
// compact JSON.
type sealed struct {
	SHA256  string          `json:"sha256"`
	Content json.RawMessage `json:"content"`
}

// Seal encodes v as JSON together with its checksum. The text may be reformatted; any
// change of the content is noticed by Unseal.
func Seal(v any) ([]byte, error) {
	content, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(sealed{sum(content), content}, "", "  ")
	return append(text, '\n'), err
}

// Unseal is the inverse of Seal. It is an error if the checksum is not that of the
// content.
func Unseal(text []byte, v any) error {
	var outer sealed
	if err := json.Unmarshal(text, &outer); err != nil {
		return err
	}
	if len(outer.Content) == 0 {
		return errors.New("it has no field content")
	}
	var content bytes.Buffer
	if err := json.Compact(&content, outer.Content); err != nil {
		return err
	}
	if sum(content.Bytes()) != outer.SHA256 {
		return errors.New("its SHA-256 is not the one in it")
	}
	return json.Unmarshal(content.Bytes(), v)
}

func sum(text []byte) string {
	s := sha256.Sum256(text)
	return hex.EncodeToString(s[:])
}

package tokenizer

import "slices"

// addedToken is a token that is found in the text before it is cut into words.
type addedToken struct {
	content string
	id      int32
	special bool
	// normalized tokens are looked for after all the others. The name is
	// the file's; without a normaliser the order is all that it means.
	normalized bool
}

// matcher finds added tokens in a text.
type matcher struct {
	ids     map[string]int32
	lengths []int // of the tokens, descending
	first   [256]bool
}

func newMatcher(tokens []addedToken) *matcher {
	m := &matcher{ids: make(map[string]int32)}
	for _, a := range tokens {
		m.ids[a.content] = a.id
		m.first[a.content[0]] = true
		m.lengths = append(m.lengths, len(a.content))
	}
	slices.Sort(m.lengths)
	m.lengths = slices.Compact(m.lengths)
	slices.Reverse(m.lengths)
	return m
}

// find returns the leftmost token at or after text[from], the longest one
// there; start is len(text) and id -1 if there is none.
func (m *matcher) find(text string, from int) (start, end int, id int32) {
	for start = from; start < len(text); start++ {
		if !m.first[text[start]] {
			continue
		}
		for _, n := range m.lengths {
			if n > len(text)-start {
				continue
			}
			if id, ok := m.ids[text[start:start+n]]; ok {
				return start, start + n, id
			}
		}
	}
	return len(text), len(text), -1
}

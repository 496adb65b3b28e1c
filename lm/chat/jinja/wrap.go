package jinja

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var wordChunk = regexp.MustCompile(`[^\t\n\v\f\r ]+|[\t\n\v\f\r ]+`)

// chunks returns the pieces of a line between which it may be broken: white
// space, words up to hyphens within them, and dashes.
func chunks(line string, hyphens bool) (out []string) {
	for _, word := range wordChunk.FindAllString(line, -1) {
		if !hyphens || !strings.Contains(word, "-") {
			out = append(out, word)
			continue
		}
		rs := []rune(word)
		letter := func(i int) bool { return i >= 0 && i < len(rs) && (rs[i] == '_' || isLetter(rs[i])) }
		start := 0
		for i := 0; i < len(rs); i++ {
			if rs[i] != '-' {
				continue
			}
			end := i
			for end+1 < len(rs) && rs[end+1] == '-' {
				end++
			}
			after := end+1 < len(rs) && (isAlnum(rs[end+1]) || rs[end+1] == '_')
			if end > i { // a dash stands alone between words
				if after && i > start && (isAlnum(rs[i-1]) || strings.ContainsRune(`_!"'&.,?`, rs[i-1])) {
					out = append(out, string(rs[start:i]), string(rs[i:end+1]))
					start = end + 1
				}
				i = end
				continue
			}
			// A letter, and before or after it another one, perhaps with a hyphen between.
			hyphen := func(i int) bool { return i >= 0 && i < len(rs) && rs[i] == '-' }
			before := letter(i-1) && (letter(i-2) || hyphen(i-2) && letter(i-3))
			behind := letter(i+1) && (letter(i+2) || hyphen(i+2) && letter(i+3))
			if before && behind {
				out = append(out, string(rs[start:i+1]))
				start = i + 1
			}
		}
		if start < len(rs) {
			out = append(out, string(rs[start:]))
		}
	}
	return out
}

func isLetter(c rune) bool { return isAlnum(c) && !isDigit(c) }

func wordWrap(r *run, v []value) value {
	use(v[0])
	s, ok := str(v[0])
	if !ok {
		panic(raise("AttributeError", "%s object has no attribute 'splitlines'", quote(typeName(v[0]))))
	}
	width := operand(v[1], 79)
	long, hyphens := true, true
	for i, to := range map[int]*bool{2: &long, 4: &hyphens} {
		if v[i] != missing {
			*to = r.truth(v[i])
		}
	}
	sep, ok := str(v[3])
	switch {
	case v[3] == missing || v[3] == nil:
		sep = "\n"
	case !ok:
		panic(raise("AttributeError", "%s object has no attribute 'join'", quote(typeName(v[3]))))
	}
	w := &writer{r: r}
	for i, line := range splitLines(s, false) {
		wrapped := r.wrap(chunks(line, hyphens), width, long, hyphens)
		if i > 0 {
			w.put(sep)
		}
		w.put(strings.Join(wrapped, sep))
	}
	return w.String()
}

// wrap fills lines of a width with chunks.
func (r *run) wrap(pieces []string, width int, long, hyphens bool) (lines []string) {
	if width <= 0 {
		panic(valueError("invalid width %s (must be > 0)", strconv.Itoa(width)))
	}
	blank := func(s string) bool { return strings.TrimFunc(s, isSpace) == "" }
	for len(pieces) > 0 {
		r.step()
		if len(lines) > 0 && blank(pieces[0]) {
			if pieces = pieces[1:]; len(pieces) == 0 {
				break
			}
		}
		var line []string
		n := 0
		for len(pieces) > 0 && n+runeCount(pieces[0]) <= width {
			n += runeCount(pieces[0])
			line, pieces = append(line, pieces[0]), pieces[1:]
		}
		if len(pieces) > 0 && runeCount(pieces[0]) > width {
			if long {
				rs := []rune(pieces[0])
				end := width - n
				if hyphens && len(rs) > end {
					first := slices.IndexFunc(rs, func(c rune) bool { return c != '-' })
					for i := end - 1; first >= 0 && i > first; i-- {
						if rs[i] == '-' {
							end = i + 1
							break
						}
					}
				}
				r.work(len(pieces[0]))
				line = append(line, string(rs[:end]))
				pieces[0] = string(rs[end:])
			} else if len(line) == 0 {
				line, pieces = append(line, pieces[0]), pieces[1:]
			}
		}
		if len(line) > 0 && blank(line[len(line)-1]) {
			line = line[:len(line)-1]
		}
		if len(line) > 0 {
			lines = append(lines, strings.Join(line, ""))
		}
	}
	return lines
}

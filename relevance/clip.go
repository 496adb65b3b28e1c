package relevance

import (
	"context"
	"fmt"
	"reflect"

	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/prompt"
	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// leastDocument is how many tokens of a document a prompt must have room for.
const leastDocument = 16

// clipSource cuts every document to the tokens that the model has room for, says how
// many it cut, and checks that prompts and answers fit. A row that cannot be made to
// fit is a *rows.RowError.
func (p *pipeline) clipSource(ctx context.Context) error {
	if p.src.Clip == nil {
		return nil
	}
	c := p.clipper(ctx)
	if err := p.src.Clip(c); err != nil {
		return err
	}
	fmt.Fprintf(p.w, "documents   %d of %d cut to fit into %d tokens\n", c.cut, c.all, p.c.DocumentTokens)
	for i := range p.src.Size {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := p.src.Train(i)
		if e.Teach == nil {
			continue
		}
		text := trace(p.task.Template(), e, streamOf(warmupStream, p.c.Seed, uint64(i)))
		if n := len(p.encodeDemonstration(text)) + 1; n > p.c.MaxTokens { // with the end of the text
			return &rows.RowError{File: e.File, Line: e.Line, Field: "query",
				Problem: fmt.Sprintf("is too long: steps that quote it take %d tokens, want at most %d; shorten it", n, p.c.MaxTokens)}
		}
	}
	return nil
}

func (p *pipeline) clipper(ctx context.Context) *clipper {
	return &clipper{ctx: ctx, tok: p.tok, template: p.task.Template(), most: p.models.MaxSeq() - p.c.MaxTokens, document: p.c.DocumentTokens}
}

// clipper cuts examples to what a model can read. It is a rows.Clipper.
type clipper struct {
	ctx      context.Context
	tok      *tokenizer.Tokenizer
	template *prompt.Template[rows.Example]
	// most is what a prompt may have, and document what a document may, in tokens.
	most, document int
	cut, all       int // documents
}

// Quote cites up to eight tokens of a word: most words, or the beginning of a text
// without spaces.
func (c *clipper) Quote(word string) string { return c.tok.Clip(word, 8) }

// Clip cuts the document of an example so that its prompt fits.
func (c *clipper) Clip(e rows.Example) (rows.Example, error) {
	if err := c.ctx.Err(); err != nil {
		return e, err
	}
	c.all++
	document := e.Document
	with := func(d rows.Document) (tokens int) {
		e.Document = d
		return len(c.tok.EncodeOrdinary(c.template.Render(e)))
	}
	bare := with(rows.Document{})
	if bare+leastDocument > c.most {
		return e, &rows.RowError{File: e.File, Line: e.Line, Field: "query",
			Problem: fmt.Sprintf("is too long: without the document the prompt takes %d tokens, want at most %d, which leaves %d for the document; shorten it", bare, c.most-leastDocument, leastDocument)}
	}
	room := min(c.document, c.most-bare)
	for budget := room; budget > 0; {
		over := with(clipDocument(c.tok, document, budget)) - bare - room
		if over <= 0 {
			if !reflect.DeepEqual(e.Document, document) {
				c.cut++
			}
			return e, nil
		}
		budget -= over // what stands between the texts takes tokens, too
	}
	return e, &rows.RowError{File: e.File, Line: e.Line, Field: "document", Problem: fmt.Sprintf("does not fit into %d tokens, however its texts are cut", room)}
}

// clipDocument cuts the texts of a document to so many tokens: up to half of them for
// the title, up to a quarter for the fields in their order, the rest for the body.
func clipDocument(tok *tokenizer.Tokenizer, d rows.Document, tokens int) rows.Document {
	count := func(text string) int { return len(tok.EncodeOrdinary(text)) }
	c := rows.Document{Title: tok.Clip(d.Title, tokens/2)}
	left, forFields := tokens-count(c.Title), tokens/4
	for _, f := range d.Fields {
		value := tok.Clip(f.Value, min(forFields, left)-count(f.Name))
		if value == "" {
			continue
		}
		c.Fields = append(c.Fields, rows.Field{Name: f.Name, Value: value})
		used := count(f.Name) + count(value)
		left, forFields = left-used, forFields-used
	}
	c.Body = tok.Clip(d.Body, left)
	return c
}

package rows

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inFolder writes files into a folder of their own and goes there.
func inFolder(t testing.TB, files map[string]string) {
	dir := t.TempDir()
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	t.Chdir(dir)
}

func labels(names ...string) (out []Label) {
	for _, n := range names {
		out = append(out, Label{Name: n})
	}
	return out
}

var grades = labels("-1", "0", "1")

// read reads a file of pairs with default columns.
func read(file string) ([]Example, *Report, error) {
	d := Data{Pairs: Table{File: file}, Labels: grades}
	return d.Read()
}

func TestReadJSONLines(t *testing.T) {
	inFolder(t, map[string]string{"f.jsonl": `{"query":"mouse","document":{"title":"Logi M185","brand":"Logi","price":9.50,"wireless":true,"ean":null,"body":"a mouse"},"label":1}

{"id":"b","query":"  mouse pad","document":{"body":"soft"},"label":"-1","rater":{"name":"x"}}
{"id":12,"query":"mouse","document":"Logi M186","label":0.0}
`})
	got, _, err := read("f.jsonl")
	require.NoError(t, err)
	assert.Equal(t, []Example{
		{
			ID: "1", Query: "mouse", Truth: []string{"1"}, File: "f.jsonl", Line: 1,
			Document: Document{Title: "Logi M185", Body: "a mouse", Fields: []Field{{"brand", "Logi"}, {"price", "9.50"}, {"wireless", "true"}}},
		},
		{ID: "b", Query: "  mouse pad", Document: Document{Body: "soft"}, Truth: []string{"-1"}, File: "f.jsonl", Line: 3},
		{ID: "12", Query: "mouse", Document: Document{Title: "Logi M186"}, Truth: []string{"0"}, File: "f.jsonl", Line: 4},
	}, got)
}

func TestErrorsNameFileLineAndField(t *testing.T) {
	const good = `{"query":"q","document":{"title":"t"},"label":1}` + "\n"
	for row, want := range map[string]string{
		`{"document":{"title":"t"},"label":1}`:                            `f.jsonl:2: field "query": is missing, want a text that is not empty; the columns are document, label`,
		`{"query":true,"document":{"title":"t"},"label":1}`:               `f.jsonl:2: field "query": is true, want a text that is not empty`,
		`{"query":" ","document":{"title":"t"},"label":1}`:                `f.jsonl:2: field "query": is " ", want a text that is not empty`,
		`{"query":"\u0001","document":{"title":"t"},"label":1}`:           `f.jsonl:2: field "query": is "\u0001", want a text that is not empty`,
		`{"query":"q","document":"\u0001\u001f","label":1}`:               `f.jsonl:2: field "document": is "\u0001\u001f", want a text that is not empty`,
		`{"query":"q","document":{"title":"\u0001"},"label":1}`:           `f.jsonl:2: field "document": has neither title nor body, want one that is not empty`,
		`{"query":"q","title":" ","body":"\u0000","label":1}`:             `f.jsonl:2: field "document": has neither title nor body, want a text or an object such as {"title": "...", "body": "..."}, or columns for them; the columns are query, title, body, label`,
		`{"query":null,"document":{"title":"t"},"label":1}`:               `f.jsonl:2: field "query": is null, want a text that is not empty`,
		`{"query":"q","label":1}`:                                         `f.jsonl:2: field "document": has neither title nor body, want a text or an object such as {"title": "...", "body": "..."}, or columns for them; the columns are query, label`,
		`{"query":"q","document":7,"label":1}`:                            `f.jsonl:2: field "document": is 7, want a text or an object such as {"title": "...", "body": "..."}`,
		`{"query":"q","document":" ","label":1}`:                          `f.jsonl:2: field "document": is " ", want a text that is not empty`,
		`{"query":"q","document":{"title":["t"]},"label":1}`:              `f.jsonl:2: field "document.title": is ["t"], want a text, a number, true or false`,
		`{"query":"q","document":{"title":5},"label":1}`:                  `f.jsonl:2: field "document.title": is 5, want a text`,
		`{"query":"q","document":{"title":"t","size":{"w":1}},"label":1}`: `f.jsonl:2: field "document.size": is {"w":1}, want a text, a number, true or false`,
		`{"query":"q","document":{"brand":"b"},"label":1}`:                `f.jsonl:2: field "document": has neither title nor body, want one that is not empty`,
		`{"query":"q","title":3,"label":1}`:                               `f.jsonl:2: field "title": is 3, want a text`,
		`{"query":"q","document":{"title":"t"}}`:                          `f.jsonl:2: field "label": is missing, want one of -1, 0, 1; the columns are query, document`,
		`{"query":"q","document":{"title":"t"},"label":5}`:                `f.jsonl:2: field "label": is 5, want one of -1, 0, 1; if it is another way to write a label, list it under that label's values; on_bad_row: skip leaves such rows out`,
		`{"query":"q","document":{"title":"t"},"label":"good"}`:           `f.jsonl:2: field "label": is "good", want one of -1, 0, 1; if it is another way to write a label, list it under that label's values; on_bad_row: skip leaves such rows out`,
		`{"id":{},"query":"q","document":{"title":"u"},"label":1}`:        `f.jsonl:2: field "id": is {}, want a text that is not empty`,
		`{"id":"1","query":"q","document":{"title":"u"},"label":1}`:       `f.jsonl:2: field "id": "1" is also the id of line 1, want unique ids`,
		`{"query":"q","query":"q","document":"t","label":1}`:              `f.jsonl:2: has "query" twice`,
		`["q"]`:        `f.jsonl:2: not a JSON object, want {"query": ..., "document": ..., "label": ...}`,
		`{"query":`:    `f.jsonl:2: not a JSON object: unexpected end of JSON input`,
		"{\"q\":\xff}": `f.jsonl:2: not valid UTF-8`,
	} {
		inFolder(t, map[string]string{"f.jsonl": good + row})
		got, _, err := read("f.jsonl")
		assert.EqualError(t, err, want)
		assert.Nil(t, got)
		var re *RowError
		if assert.ErrorAs(t, err, &re) {
			assert.Equal(t, 2, re.Line)
		}
	}
}

func TestErrorsOfFlatFiles(t *testing.T) {
	for file, c := range map[string]struct{ text, want string }{
		"a.csv":       {"query,title,label\nq,t\n", `a.csv:2: 2 values, want 3: query, title, label`},
		"b.csv":       {"query,title,label\n\"q\nq2\",t,1\n\"q,t,1\n", `b.csv:4: the quote that opens a value is not closed before a comma or a line's end, want "a 24"" screen" for a 24" screen`},
		"c.csv":       {"query,title,query\n", `c.csv:1: the header names the column "query" twice`},
		"semi.csv":    {"query;title;label\nq;t, u;1\n", `semi.csv:1: the header is one column, "query;title;label": is the separator ';'? want a comma`},
		"tabs.csv":    {"query\ttitle\n", `tabs.csv:1: the header is one column, "query\ttitle": is the separator '\t'? want a comma`},
		"d.csv":       {"query,name,label\nq,t,1\n", `d.csv:2: field "document": has neither title nor body, want a text or an object such as {"title": "...", "body": "..."}, or columns for them; the columns are query, name, label`},
		"e.csv":       {"query,title,label\nq,\xff,1\n", `e.csv:2: field "title": is not valid UTF-8`},
		"f.tsv":       {"query\ttitle\tlabel\nq\t\"t\t7\n", `f.tsv:2: field "label": is "7", want one of -1, 0, 1; if it is another way to write a label, list it under that label's values; on_bad_row: skip leaves such rows out`},
		"g.csv":       {"query,title,label\n", `g.csv: no pairs, want at least one row`},
		"h.csv":       {"\xff\xfeq\x00", `h.csv: is UTF-16, want UTF-8`},
		"i.txt":       {"", `i.txt: the name does not tell the format, want a format, one of jsonl, csv, tsv, qrels, parquet`},
		"j.gz":        {"", `j.gz: the name does not tell the format, want a format, one of jsonl, csv, tsv, qrels, parquet`},
		"k.csv":       {"query,title,label\n,t,1\n", `k.csv:2: field "query": is "", want a text that is not empty`},
		"l.jsonl":     {"\n" + strings.Repeat("x", MaxLine+1), `l.jsonl:2: longer than 16777216 bytes`},
		"m.jsonl.gz":  {"{}", `m.jsonl.gz: not a gzip file: unexpected EOF`},
		"n.jsonl.zst": {"{}{}{}", `n.jsonl.zst: after line 0: invalid input: magic number mismatch`},
		"p.csv":       {"query,title,label\nq,24\" screen,1\n", `p.csv:2: a quote stands in a value that is in none, want "a 24"" screen" for a 24" screen`},
		"q.csv":       {"query,title,label\nq,t,1\nq,\"" + strings.Repeat("x\n", MaxLine/2+9999), `q.csv: the row after that of line 2: longer than 16777216 bytes; is a quote not closed?`},
		"o.parquet":   {"PAR1", `o.parquet: not a Parquet file: it does not end in its footer`},
		"r.csv":       {"query,title,label,,\nq,t,7,,\n", `r.csv:2: field "label": is "7", want one of -1, 0, 1; if it is another way to write a label, list it under that label's values; on_bad_row: skip leaves such rows out`},
	} {
		inFolder(t, map[string]string{file: c.text})
		_, _, err := read(file)
		assert.EqualError(t, err, c.want)
	}
	d := Data{Pairs: Table{File: "r.csv", Header: []string{"query", "title", "title", "label"}}, Labels: grades}
	_, _, err := d.Read()
	assert.EqualError(t, err, `r.csv: the header names the column "title" twice`)
}

// A file as Windows writes it; equal numbers are the same label.
func TestWindowsFiles(t *testing.T) {
	row := func(document, label string) string {
		return fmt.Sprintf("{%q:%q,%q:%q,%q:%s}\r\n", "query", "q", "document", document, "label", label)
	}
	inFolder(t, map[string]string{
		"f.jsonl": "\ufeff" + row("a", "1") + row("b", `"-1"`) + row("c", "1.0"),
		"i.jsonl": row("a", "1") + "\ufeff" + row("b", "1"),
	})
	got, r, err := read("f.jsonl")
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "-1", "1"}, []string{got[0].Label(), got[1].Label(), got[2].Label()})
	assert.Equal(t, "f.jsonl: begins with a byte order mark, which is skipped\nf.jsonl: has the line ends of Windows\n3 rows\n", r.String())
	_, _, err = read("i.jsonl")
	assert.ErrorContains(t, err, "i.jsonl:2: not a JSON object")
}

// The same pairs in each format are the same examples.
func TestFormats(t *testing.T) {
	type document struct {
		Title string  `parquet:"title"`
		Brand *string `parquet:"brand,optional"`
		Price float64 `parquet:"price"`
	}
	type pair struct {
		Query    string   `parquet:"query"`
		Document document `parquet:"document"`
		Label    int32    `parquet:"label"`
		Raters   []int32  `parquet:"raters,list"`
		Topic    string   `parquet:"topic"`
	}
	logi := "Logi"
	var table bytes.Buffer
	w := parquet.NewGenericWriter[pair](&table)
	_, err := w.Write([]pair{
		{"mouse", document{"M185", &logi, 9.5}, 1, []int32{1, 0}, "a"},
		{"mouse", document{"Pad, \"soft\"", nil, 3}, 0, nil, "b"},
	})
	require.NoError(t, err)
	require.NoError(t, w.Close())

	const jsonl = `{"query":"mouse","document":{"title":"M185","brand":"Logi","price":9.5},"label":1,"raters":[1,0],"topic":"a"}
{"query":"mouse","document":{"title":"Pad, \"soft\"","price":3},"label":0,"raters":[],"topic":"b"}
`
	var zipped, zst bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte(jsonl))
	require.NoError(t, z.Close())
	zs, err := zstd.NewWriter(&zst)
	require.NoError(t, err)
	zs.Write([]byte(jsonl))
	require.NoError(t, zs.Close())
	const csv = "query,title,brand,price,label,r1,r2,topic\nmouse,M185,Logi,9.5,1,1,0,a\nmouse,\"Pad, \"\"soft\"\"\",,3,0,,,b\n"
	inFolder(t, map[string]string{
		"a.jsonl": jsonl, "b.JSONL.gz": zipped.String(), "c.ndjson.zst": zst.String(), "d.parquet": table.String(), "e.csv": csv,
		"f.tsv": "mouse\tM185\tLogi\t9.5\t1\t1\t0\ta\r\nmouse\tPad, \"soft\"\t\t3\t0\t\t\tb\r\n",
		"g.gz":  zipped.String(),
	})
	nested := Columns{Raters: []string{"raters"}, Keep: []string{"topic"}}
	flat := Columns{Fields: []FieldColumn{{"brand", "brand"}, {"p*e", "p*e"}}, Raters: []string{"r1", "r2"}, Keep: nested.Keep}
	for _, table := range []Table{
		{File: "a.jsonl", Columns: nested}, {File: "b.JSONL.gz", Columns: nested}, {File: "c.ndjson.zst", Columns: nested},
		{File: "d.parquet", Columns: nested}, {File: "e.csv", Columns: flat},
		{File: "f.tsv", Columns: flat, Header: []string{"query", "title", "brand", "price", "label", "r1", "r2", "topic"}},
		{File: "g.gz", Format: FormatJSONL, Columns: nested},
	} {
		d := Data{Pairs: table, Labels: grades}
		got, r, err := d.Read()
		require.NoError(t, err, table.File)
		for i := range got {
			got[i].File, got[i].Line, got[i].ID = "", 0, ""
		}
		assert.Equal(t, []Example{
			{Query: "mouse", Document: Document{Title: "M185", Fields: []Field{{"brand", "Logi"}, {"price", "9.5"}}}, Truth: []string{"1"}, Raters: []string{"1", "0"}, Columns: map[string]string{"topic": "a"}},
			{Query: "mouse", Document: Document{Title: `Pad, "soft"`, Fields: []Field{{"price", "3"}}}, Truth: []string{"0"}, Columns: map[string]string{"topic": "b"}},
		}, got, table.File)
		assert.Equal(t, 1, r.Unrated)
	}
}

// A pattern finds the columns that have no other role: a label, a rater's, or a step's
// truth is no field of the document, whether it is read or not.
func TestPatternsLeaveOtherRolesOut(t *testing.T) {
	inFolder(t, map[string]string{
		"f.csv": "id,query,document_id,name,body,label,r1,topic,fold,brand,colour\na,mug,d,Mug,red,1,1,same,3,Acme,red\n",
		"d.csv": "id,title,label,query,brand\nd,Mug,Deutsche Grammophon,a,Acme\n",
		"q.csv": "id,query\nq,mug\n", "p.csv": "query_id,document_id,label,brand\nq,d,1,x\n",
	})
	columns := Columns{Title: "name", Fields: []FieldColumn{{"make", "brand"}, {"*", "*"}}, Raters: []string{"r1"}, Keep: []string{"topic"}}
	columns.Apart = []string{"fold"}
	d := Data{Pairs: Table{File: "f.csv", Columns: columns}, Labels: grades}
	want := []Field{{"make", "Acme"}, {"colour", "red"}}
	got, _, err := d.Read()
	require.NoError(t, err)
	assert.Equal(t, want, got[0].Document.Fields)
	d.Unlabelled = true
	got, _, err = d.Read()
	require.NoError(t, err)
	assert.Equal(t, want, got[0].Document.Fields)

	// What no label is in one file may be a field in another.
	d = Data{Pairs: Table{File: "p.csv"}, Queries: &Table{File: "q.csv"}, Documents: &Table{File: "d.csv", Columns: Columns{Fields: []FieldColumn{{"*", "*"}}}}, Labels: grades}
	got, _, err = d.Read()
	require.NoError(t, err)
	assert.Equal(t, []Field{{"label", "Deutsche Grammophon"}, {"query", "a"}, {"brand", "Acme"}}, got[0].Document.Fields)
}

// Numbers of Parquet files are written as JSON has them: an id, a price or a count that
// is a float64, as in tables with missing values, has no exponent.
func TestNumbersOfParquet(t *testing.T) {
	type pair struct {
		ID    float64 `parquet:"id"`
		Query string  `parquet:"query"`
		Title string  `parquet:"title"`
		Price int64   `parquet:"price,decimal(2:12)"`
		Share float32 `parquet:"share"`
		Label float64 `parquet:"label"`
	}
	var table bytes.Buffer
	w := parquet.NewGenericWriter[pair](&table)
	_, err := w.Write([]pair{{12345678, "mug", "Mug", 150000000, .1, 1}})
	require.NoError(t, err)
	require.NoError(t, w.Close())
	inFolder(t, map[string]string{"f.parquet": table.String()})
	d := Data{Pairs: Table{File: "f.parquet", Columns: Columns{Fields: []FieldColumn{{"*", "*"}}}}, Labels: grades}
	got, _, err := d.Read()
	require.NoError(t, err)
	assert.Equal(t, "12345678", got[0].ID)
	assert.Equal(t, []Field{{"price", "1500000"}, {"share", "0.1"}}, got[0].Document.Fields)
}

// Judgements, queries and documents in three files, as TREC has them.
func TestThreeFiles(t *testing.T) {
	inFolder(t, map[string]string{
		"qrels.txt":    "1 0 d2 1\n1\t0\td1 -1\n2 0 d1 0\n",
		"queries.tsv":  "1\tfirst query\n2\tsecond \"query\n3\tnot judged\n",
		"corpus.jsonl": `{"_id":"d1","title":"one","text":"body"}` + "\n" + `{"_id":"d2","title":"two","text":""}` + "\n" + `{"_id":"d3","title":"three"}` + "\n",
		"ratings.csv":  "q,doc,a,b\n1,d1,0,-1\n1,d1,,0\n9,d1,1,1\n",
	})
	d := Data{
		Pairs:     Table{File: "qrels.txt", Format: FormatQrels},
		Queries:   &Table{File: "queries.tsv", Header: []string{"id", "query"}},
		Documents: &Table{File: "corpus.jsonl", Columns: Columns{ID: "_id"}},
		Ratings:   &Table{File: "ratings.csv", Columns: Columns{QueryID: "q", DocumentID: "doc", Raters: []string{"a", "b"}}},
		Labels:    grades, AllDocuments: true,
	}
	got, r, err := d.Read()
	require.NoError(t, err)
	assert.Equal(t, []Example{
		{ID: "1/d2", DocumentID: "d2", Query: "first query", Document: Document{Title: "two"}, Truth: []string{"1"}, File: "qrels.txt", Line: 1},
		{ID: "1/d1", DocumentID: "d1", Query: "first query", Document: Document{Title: "one"}, Truth: []string{"-1"}, Raters: []string{"0", "-1", "", "0"}, File: "qrels.txt", Line: 2},
		{ID: "2/d1", DocumentID: "d1", Query: "second \"query", Document: Document{Title: "one"}, Truth: []string{"0"}, File: "qrels.txt", Line: 3},
	}, got)
	assert.Len(t, r.Documents, 3)
	assert.Equal(t, 2, r.Unrated)

	for change, want := range map[string]string{
		"qrels.txt":    `qrels.txt:1: field "document_id": "d9" is no id of corpus.jsonl`,
		"queries.tsv":  `queries.tsv:2: field "id": "1" occurs before, want unique ids`,
		"corpus.jsonl": `corpus.jsonl:1: field "_id": is missing, want a text that is not empty; the columns are id`,
		"ratings.csv":  `ratings.csv:2: field "b": is "7", want one of -1, 0, 1, or nothing; if it is another way to write a label, list it under that label's values; on_bad_row: skip leaves such rows out`,
	} {
		old, err := os.ReadFile(change)
		require.NoError(t, err)
		bad := map[string]string{"qrels.txt": "1 0 d9 1", "queries.tsv": "1\tq\n1\tq", "corpus.jsonl": `{"id":"d1"}`, "ratings.csv": "q,doc,a,b\n1,d1,0,7\n"}[change]
		require.NoError(t, os.WriteFile(change, []byte(bad), 0o600))
		_, _, err = d.Read()
		assert.EqualError(t, err, want)
		require.NoError(t, os.WriteFile(change, old, 0o600))
	}
}

func TestBadRowsAreSkippedAndListed(t *testing.T) {
	var b strings.Builder
	b.WriteString("query,title,label\n")
	for i := range 12 {
		fmt.Fprintf(&b, "q,t%d,9\n", i)
	}
	for i := range 300 {
		fmt.Fprintf(&b, "q,g%d,1\n", i)
	}
	b.WriteString("q,t,1\nq\nq,t,1\nq,\"t,1\n")
	inFolder(t, map[string]string{"f.csv": b.String()})
	d := Data{Pairs: Table{File: "f.csv"}, Labels: grades, OnBadRow: BadRowSkip}
	got, r, err := d.Read()
	require.NoError(t, err)
	assert.Len(t, got, 301)
	assert.Equal(t, 316, r.Rows)
	assert.Equal(t, 14, r.Bad)
	lines := strings.Split(r.String(), "\n")
	assert.Equal(t, "316 rows, 14 malformed, skipped, 1 duplicates, left out", lines[0])
	assert.Equal(t, `  skipped f.csv:2: field "label": is "9", want one of -1, 0, 1; if it is another way to write a label, list it under that label's values`, lines[1])
	assert.Equal(t, "  and 4 more", lines[11])
}

// Skipping is for single rows: where many are bad, the task is.
func TestTooManyBadRows(t *testing.T) {
	var b strings.Builder
	b.WriteString("query,title,label\n")
	for i := range 100 {
		fmt.Fprintf(&b, "q,t%d,%v\n", i, []string{"1", "0.33", "0"}[i%3])
	}
	inFolder(t, map[string]string{"f.csv": b.String(), "none.csv": "query,title,label\nq,t,9\nq,u,\n"})
	d := Data{Pairs: Table{File: "f.csv"}, Labels: grades, OnBadRow: BadRowSkip}
	got, r, err := d.Read()
	assert.Nil(t, got)
	assert.Equal(t, 33, r.Bad)
	assert.ErrorContains(t, err, "f.csv: 33 of 100 rows are malformed, too many to skip: want at most 5%; the first:\n"+
		`  f.csv:3: field "label": is "0.33", want one of -1, 0, 1; if it is a mean of raters, round it, list it under a label's values, or give the raters' own labels as raters`+"\n  f.csv:6: ")
	n := 0
	for _, err = range d.Each(&Report{}) {
		n++
	}
	assert.ErrorContains(t, err, "f.csv: 33 of 100 rows are malformed, too many to skip", "also for one who reads pair by pair")
	assert.Equal(t, 68, n, "after the others")
	d.Pairs.File = "none.csv"
	_, _, err = d.Read()
	assert.EqualError(t, err, "none.csv: no pairs, for all 2 rows are malformed; the first:\n"+
		`  none.csv:2: field "label": is "9", want one of -1, 0, 1; if it is another way to write a label, list it under that label's values`+"\n"+`  none.csv:3: field "label": is "", want one of -1, 0, 1`)
}

// A quote that is not closed takes all that follows into one row. Each of its lines is
// malformed, so a file is not halved in silence.
func TestAQuoteThatIsNotClosed(t *testing.T) {
	file := func(bad string) string {
		var b strings.Builder
		b.WriteString("query,title,label\n")
		for i := range 400 {
			if i == 200 {
				b.WriteString(bad)
			}
			fmt.Fprintf(&b, "q,t%d,1\n", i)
		}
		return b.String()
	}
	inFolder(t, map[string]string{"f.csv": file("q,\"24 inch,1\n"), "g.csv": file("q,24\" screen,1\n"), "h.csv": file("q,\"two\nlines\",1\nq,\"three\nlines\nlong\",1,1\n")})
	d := Data{Pairs: Table{File: "f.csv"}, Labels: grades, OnBadRow: BadRowSkip}
	_, r, err := d.Read()
	assert.ErrorContains(t, err, "f.csv: 201 of 401 rows are malformed, too many to skip: want at most 5%; the first:\n"+
		"  f.csv:202: the quote that opens a value is not closed")
	assert.EqualError(t, r.FirstBad[1], "f.csv:203: belongs by its quotes to the row of line 202, which is malformed")
	d.Pairs.File = "g.csv"
	got, r, err := d.Read()
	require.NoError(t, err)
	assert.Len(t, got, 400)
	assert.Equal(t, 1, r.Bad)
	d.Pairs.File = "h.csv"
	got, r, err = d.Read()
	require.NoError(t, err)
	assert.Len(t, got, 401)
	assert.Equal(t, 3, r.Bad, "the lines of a row with a value too many")
}

// A column that is named and in no row is an error, in JSON lines, too, and where bad
// rows are skipped.
func TestAColumnOfNoRow(t *testing.T) {
	inFolder(t, map[string]string{
		"f.jsonl": `{"query": "q", "document": {"title": "t", "size": 1}, "label": 1}` + "\n" + `{"query": "q", "document": "u", "label": 0, "why": null}` + "\n",
		"f.csv":   "query,title,label\nq,t,1\n",
	})
	for _, c := range []Columns{{Keep: []string{"x"}}, {Title: "x"}, {Query: "x"}, {Label: "x"}, {Fields: []FieldColumn{{"size", "x"}}}} {
		for _, file := range []string{"f.jsonl", "f.csv"} {
			d := Data{Pairs: Table{File: file, Columns: c}, Labels: grades, OnBadRow: BadRowSkip}
			_, _, err := d.Read()
			want := &ColumnError{file, "x", []string{"query", "document", "label", "why"}}
			if file == "f.csv" {
				want.Columns = []string{"query", "title", "label"}
			}
			assert.Equal(t, want, err, c)
		}
	}
	d := Data{Pairs: Table{File: "f.jsonl", Columns: Columns{Keep: []string{"why"}, Fields: []FieldColumn{{"size", "document.size"}, {"*", "attr_*"}}}}, Labels: grades}
	_, _, err := d.Read()
	assert.NoError(t, err, "a column of some rows")
	d.Pairs.Columns.Keep = []string{"wyh"}
	_, _, err = d.Read()
	assert.EqualError(t, err, `f.jsonl: no row has the column "wyh"; the columns are query, document, label, why`)
	d.Unlabelled = true
	_, _, err = d.Read()
	assert.NoError(t, err, "a few pairs from elsewhere")
}

// A column for the title that a JSON object lacks is named, as one of a CSV file is.
func TestATitleOfAnotherColumn(t *testing.T) {
	inFolder(t, map[string]string{"f.jsonl": `{"query": "q", "prodct": "t", "label": 1}` + "\n", "f.csv": "query,prodct,label\nq,t,1\n"})
	for file, want := range map[string]string{"f.jsonl": "f.jsonl:1", "f.csv": "f.csv:2"} {
		d := Data{Pairs: Table{File: file, Columns: Columns{Title: "product"}}, Labels: grades}
		_, _, err := d.Read()
		assert.EqualError(t, err, want+`: field "product": is missing, want a text; the columns are query, prodct, label`)
	}
}

// The labels are listed as the data may write them.
func TestALabelThatIsNone(t *testing.T) {
	inFolder(t, map[string]string{"f.csv": "query,title,label\nq,t,great\n"})
	d := Data{Pairs: Table{File: "f.csv"}, Labels: []Label{{Name: "0"}, {Name: "1", Values: []string{"Good", "G"}}}}
	_, _, err := d.Read()
	assert.EqualError(t, err, `f.csv:2: field "label": is "great", want one of 0, 1 (or Good, G); if it is another way to write a label, list it under that label's values; on_bad_row: skip leaves such rows out`)
}

// Rows that contradict each other become one example; so do raters without a label.
func TestConflictsAndRaters(t *testing.T) {
	d := Data{Labels: labels("1", "2", "3", "4")}
	for _, c := range []struct {
		raters []string
		want   string
	}{
		{[]string{"3", "3", "1"}, "3"},
		{[]string{"1", "2", "4", ""}, "2"}, // nearest to the mean, 2.33
		{[]string{"2", "3"}, "2"},          // as near, and lower
		{[]string{"1", "1", "4", "4", "3"}, "4"},
		{[]string{"1", "1", "4", "4"}, "1"},
		{[]string{"", "9"}, ""},
	} {
		got, ok := d.ratersLabel(c.raters)
		assert.Equal(t, c.want, got)
		assert.Equal(t, c.want != "", ok)
	}

	// Most rows decide, in whatever order they stand.
	inFolder(t, map[string]string{"a.csv": "query,title,label\nq,t,3\nq,t,3\nq,t,1\n", "b.csv": "query,title,label\nq,t,3\nq,t,1\nq,t,3\n"})
	for file, said := range map[string][]string{"a.csv": {"3", "3", "1"}, "b.csv": {"3", "1", "3"}} {
		d.Pairs = Table{File: file}
		got, r, err := d.Read()
		require.NoError(t, err)
		require.Len(t, got, 1)
		assert.Equal(t, said, got[0].Raters)
		assert.Equal(t, []Conflict{{"q", "t", []int{2, 3, 4}, said, "3"}}, r.Conflicts)
		assert.Equal(t, "3", got[0].Label())
		assert.Zero(t, r.Duplicates)
	}

	inFolder(t, map[string]string{"f.csv": "query,title,a,b,label\nq,t,1,1,1\nq,t,,,3\nq,t,3,3,3\nq,u,4,,\n"})
	d.Pairs = Table{File: "f.csv", Columns: Columns{Raters: []string{"a", "b"}}}
	got, r, err := d.Read()
	require.NoError(t, err)
	require.Len(t, got, 2)
	assert.Equal(t, []string{"1", "1", "3", "3", "3"}, got[0].Raters)
	assert.Equal(t, "3", got[0].Label())
	assert.Equal(t, "4", got[1].Label(), "the raters'")
	assert.Equal(t, []Conflict{{"q", "t", []int{2, 3, 4}, []string{"1", "3", "3"}, "3"}}, r.Conflicts)
	d.Pairs.Columns.Label = "label"
	_, _, err = d.Read()
	assert.EqualError(t, err, `f.csv:5: field "label": is "", want one of 1, 2, 3, 4; on_bad_row: skip leaves such rows out`, "a label that is named must be there")
}

func TestUnlabelled(t *testing.T) {
	inFolder(t, map[string]string{"f.csv": "query,title,label\nq,t,\nq,u,1\nq,v,nobody knows\n"})
	d := Data{Pairs: Table{File: "f.csv"}, Unlabelled: true}
	got, _, err := d.Read()
	require.NoError(t, err)
	require.Len(t, got, 3)
	for _, e := range got {
		assert.Empty(t, e.Label())
	}
	d.Unlabelled = false
	_, _, err = d.Read()
	assert.EqualError(t, err, "rows: there are no labels, want at least one, or unlabelled pairs")
}

func TestValidateNamesAll(t *testing.T) {
	d := Data{
		Pairs:     Table{File: "a.jsonl", Format: "xml", Columns: Columns{Fields: []FieldColumn{{"*", "a"}, {"a", "*b*"}}}},
		Documents: &Table{Columns: Columns{Label: "x"}}, Ratings: &Table{File: "a.csv"},
		OnBadRow: "stop", Labels: []Label{{Name: "1"}, {Name: "2", Values: []string{"1", "2.0"}}, {}, {Name: "3"}, {Name: "good", Values: []string{"3.0"}}},
	}
	assert.EqualError(t, d.Validate(), `a.jsonl: unknown format "xml", want one of jsonl, csv, tsv, qrels, parquet
rows: pairs: the field "*" of column "a" is invalid, want two names, with one * in the column if there is one in the field
rows: pairs: the field "a" of column "*b*" is invalid, want two names, with one * in the column if there is one in the field
rows: documents have no file
rows: documents have no column for "label", only for id, document, title, body, fields
rows: on_bad_row is "stop", want fail or skip
rows: ratings name no columns for raters
rows: the label "1" is empty or occurs twice
rows: the label "" is empty or occurs twice
rows: the labels "3" and "3.0" are the same number`)
	_, _, err := d.Read()
	assert.ErrorContains(t, err, "unknown format")
}

// Whatever the input, Read returns rows that keep its promises or an error that names
// the file.
func FuzzRead(f *testing.F) {
	f.Add(0, []byte(`{"query":"q","document":{"title":"t","a":1},"label":1}`))
	f.Add(0, []byte("{\"query\":\"q\",\"document\":{\"title\":\"t\",\"title\":\"u\"},\"label\":\"0\"}\n{}"))
	f.Add(0, []byte(`{"query":"q","document":{"a":[{}],"a":null},"label":-1,"id":true,"r":[1,"",null]}`))
	f.Add(0, []byte("\xef\xbb\xbf{}"))
	f.Add(1, []byte("query,title,label,r\nq,t,1,\n\"q\",\"t\n\",0,1\nq,t,0,1"))
	f.Add(2, []byte("query\ttitle\tlabel\tr\nq\tt\t1\t\r\n"))
	f.Add(3, []byte("q 0 d 1\n"))
	var table bytes.Buffer
	w := parquet.NewGenericWriter[struct{ Query, Title, Label string }](&table)
	w.Close()
	f.Add(4, table.Bytes())
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, format int, data []byte) {
		if format < 0 || format >= len(formats) {
			return
		}
		file := filepath.Join(dir, "f")
		require.NoError(t, os.WriteFile(file, data, 0o600))
		d := Data{Pairs: Table{File: file, Format: formats[format], Columns: Columns{Fields: []FieldColumn{{"*", "*"}}}}, Labels: grades}
		if format < 3 {
			d.Pairs.Columns.Raters = []string{"r"}
		}
		got, r, err := d.Read()
		if err != nil {
			if !strings.HasPrefix(err.Error(), file+":") || got != nil {
				t.Fatalf("error %q with %d rows", err, len(got))
			}
			d.OnBadRow = BadRowSkip
			if got, r, err = d.Read(); err != nil {
				return
			}
		}
		if len(got)+r.Bad+r.Duplicates > r.Rows {
			t.Fatalf("%d examples of %+v", len(got), r)
		}
		ids := make(map[string]bool)
		for _, e := range got {
			if ids[e.ID] || strings.TrimSpace(e.Query) == "" || strings.TrimSpace(e.Document.Title+e.Document.Body) == "" {
				t.Fatalf("bad row %+v", e)
			}
			ids[e.ID] = true
			if l := e.Label(); l != "-1" && l != "0" && l != "1" {
				t.Fatalf("bad label %q", l)
			}
		}
	})
}

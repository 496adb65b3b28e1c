package criteria

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

// The document's table of kinds is the library's.
func TestKindsInTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/taskfile.md")
	require.NoError(t, err)
	table := "| kind | parameters and their defaults | answers | needs |\n|---|---|---|---|\n"
	for _, k := range Kinds() {
		var params []string
		for _, p := range k.Params {
			params = append(params, fmt.Sprintf("`%s: %s`", p.Name, strings.Trim(p.Default, `"`)))
		}
		table += fmt.Sprintf("| `%s` | %s | %s | %s |\n", k.Name, strings.Join(params, ", "), strings.Join(k.Answers, ", "), strings.Join(k.Needs, "; "))
	}
	assert.True(t, strings.Contains(string(text), table), "want in docs/taskfile.md:\n%s", table)
}

func TestLacks(t *testing.T) {
	lacks := func(docs []rows.Document, name string, params map[string]any) []string {
		c, err := New(name, params)
		require.NoError(t, err)
		return NewCollection(docs, DefaultRoles()).Lacks(c)
	}
	titles := []rows.Document{{Title: "Acme mouse"}, {Title: "Borel pad"}}
	chinese := []rows.Document{{Title: "无线鼠标"}, {Title: "键盘保护套"}}
	for _, name := range Names() {
		if name != "compatibility" && name != "range" {
			assert.Empty(t, lacks(shop(), name, nil), name)
		}
	}
	assert.Empty(t, lacks(titles, "coverage", nil))
	assert.Empty(t, lacks(titles, "accessory", nil))
	assert.Empty(t, lacks(titles, "type", nil))
	assert.Equal(t, []string{"no document has a brand field (one of: brand, supplier, manufacturer, maker, vendor, 品牌)"}, lacks(titles, "brand", nil))
	assert.Equal(t, []string{"no document has a body"}, lacks(titles, "coverage", map[string]any{"field": "body"}))
	assert.Equal(t, []string{`no document has a field "price" with a number`}, lacks(titles, "range", nil))
	assert.Len(t, lacks(chinese, "accessory", nil), 2)
	assert.Contains(t, lacks(chinese, "head", nil)[0], "without spaces")
	assert.Contains(t, lacks([]rows.Document{{Title: "red mouse"}}, "accessory", nil)[0], "which words name things")
	assert.Contains(t, lacks(titles[:1], "fit", map[string]any{"of": []string{"brand", "head"}})[0], "brand field")
}

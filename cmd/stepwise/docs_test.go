package main

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	_ "github.com/stepwise-rl/stepwise/sam/explain" // the only package below that stepwise has no use for
)

// docsImports are the packages that the documentation's Go uses, below the module's path.
var docsImports = []string{
	"lm/local", "lm/model", "lm/tokenizer", "relevance", "relevance/rows", "relevance/split", "relevance/taskfile",
	"rl", "rl/advantage", "rl/objective", "rollout", "sam", "sam/explain",
}

// docsNames are what its parts leave to the reader.
const docsNames = `ctx context.Context, seed uint64, end []int32, tok, tokenizer, teacherTokenizer *tokenizer.Tokenizer,
	policy *local.Policy, large *model.Decoder, engine, teacherEngine rollout.Engine, teacher rl.LogProber,
	source rl.Source, problems []rl.Problem, documents []rows.Document`

// docsOwn completes a whole program.
const docsOwn = `
type ownPolicy interface { rl.Policy; rollout.Engine }
func newMyPolicy() (p ownPolicy) { return }
func myProblems() (all []rl.Problem) { return }
`

// The Go in the documentation is what the packages take today: names, fields, arguments. A
// "…" stands for something left out.
func TestGoInDocumentation(t *testing.T) {
	const module = "github.com/stepwise-rl/stepwise/"
	list := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	imports := `import ("context"; "fmt"; "os"` + "\n"
	for _, p := range docsImports {
		list, imports = append(list, module+p), imports+fmt.Sprintf("%q\n", module+p)
	}
	out, err := exec.Command("go", list...).Output()
	require.NoError(t, err)
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	files := token.NewFileSet()
	compiled := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	parse := func(text string) *ast.File {
		f, err := parser.ParseFile(files, "", text, parser.SkipObjectResolution)
		require.NoError(t, err, text)
		return f
	}

	docs, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	omitted := regexp.MustCompile(`(?m)(, )?…|^import .*`)
	field := regexp.MustCompile(`^[A-Z]\w*:`)
	n := 0
	for _, path := range append(docs, "../../README.md") {
		doc, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, m := range block.FindAllStringSubmatch(string(doc), -1) {
			n++
			text := omitted.ReplaceAllString(m[1], "")
			var f []*ast.File
			switch head := imports + ")\n"; {
			case strings.HasPrefix(text, "package main\n"):
				f = append(f, parse(m[1]), parse("package main\n"+head+docsOwn))
			case field.MatchString(text):
				f = append(f, parse("package main\n"+head+"func _("+docsNames+") {\n_ = rl.Config{\n"+text+"}\n}"))
			default:
				f = append(f, parse("package main\n"+head+"func _("+docsNames+") {\n"+text+"}"))
			}
			check := types.Config{Importer: compiled, Error: func(err error) {
				if e := err.(types.Error); !e.Soft { // as unused variables and imports are
					t.Errorf("%s: %s, in\n%s", path, e.Msg, m[1])
				}
			}}
			_, _ = check.Check("main", files, f, nil)
		}
	}
	require.Greater(t, n, 5)
}

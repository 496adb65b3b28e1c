package main

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
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
	"lm/local", "lm/model", "lm/tensor", "lm/tokenizer", "relevance", "relevance/rows", "relevance/split", "relevance/taskfile",
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

// The commands in the documentation and in scripts name packages that there are, and the
// documentation names tests that there are. docs/log.md says what was.
func TestCommandsInDocumentation(t *testing.T) {
	root := os.DirFS("../..")
	command := regexp.MustCompile(`go"?,? "?(?:test|run|build)\b[^\n]*? "?\./([a-z][\w/-]*)`)
	named := regexp.MustCompile("`(Test[A-Z]\\w+)`")
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	tests, want := map[string]bool{}, map[string]string{}
	n := 0
	require.NoError(t, fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "venv" || d.Name() == "runs"):
			return fs.SkipDir
		case d.IsDir() || path == "docs/log.md":
			return nil
		}
		test, doc := strings.HasSuffix(path, "_test.go"), strings.HasSuffix(path, ".md")
		if !test && !doc && !strings.HasSuffix(path, ".py") && !strings.HasPrefix(path, ".ci/") {
			return nil
		}
		text, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		if test {
			for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
				tests[m[1]] = true
			}
			return nil
		}
		for _, m := range command.FindAllStringSubmatch(string(text), -1) {
			n++
			if _, err := fs.Stat(root, strings.TrimSuffix(m[1], "/")); err != nil {
				t.Errorf("%s: %q: there is no %s", path, m[0], m[1])
			}
		}
		if doc {
			for _, m := range named.FindAllStringSubmatch(string(text), -1) {
				want[m[1]] = path
			}
		}
		return nil
	}))
	for name, path := range want {
		if !tests[name] {
			t.Errorf("%s: there is no %s", path, name)
		}
	}
	require.Greater(t, n, 50)
	require.Greater(t, len(want), 30)
}

// The Go in the documentation is what the packages take today: names, fields, arguments. A
// "…" stands for something left out.
func TestGoInDocumentation(t *testing.T) {
	const module = "github.com/stepwise-rl/stepwise/"
	list := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}
	imports := `import ("context"; "errors"; "fmt"; "os"` + "\n"
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

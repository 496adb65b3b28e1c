// Command imports checks the imports of every Go file of this module, tests
// and files for other systems included, against the table of CONTRIBUTING.md.
// Run it in the module's root:
//
//	go run .ci/imports.go
//
// It prints each import that the table does not allow, each package without a
// row, and each name in the table that nothing stands for any more.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const document = "CONTRIBUTING.md"

// row is one line of the table. Packages are paths below the module's;
// "a/..." is a with everything below it.
type row struct {
	room     string
	packages []string // each may import those before it
	rooms    []string // whose packages all of them may import
	single   []string // packages of other rooms that they may import
	tests    []string // packages of other rooms, and modules, that their tests may import
	modules  []string // third-party modules that they may import
}

// place is where a package stands in the table.
type place struct{ row, column int }

// file is what one Go file imports.
type file struct {
	path    string
	pkg     string // its package, below the module's path; tests are their package's
	test    bool
	imports []imported
}

type imported struct {
	path string
	line int
}

func main() {
	faults, err := check()
	if err != nil {
		fmt.Fprintln(os.Stderr, "imports:", err)
		os.Exit(2)
	}
	for _, f := range faults {
		fmt.Println(f)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
}

func check() ([]string, error) {
	goMod, err := os.ReadFile("go.mod")
	if err != nil {
		return nil, err
	}
	module, _, _ := strings.Cut(strings.TrimPrefix(string(goMod), "module "), "\n")
	text, err := os.ReadFile(document)
	if err != nil {
		return nil, err
	}
	rows, err := readTable(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", document, err)
	}
	everyTest := rows[len(rows)-1]
	files, err := readFiles()
	if err != nil {
		return nil, err
	}

	var faults []string
	report := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	used := make(map[string]bool) // a room and a name in its row that is of use
	uncovered := make(map[string]bool)
	for _, f := range files {
		from, ok := find(rows, f.pkg)
		if !ok {
			if !uncovered[f.pkg] {
				report("%s: no row of %s has this package", f.pkg, document)
			}
			uncovered[f.pkg] = true
			continue
		}
		r := rows[from.row]
		used[r.room+" "+r.packages[from.column]] = true
		for _, i := range f.imports {
			where := fmt.Sprintf("%s:%d: import of %s: ", f.path, i.line, i.path)
			name, ours := strings.CutPrefix(i.path, module+"/")
			switch {
			case ours:
				to, ok := find(rows, name)
				if !ok {
					report("%sno row of %s has that package", where, document)
				} else if fault := r.forbids(rows, f, from, to, name, used); fault != "" {
					report("%s%s", where, fault)
				}
			case !isModule(i.path): // the standard library's
			case r.allows(r.modules, i.path, used), f.test && r.allows(r.tests, i.path, used), f.test && everyTest.allows(everyTest.modules, i.path, used):
			default:
				report("%sthe row %q does not allow that module", where, r.room)
			}
		}
	}
	// What is below a folder of the core belongs to it: its users link all of that.
	folders := make(map[string]string)
	for _, r := range rows {
		for _, name := range r.packages {
			folder, _, _ := strings.Cut(name, "/")
			if r.room == "core" {
				folders[folder] = r.room
			} else if folders[folder] != "" {
				report("%s: the row %q names %s, but %s/ belongs to the row %q", document, r.room, name, folder, folders[folder])
			}
		}
	}
	for _, r := range rows {
		for _, name := range r.packages {
			if !used[r.room+" "+name] {
				report("%s: the row %q names %s, which does not exist", document, r.room, name)
			}
		}
		for _, name := range slices.Concat(r.single, r.tests, r.modules) {
			if !used[r.room+" "+name] {
				report("%s: the row %q allows %s, which nothing there imports", document, r.room, name)
			}
		}
	}
	return faults, nil
}

// forbids says why a file of r at place from may not import the package name
// at place to; "" if it may. It notes in used what allowed it.
func (r row) forbids(rows []row, f file, from, to place, name string, used map[string]bool) string {
	switch {
	case from.row == to.row && (to.column <= from.column || f.test):
		return ""
	case from.row == to.row:
		return fmt.Sprintf("the row %q has %s before %s", r.room, f.pkg, name)
	case slices.Contains(r.rooms, rows[to.row].room):
		return ""
	}
	allowed := r.single
	if f.test {
		allowed = slices.Concat(r.single, r.tests)
	}
	for _, a := range allowed {
		if covers(a, name) {
			used[r.room+" "+a] = true
			return ""
		}
	}
	return fmt.Sprintf("the row %q does not allow that room, %q", r.room, rows[to.row].room)
}

// isModule reports whether a name is of a module, and not of a package of ours or
// the standard library's.
func isModule(name string) bool { return strings.Contains(strings.Split(name, "/")[0], ".") }

func (r row) allows(modules []string, imported string, used map[string]bool) bool {
	for _, m := range modules {
		if isModule(m) && covers(m+"/...", imported) {
			used[r.room+" "+m] = true
			return true
		}
	}
	return false
}

// find returns the place of a package: that of the longest name that covers it.
func find(rows []row, pkg string) (best place, ok bool) {
	length := -1
	for i, r := range rows {
		for j, p := range r.packages {
			if covers(p, pkg) && len(p) > length {
				best, length = place{i, j}, len(p)
			}
		}
	}
	return best, length >= 0
}

// covers reports whether a name of the table stands for the package.
func covers(name, pkg string) bool {
	below, all := strings.CutSuffix(name, "/...")
	return pkg == below || all && strings.HasPrefix(pkg, below+"/")
}

var quoted = regexp.MustCompile("`([^`]+)`")

// readTable reads the first table whose header begins with "room". Its last
// row, "every test", has no packages but the modules that all tests may import.
func readTable(text string) (rows []row, err error) {
	_, text, ok := strings.Cut(text, "\n| room |")
	if !ok {
		return nil, errors.New("there is no table with the header | room |")
	}
	seen := make(map[string]string) // the room of each package
	for _, line := range strings.Split(text, "\n")[2:] {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) == 1 {
			break
		}
		if len(cells) != 5 {
			return nil, fmt.Errorf("a row has %d cells, not 5: %s", len(cells), line)
		}
		names := func(i int) (list []string) {
			for _, m := range quoted.FindAllStringSubmatch(cells[i], -1) {
				list = append(list, m[1])
			}
			return list
		}
		r := row{
			room: strings.TrimSpace(cells[0]), packages: names(1), rooms: strings.Fields(quoted.ReplaceAllString(cells[2], "")),
			single: names(2), tests: names(3), modules: names(4),
		}
		if r.room == "every test" {
			return append(rows, r), nil
		}
		// A row names only rows above it, so no import runs back up.
		for _, room := range r.rooms {
			if !slices.ContainsFunc(rows, func(above row) bool { return above.room == room }) {
				return nil, fmt.Errorf("the row %q allows the room %q, which is not above it", r.room, room)
			}
		}
		for _, name := range slices.Concat(r.single, r.tests) {
			if _, ok := find(rows, name); !ok && !isModule(name) {
				return nil, fmt.Errorf("the row %q allows %s, which is not above it", r.room, name)
			}
		}
		for _, name := range r.packages {
			if seen[name] != "" {
				return nil, fmt.Errorf("the rows %q and %q both have %s", seen[name], r.room, name)
			}
			seen[name] = r.room
		}
		rows = append(rows, r)
	}
	return nil, errors.New(`the table has no row "every test"`)
}

// readFiles reads the imports of the module's Go files, whatever system they
// are for.
func readFiles() (files []file, err error) {
	set := token.NewFileSet()
	err = filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() {
			_, notModule := os.Stat(filepath.Join(name, "go.mod"))
			if name != "." && (notModule == nil || base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if path.Ext(base) != ".go" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
			return nil
		}
		parsed, err := parser.ParseFile(set, name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		f := file{path: name, pkg: path.Dir(name), test: strings.HasSuffix(base, "_test.go")}
		for _, spec := range parsed.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, imported{p, set.Position(spec.Pos()).Line})
		}
		files = append(files, f)
		return nil
	})
	slices.SortFunc(files, func(a, b file) int { return cmp.Compare(a.path, b.path) })
	return files, err
}

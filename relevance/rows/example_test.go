package rows_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/relevance/rows"
)

func ExampleData_Read() {
	dir, _ := os.MkdirTemp("", "pairs")
	defer os.RemoveAll(dir)
	os.Chdir(dir)
	os.WriteFile("pairs.csv", []byte(`query,name,brand,grade,rater 1,rater 2
wireless mouse,Logi M185,Logi,3,3,2
wireless mouse,Mouse pad,,1,1,
wireless mouse,Mouse pad,,0,0,
`), 0o600)

	d := rows.Data{
		Pairs: rows.Table{File: "pairs.csv", Columns: rows.Columns{
			Title: "name", Label: "grade", Raters: []string{"rater 1", "rater 2"},
			Fields: []rows.FieldColumn{{Name: "brand", Column: "brand"}},
		}},
		Labels: []rows.Label{{Name: "0"}, {Name: "1"}, {Name: "2"}, {Name: "3"}},
	}
	es, report, err := d.Read()
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(rows.Render(es[0]))
	fmt.Println("label", es[0].Label(), "raters", es[0].Raters)
	fmt.Print(report)

	d.Pairs.File = filepath.Join(dir, "pairs.csv")
	d.Pairs.Columns.Label = "stars"
	_, _, err = d.Read()
	fmt.Println(err.Error()[len(dir)+1:])
	// Output:
	// query: wireless mouse
	// title: Logi M185
	// facts: brand Logi
	// label 3 raters [3 2]
	// 3 rows, 1 pairs with conflicting labels
	//   conflict of "wireless mouse" and "Mouse pad": line 3: 1, line 4: 0; taken as 0
	// pairs.csv:2: field "stars": is missing, want one of 0, 1, 2, 3; the columns are query, name, brand, grade, rater 1, rater 2
}

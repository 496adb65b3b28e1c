package reward

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestCheckEquations(t *testing.T) {
	for text, want := range map[string][2]int{ // right, judged
		"12*3=36":                          {1, 1},
		"12*3=35":                          {0, 1},
		"so 12 * 3 = 36 apples.":           {1, 1},
		"<<12*3=36>>36":                    {1, 1},
		"48/2 = $<<48/2=24>>24":            {1, 1},
		"0.2*50=10 and 1/3+1/3=2/3":        {2, 2},
		"2+3*4=14, (2+3)*4=20":             {2, 2},
		"10-4-3=3, 100/5/2=10":             {2, 2},
		"-5+3=-2, 3*-5=-15, -(2+1)=-3":     {3, 3},
		"12*3=36=30+6=35":                  {2, 3},
		"$1,200 + $300 = $1,500":           {1, 1},
		".5*4=2":                           {1, 1},
		"6×7=42, 42÷6=7, 9−4=5":            {3, 3},
		"10/3=3.33":                        {0, 1},
		"1/0=0, 0/(1-1)=0, 0*(1/0)=0":      {0, 3},
		"Step 1. 5+3=8":                    {1, 1},
		"**5+3=8**":                        {1, 1},
		"[5+3=8] {5+3=8} (5+3=8)":          {3, 3},
		"<<12=12>>12, 12=12, <<+1+2=3>>":   {2, 2},
		"so a 5+3=8, n 5+3=9":              {1, 1},
		"100=5A, 192/1.2=1.2Y, 2+2=4m":     {0, 0},
		"4/3=1 and 1/3, 12 x 1 and 1/4=15": {0, 0},
		"5+3=8 and 4+4=8 and 1/4+1=5/4":    {3, 3},
		"560//10=56":                       {1, 1},
		"12*3=36/hour":                     {1, 1},
		"36 = 12*3":                        {1, 1},
		"\nline\n5+3=8\nline":              {1, 1},
		"2*3=6\n7 apples":                  {1, 1},
		"5=5, x=3, 12, =, 5+=, =5+1":       {0, 0},
		"5+3==8 5+3>=8 5+3=>8 5+3!=9":      {0, 0},
		"x-5+3=2, x - 5+3 = 2, 2x+3=7":     {0, 0},
		"a2+3=5, n*2+3=5, x 2+1=4":         {0, 0},
		"10% of 50+5=10, 20%+5=5.2":        {0, 0},
		"1/2=50%, 2*4=2^3, 2^3+1=9":        {0, 0},
		"2 1/2=2.5, 2.5=2 1/2":             {0, 0},
		"2**3+1=9, 3*3=2**3+1":             {0, 0},
		"2(3+1)=8, 4+4=2(4)":               {0, 0},
		"5+3=5+(, 5+3=8+x, (5+3=8)*2":      {1, 1}, // the second reads "(, 5+3": only the last stands free
		"1+2)=3, (1+2=3, ()=1+1, 1+=1":     {1, 1},
		"3!=6, 3!+2=8, 1.2.3+4=5":          {0, 0},
		`3 \times 4+2=14, 3\cdot 4+2=2`:    {0, 0},
		"":                                 {0, 0},
	} {
		right, all := checkEquations(text)
		assert.Equal(t, want, [2]int{right, all}, text)
	}
}

func TestLongSidesAreNotJudged(t *testing.T) {
	long := "1" + strings.Repeat("+1", maxSide/2-1) // 255 bytes
	_, all := checkEquations(long + "=128")
	assert.Equal(t, 1, all)
	for _, text := range []string{long + "+1=129", "129=" + long + "+1", "1+1=" + strings.Repeat("0", maxSide) + "2"} {
		_, all := checkEquations(text)
		assert.Zero(t, all)
	}
	right, all := checkEquations(strings.Repeat("word ", 99) + "so 5+3=8" + strings.Repeat(" word", 99))
	assert.Equal(t, [2]int{1, 1}, [2]int{right, all})
}

// expression draws an expression with its value, worked out from its tree and
// not from its text.
func expression(t *rapid.T, depth int) (string, *big.Rat) {
	if depth == 0 || rapid.Bool().Draw(t, "leaf") {
		text := rapid.StringMatching(`(0|[1-9][0-9]{0,2})(\.[0-9]{1,2})?`).Draw(t, "number")
		value, _ := new(big.Rat).SetString(text)
		return text, value
	}
	a, x := expression(t, depth-1)
	b, y := expression(t, depth-1)
	op := rapid.SampledFrom([]string{"+", "-", "*", "/"}).Draw(t, "op")
	text := "(" + a + op + b + ")"
	if x == nil || y == nil || op == "/" && y.Sign() == 0 {
		return text, nil
	}
	switch op {
	case "+":
		return text, new(big.Rat).Add(x, y)
	case "-":
		return text, new(big.Rat).Sub(x, y)
	case "*":
		return text, new(big.Rat).Mul(x, y)
	}
	return text, new(big.Rat).Quo(x, y)
}

func TestEquationsAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		left, x := expression(t, 3)
		right, y := expression(t, 3)
		got, judged := checkEquation(left+"="+right, len(left), len(left)+1)
		operated := strings.ContainsAny(left+right, "+-*/")
		assert.Equal(t, operated, judged)
		assert.Equal(t, operated && x != nil && y != nil && x.Cmp(y) == 0, got)
		if x != nil && operated {
			self, judged := checkEquation(left+"="+left+"+0", len(left), len(left)+1)
			assert.True(t, self && judged)
		}
	})
}

func FuzzCheckEquations(f *testing.F) {
	for _, s := range []string{"12*3=36", "<<1/0=2>>", "((1+2)=3", "1,234.5-−×÷=", "**2=2**", "$5 + x = \xff", "9*9*9*9=9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		right, all := checkEquations(text)
		if right < 0 || right > all || all > strings.Count(text, "=") {
			t.Fatalf("%d of %d equations are right", right, all)
		}
		right2, all2 := checkEquations(text + "\n7+8=15\n")
		if right2 < right || all2 < all {
			t.Fatalf("a right equation took away from %d of %d: %d of %d", right, all, right2, all2)
		}
	})
}

// Every annotation of GSM8K recomputes. So do the equations in its prose, with
// the annotations taken out, but for some that are truly wrong ("192*100=$1920")
// or that no reading of the plain text saves ("25 / 1/3 = 75").
func TestGSM8K(t *testing.T) {
	for name, annotations := range map[string]int{"train": 23716, "test": 4282} {
		file, err := os.Open(filepath.Join("..", "..", "shared", "data", "gsm8k", name+".jsonl"))
		if errors.Is(err, fs.ErrNotExist) {
			t.Skip("GSM8K is not there: it belongs in ../shared/data/gsm8k, beside the repository")
		}
		require.NoError(t, err)
		defer file.Close()
		annotation := regexp.MustCompile(`<<.*?>>`)
		found, proseRight, proseAll := 0, 0, 0
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var row struct{ Answer string }
			require.NoError(t, json.Unmarshal(lines.Bytes(), &row))
			for _, a := range annotation.FindAllString(row.Answer, -1) {
				right, all := checkEquations(a)
				assert.Equal(t, [2]int{1, 1}, [2]int{right, all}, a)
				found++
			}
			prose := annotation.ReplaceAllString(row.Answer, "")
			right, all := checkEquations(prose)
			proseRight += right
			proseAll += all
		}
		require.NoError(t, lines.Err())
		assert.Equal(t, annotations, found)
		assert.Greater(t, proseAll, annotations/2)
		assert.Greater(t, float64(proseRight), .995*float64(proseAll), "%d of %d equations in prose are right", proseRight, proseAll)
	}
}

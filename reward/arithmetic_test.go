package reward

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
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
		text := rapid.StringMatching(`(0|[1-9][0-9]{0,2})(\.[0-9])?`).Draw(t, "number")
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
		left = "(" + left + ")" // so that 1.5 is no item of a list
		right, y := expression(t, 3)
		got, judged := (&equation{left: left, right: right}).judge()
		operated := strings.ContainsAny(left+right, "+-*/")
		assert.Equal(t, operated, judged)
		assert.Equal(t, operated && x != nil && y != nil && x.Cmp(y) == 0, got)
		if x != nil && operated {
			self, judged := (&equation{left: left, right: left + "+0"}).judge()
			assert.True(t, self && judged)
		}
	})
}

// A word of any language beside a true statement never makes it a wrong equation,
// whether the word is a unit, a rounding, a function or an operator.
func TestUnknownWordsNeverMakeWrong(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.OneOf(rapid.StringMatching(`[a-zß-öа-я]{2,9}`), rapid.StringMatching(`[一-龥가-힣ぁ-んァ-ヴก-ฮ]{1,3}`)).
			Filter(func(s string) bool { return !harmlessWords[s] }).Draw(t, "word")
		n := rapid.Int64Range(1, 400).Draw(t, "n")
		c := rapid.Int64Range(1, 400).Draw(t, "c")
		k := rapid.SampledFrom([]int64{2, 3, 7, 10, 12, 24, 60, 100, 144, 365, 1000, 1000000}).Draw(t, "unit")
		blank := rapid.SampledFrom([]string{" ", ""}).Draw(t, "blank")
		text := rapid.SampledFrom([]string{
			fmt.Sprintf("%d + %d = %d%s%s", n*k, c*k, n+c, blank, word),
			fmt.Sprintf("%d + %d = %d%s%s", n, c, (n+c)*k, blank, word),
			fmt.Sprintf("%d * %d = %d%s%s", n*k, c, n*c, blank, word),
			fmt.Sprintf("%d / %d = %d%s%s", n, c, n/c, blank, word),
			fmt.Sprintf("%d / %d = %d %s %d", n, c, n/c, word, n%c),
			fmt.Sprintf("%s%s%d + %d = %d", word, blank, n*k, c, n+c),
			fmt.Sprintf("%s%s%d + %d = %d", word, blank, n, c, n*k+c),
			fmt.Sprintf("%s%s%d + %d = %d", word, blank, n*n, c, n+c),
			fmt.Sprintf("%s%s%d + %d = %d", word, blank, n, c, n*n*n+c),
			fmt.Sprintf("%s%s%d + %d = %d", word, blank, n, c, c-n),
			fmt.Sprintf("%d + %d = %d%s%s", (n+c)*(n+c)-c, c, n+c, blank, word),
			fmt.Sprintf("%d %s %d + %d = %d", n, word, c, n, k),
			fmt.Sprintf("%d + %d = %d %s %d", n, c, (n+c)%k, word, k),
			fmt.Sprintf("%d + %d = %d%s%s", n, c, (n+c)/10*10, blank, word),
		}).Draw(t, "text")
		if right, all := checkEquations(text); all > right {
			t.Fatalf("%q is not certainly wrong", text)
		}
	})
}

// The work is linear in the length of the text, whatever is in it: with the square of
// the length this would take many minutes.
func TestManyEquationsAreQuick(t *testing.T) {
	for _, part := range []string{"=", "1=", "1+1=3;", "1+1=3=", "(", "1+(", "=(((((((", "so 1+1=3, ", "1/1/1/", "**", "$", "1,"} {
		checkEquations(strings.Repeat(part, 1<<18/len(part)))
	}
}

func FuzzCheckEquations(f *testing.F) {
	for _, s := range []string{"12*3=36", "<<1/0=2>>", "((1+2)=3", "1,234.5-−×÷=", "**2=2**", "$5 + x = \xff", "9*9*9*9=9",
		"- 12 + 5 = **17**", "7 + 5 = 2 mod 10", "总价１２＋３＝15元", "1.500+500=2.000", "7//2 == \\boxed{3}", "12\n- 5 + 1 = 8", "1/2 + 1 = 1/3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		right, all := checkEquations(text)
		if right < 0 || right > all || all > strings.Count(fold(text), "=") {
			t.Fatalf("%d of %d equations are right", right, all)
		}
		right2, all2 := checkEquations(text + "\n7+8=15\n")
		if right2 < right || all2 < all {
			t.Fatalf("a right equation took away from %d of %d: %d of %d", right, all, right2, all2)
		}
	})
}

// Every annotation of GSM8K recomputes. So do the equations in its prose, with
// the annotations taken out, but for eight that are truly wrong, such as
// "$4200+$3000 = $8600".
func TestGSM8K(t *testing.T) {
	for name, annotations := range map[string]int{"train": 23716, "test": 4282} {
		file, err := os.Open(filepath.Join("..", "..", "shared", "data", "gsm8k", name+".jsonl"))
		if errors.Is(err, fs.ErrNotExist) {
			t.Skip("GSM8K is not there: it belongs in ../shared/data/gsm8k, beside the repository")
		}
		require.NoError(t, err)
		defer file.Close()
		annotation := regexp.MustCompile(`<<.*?>>`)
		found, proseWrong, proseAll := 0, 0, 0
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
			proseWrong += all - right
			proseAll += all
		}
		require.NoError(t, lines.Err())
		assert.Equal(t, annotations, found)
		assert.Greater(t, proseAll, annotations/2)
		assert.LessOrEqual(t, proseWrong, 8, "of %d equations in prose", proseAll)
	}
}

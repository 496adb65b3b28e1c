//go:build ignore

// Command chinese writes chinese.csv: 1,000 pairs of a shop's queries and products,
// with the true answer of each step and why. Products are named by synonyms, accessories
// have the product's name in theirs, and features are denied as often as stated, so that
// shared characters decide little.
//
//	go run chinese.go > chinese.csv
package main

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
)

// A product has names, of which the first is the usual one, and accessories.
type product struct{ names, accessories []string }

var products = []product{
	{[]string{"手机", "智能机"}, []string{"手机壳", "手机贴膜"}},
	{[]string{"登山鞋", "徒步鞋"}, []string{"登山鞋鞋带", "登山鞋鞋垫"}},
	{[]string{"书包", "双肩包"}, []string{"书包挂件", "书包防雨罩"}},
	{[]string{"耳机", "耳麦"}, []string{"耳机套", "耳机收纳盒"}},
	{[]string{"水杯", "保温壶"}, []string{"水杯刷", "水杯套"}},
	{[]string{"雨伞", "晴雨伞"}, []string{"雨伞架", "雨伞收纳袋"}},
}

// A feature is stated or denied in several ways.
type feature struct {
	name      string
	yes, deny []string
}

var features = []feature{
	{"防水", []string{"防水", "不怕雨淋"}, []string{"不防水"}},
	{"轻便", []string{"轻便", "份量很轻"}, []string{"不算轻便"}},
	{"防摔", []string{"防摔", "耐跌"}, []string{"不防摔"}},
}

var people = [][]string{{"儿童", "孩子"}, {"女士", "女生"}, {"老人", "长辈"}}

var brands = []string{"云途", "山野", "小禾"}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// either writes the first of some words most of the time.
func either(r *rand.Rand, words []string) string {
	if r.Float64() < .5 {
		return words[0]
	}
	return pick(r, words[1:])
}

func main() {
	out := csv.NewWriter(os.Stdout)
	out.Write(strings.Split("查询,标题,描述,品牌,标签,品类,品类理由,特点,特点理由,人群,人群理由", ","))
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[string]bool{}
	for rows := 0; rows < 1000; {
		p := pick(r, products)
		var wants *feature
		var who []string
		query := either(r, p.names)
		if r.Float64() < .75 {
			wants = &features[r.IntN(len(features))]
			query = wants.name + query
		}
		if wants == nil || r.Float64() < .6 {
			who = pick(r, people)
			query += pick(r, []string{" ", " 适合", " 给"}) + pick(r, who)
		}
		if seen[query] {
			continue
		}
		seen[query] = true
		for range 4 + r.IntN(3) {
			if rows++; rows > 1000 {
				break
			}
			out.Write(row(r, query, p, wants, who))
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// row draws a product for a query and judges it.
func row(r *rand.Rand, query string, p product, wants *feature, who []string) []string {
	name, kind := either(r, p.names), "相同"
	switch x := r.Float64(); {
	case x < .2:
		name, kind = pick(r, p.accessories), "配件"
	case x < .4:
		other := pick(r, products)
		for other.names[0] == p.names[0] {
			other = pick(r, products)
		}
		name, kind = either(r, other.names), "不同"
	}
	kindWhy := fmt.Sprintf("要%s 是%s", p.names[0], name)

	var said []string
	has, hasWhy := "未问", "没问特点"
	if wants != nil {
		has, hasWhy = "不符", wants.name+"没写"
		switch x := r.Float64(); {
		case x < .55:
			words := either(r, wants.yes)
			said, has, hasWhy = append(said, words), "符合", "写了"+words
		case x < .85:
			words := pick(r, wants.deny)
			said, hasWhy = append(said, words), "写了"+words
		}
	}
	for len(said) < 2 {
		f := pick(r, features)
		if wants == nil || f.name != wants.name {
			said = append(said, pick(r, append(f.yes, f.deny...)))
		}
	}
	r.Shuffle(len(said), func(i, j int) { said[i], said[j] = said[j], said[i] })

	fits, fitsWhy := "未问", "没问人群"
	forWhom := ""
	if who != nil {
		fits, fitsWhy = "不符", "没写人群"
	}
	if x := r.Float64(); who != nil && x < .6 {
		forWhom = pick(r, who)
		fits, fitsWhy = "符合", "给"+forWhom
	} else if x < .8 {
		group := pick(r, people)
		forWhom = pick(r, group)
		if who != nil && group[0] == who[0] {
			fits = "符合"
		}
		if who != nil {
			fitsWhy = "给" + forWhom
		}
	}

	label := 2
	if has == "不符" {
		label--
	}
	if fits == "不符" {
		label--
	}
	if kind != "相同" {
		label = 0
	}
	brand := pick(r, brands)
	title := brand + " " + name
	body := strings.Join(said, "，")
	switch {
	case forWhom != "" && r.Float64() < .5:
		title += " " + forWhom + "款"
	case forWhom != "":
		body += "，适合" + forWhom
	}
	return []string{query, title, body + "。", brand, fmt.Sprint(label), kind, kindWhy, has, hasWhy, fits, fitsWhy}
}

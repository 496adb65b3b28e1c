package criteria

// Products returns the criteria for product search, to be used together.
func Products() []Criterion {
	var cs []Criterion
	add := func(c ...Criterion) { cs = append(cs, c...) }
	for _, f := range []Field{FieldTitle, FieldBody, FieldFields, FieldType, FieldCompatible, FieldAny} {
		add(&Coverage{Field: f}, &Head{Field: f})
	}
	for _, f := range []Field{FieldTitle, FieldBody, FieldFields, FieldAny} {
		add(&Coverage{Field: f, IDF: true})
	}
	for _, f := range []Field{FieldTitle, FieldBody, FieldFields} {
		add(&Phrase{f}, &Rank{f})
	}
	add(&Head{Field: FieldTitle, Bigram: true}, &Head{Field: FieldBody, Bigram: true})
	add(&Coverage{Field: FieldTitle, Rest: true}, &Coverage{Field: FieldAny, IDF: true, Rest: true}, &Specs{})
	add(&Position{}, &Type{}, &Category{}, &Accessory{}, &After{}, &Others{}, &Others{Before: true}, &Companion{}, &Compatible{}, &Brand{})
	add(&Typo{}, &NGram{}, &NGram{Share: true})
	add(&Alike{}, &Alike{Names: true}, &Alike{Relative: true}, &Alike{Names: true, Relative: true})
	add(&Common{"all words"}, &Common{"strong"}, &Common{"head"})
	add(&Model{}, &Attribute{}, &Negation{})
	for _, of := range [][]string{nil, {"coverage", "accessory"}, {"coverage", "alike"}, {"coverage", "position"}, {"coverage", "accessory", "position"}, {"coverage", "accessory", "specifications"}} {
		add(&Fit{Of: of})
	}
	return cs
}

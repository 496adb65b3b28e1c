package criteria

// Products returns a set of criteria for product search, to be used together as the
// features of a model. It leaves out what made predictions worse on validation
// queries of the Chorus judgements, because it says again what others say or holds
// for single queries only: n-grams, compatibility, companions, ranges, and the
// whole list of attributes as a field.
func Products() []Criterion {
	var cs []Criterion
	add := func(c ...Criterion) { cs = append(cs, c...) }
	for _, f := range []Field{FieldTitle, FieldBody, FieldType, FieldAny} {
		add(&Coverage{Field: f}, &Head{Field: f})
	}
	for _, f := range []Field{FieldTitle, FieldBody, FieldAny} {
		add(&Coverage{Field: f, IDF: true})
	}
	add(&Coverage{Field: FieldTitle, Rest: true}, &Coverage{Field: FieldAny, IDF: true, Rest: true})
	for _, f := range []Field{FieldTitle, FieldBody} {
		add(&Phrase{f}, &Rank{f}, &Head{Field: f, Bigram: true})
	}
	add(&Type{}, &Category{}, &Accessory{}, &After{}, &Position{}, &Specs{}, &Brand{}, &Model{}, &Attribute{}, &Negation{}, &Typo{})
	add(&Alike{}, &Alike{Names: true}, &Alike{Relative: true}, &Alike{Names: true, Relative: true})
	add(&Common{"all words"}, &Common{"strong"}, &Common{"head"})
	for _, of := range [][]string{nil, {"coverage", "accessory"}, {"coverage", "alike"}, {"coverage", "position"}, {"coverage", "accessory", "position"}, {"coverage", "accessory", "specifications"}} {
		add(&Fit{Of: of})
	}
	return cs
}

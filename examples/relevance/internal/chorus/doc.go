// Package chorus reads the Chorus product search judgements as published: a
// product catalogue from Icecat and ratings of query-product pairs from 0 to 3
// (github.com/o19s/chorus). The folder holds
//
//	products.jsonl.gz          the catalogue, one JSON object a line
//	Broad_Query_Set_rated.csv  the ratings: query,docid,rating
//	folds.csv                  a fixed split of the queries: query,fold
//
// [Read] joins the three and splits the pairs by query. Everything that does
// not fit (a repeated id, a rating out of range, a product that is not there, a
// query without a fold) is an error that names file and line.
package chorus

package posir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Domains are the results of a setting by domain, such as "sports".
type Domains map[string][]Result

// Pool returns the results of all domains, in the order of their names. With several
// domains, queries and documents get their domain's name in front, as in "sports/q1": what
// two domains call alike is not the same.
func (d Domains) Pool() []Result {
	var all []Result
	for _, name := range slices.Sorted(maps.Keys(d)) {
		for _, r := range d[name] {
			if len(d) > 1 {
				r.Query = name + "/" + r.Query
				if r.Document != "" {
					r.Document = name + "/" + r.Document
				}
			}
			all = append(all, r)
		}
	}
	return all
}

// ReadResults reads a model's results in the form that the benchmark's program
// merges: an object of settings, in it an object of domains, and in that the
// domain's evaluation_results by query. The file of a single domain is an error that says so. It holds no more of the file than the
// results, which keep its order. Errors name setting, domain and query.
func ReadResults(r io.Reader) (map[string]Domains, error) {
	settings := map[string]Domains{}
	d := json.NewDecoder(r)
	err := object(d, func(setting string) error {
		switch setting {
		case "domain", "model_name", "overall_scores", "evaluation_results":
			return errors.New("is of the file of a single domain, SETTING/DOMAIN.json: want an object of settings, and in it of domains")
		}
		if settings[setting] != nil {
			return errors.New("is there twice")
		}
		domains := Domains{}
		settings[setting] = domains
		return object(d, func(domain string) error {
			if _, twice := domains[domain]; twice {
				return errors.New("is there twice")
			}
			results, err := readDomain(d)
			domains[domain] = results
			return err
		})
	})
	if err == nil {
		err = end(d)
	}
	if err != nil {
		return nil, fmt.Errorf("posir: results: %w", err)
	}
	return settings, nil
}

// ReadDomainResults reads the results of one domain, as the benchmark's program
// writes them to SETTING/DOMAIN.json. Errors name the query.
func ReadDomainResults(r io.Reader) ([]Result, error) {
	d := json.NewDecoder(r)
	results, err := readDomain(d)
	if err == nil {
		err = end(d)
	}
	if err != nil {
		return nil, fmt.Errorf("posir: results: %w", err)
	}
	return results, nil
}

// readDomain reads the object of a domain. Only its evaluation_results are used.
func readDomain(d *json.Decoder) ([]Result, error) {
	results, found := []Result(nil), false
	seen := map[string]bool{}
	err := object(d, func(member string) error {
		if member != "evaluation_results" {
			var other json.RawMessage
			return d.Decode(&other)
		}
		found = true
		return object(d, func(query string) error {
			if seen[query] {
				return errors.New("is there twice")
			}
			seen[query] = true
			var row struct {
				Span   []int               `json:"pos_char_span"`
				Chars  *int                `json:"pos_char_length"`
				Tokens *int                `json:"pos_token_length"`
				Scores map[string]*float64 `json:"scores"`
			}
			if err := d.Decode(&row); err != nil {
				return err
			}
			const metric = "ndcg_cut_10"
			ndcg := row.Scores[metric]
			switch {
			case len(row.Span) != 2:
				return fmt.Errorf("pos_char_span has %d numbers, want start and end", len(row.Span))
			case row.Chars == nil:
				return errors.New("no pos_char_length")
			case row.Tokens == nil:
				return errors.New("no pos_token_length")
			case ndcg == nil:
				return fmt.Errorf("no %s among the scores", metric)
			case !(*ndcg >= 0 && *ndcg <= 1):
				return fmt.Errorf("%s is %v, want 0 to 1", metric, *ndcg)
			}
			results = append(results, Result{
				Query:    query,
				Evidence: Evidence{row.Span[0], row.Span[1], *row.Chars, *row.Tokens},
				NDCG:     *ndcg,
			})
			return nil
		})
	})
	if err == nil && !found {
		err = errors.New(`no "evaluation_results"`)
	}
	return results, err
}

// object reads a JSON object: member is called with each name and reads its value.
// Its errors get the name in front.
func object(d *json.Decoder, member func(name string) error) error {
	t, err := d.Token()
	if err != nil {
		return noEOF(err)
	}
	if t != json.Delim('{') {
		return fmt.Errorf("%v, want an object", t)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return noEOF(err)
		}
		if err := member(name.(string)); err != nil {
			return fmt.Errorf("%q: %w", name, noEOF(err))
		}
	}
	_, err = d.Token()
	return noEOF(err)
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// end returns an error unless the text ends here.
func end(d *json.Decoder) error {
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more text after the object")
	}
	return nil
}

// WriteResults writes a domain's results in the form that [ReadDomainResults]
// reads.
func WriteResults(w io.Writer, domain, model string, results []Result) error {
	type row struct {
		Span   [2]int             `json:"pos_char_span"`
		Chars  int                `json:"pos_char_length"`
		Tokens int                `json:"pos_token_length"`
		Scores map[string]float64 `json:"scores"`
	}
	rows := make(map[string]row, len(results))
	sum := 0.0
	for _, r := range results {
		if _, twice := rows[r.Query]; twice {
			return fmt.Errorf("posir: query %q is there twice", r.Query)
		}
		rows[r.Query] = row{[2]int{r.Start, r.End}, r.Chars, r.Tokens, map[string]float64{"ndcg_cut_10": r.NDCG}}
		sum += r.NDCG
	}
	overall := map[string]float64{}
	if len(results) > 0 {
		overall["ndcg_cut_10"] = sum / float64(len(results))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{
		"domain": domain, "model_name": model, "overall_scores": overall, "evaluation_results": rows,
	})
}

package posir

import (
	_ "embed"
	"encoding/json"
	"sync"
)

// Released with the benchmark's program as 10_models_eval_metrics.json:
// https://github.com/Ziyang1060/PosIR.
//
//go:embed published.json
var publishedJSON []byte

// Published returns what the benchmark's authors published of ten embedding models
// in 18 settings (Zeng et al., arXiv:2601.08363): by model, such as "bge-m3", and
// by setting, such as "eng-eng" or "fra-eng". Only these aggregates are public. The
// caller must not change them.
var Published = sync.OnceValue(func() map[string]map[string]Metrics {
	var all map[string]map[string]Metrics
	if err := json.Unmarshal(publishedJSON, &all); err != nil {
		panic("posir: published.json: " + err.Error())
	}
	return all
})

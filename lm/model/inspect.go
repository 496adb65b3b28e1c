package model

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stepwise-rl/stepwise/lm/model/safetensors"
	"github.com/stepwise-rl/stepwise/lm/tensor"
)

// Inspection is what a model's folder holds.
type Inspection struct {
	// ModelType and Architectures are what config.json says.
	ModelType     string
	Architectures []string
	// Decoder is the configuration of what [LoadDecoder] loads, Encoder that
	// of what [LoadEncoder] does, or [PretrainedEncoder] for two classes.
	// Both are nil if the configuration is not one of this package's.
	Decoder *Config
	Encoder *EncoderConfig
	// Body is set if Encoder is the body of an encoder, for PretrainedEncoder.
	Body bool
	// Loaded counts the values that are loaded; 0 if Problem is not nil.
	Loaded int
	// Problem is the error that loading the model returns, if it is due to the
	// configuration, or to names, shapes or types of tensors.
	Problem error
	// Tensors are those of the weights, loaded or not. Without weights they
	// are nil.
	Tensors []safetensors.Tensor
}

// Inspect tells what the folder of a model holds and whether it can be loaded
// here. It takes no memory for weights. Errors are those of reading the folder: a
// damaged file, or no config.json.
func Inspect(dir string) (*Inspection, error) {
	_, _, h, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	in := &Inspection{ModelType: h.ModelType, Architectures: h.Architectures}
	l := newLoader(nil)
	defer l.close()
	var loaded []*tensor.Param
	encoder, body, err := h.encoder(dir)
	if err != nil {
		return nil, err
	}
	if encoder {
		var classes *int
		if in.Body = body; in.Body {
			classes = new(2)
		}
		var cfg EncoderConfig
		if cfg, loaded, in.Problem = l.openEncoder(dir, classes); cfg.Dim > 0 {
			in.Encoder = &cfg
		}
	} else {
		var cfg Config
		if cfg, loaded, in.Problem = l.openDecoder(dir); cfg.Dim > 0 {
			in.Decoder = &cfg
		}
	}
	if l.r == nil { // no configuration of ours, or no weights
		if err := l.open(dir); errors.Is(err, fs.ErrNotExist) {
			return in, nil
		} else if err != nil {
			return nil, err
		}
	}
	in.Tensors = l.r.Tensors()
	if in.Problem == nil {
		for _, p := range loaded {
			in.Loaded += p.Len()
		}
	}
	return in, nil
}

// encoder reports whether a folder is of an encoder, and if it is the body of one. A
// decoder is one in a folder of sentence-transformers.
func (h *hfHeader) encoder(dir string) (is, body bool, err error) {
	_, classifier := h.classifier()
	switch {
	case h.Encoder != nil:
		return true, false, nil
	case Style(h.ModelType).bert() || h.ModelType == "modernbert" || classifier:
		return true, !classifier, nil
	}
	_, err = os.Stat(filepath.Join(dir, "1_Pooling", ConfigFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, false, nil
	}
	return true, true, err
}

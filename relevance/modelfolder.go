package relevance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/stepwise-rl/stepwise/distill"
	"github.com/stepwise-rl/stepwise/lm/local"
	"github.com/stepwise-rl/stepwise/lm/model"
	"github.com/stepwise-rl/stepwise/lm/tensor"
	"github.com/stepwise-rl/stepwise/lm/tokenizer"
	"github.com/stepwise-rl/stepwise/relevance/rows"
	"github.com/stepwise-rl/stepwise/reward"
)

// ModelFile is the file that makes a Hugging Face folder a model folder.
const ModelFile = "stepwise.json"

// ModelVersion is the version of [ModelFile] that this package writes and reads.
const ModelVersion = 1

// ModelKind says what a model folder holds.
type ModelKind string

// The kinds of models.
const (
	// KindDecoder reasons in steps.
	KindDecoder ModelKind = "decoder"
	// KindCrossEncoder classifies query and document together.
	KindCrossEncoder ModelKind = "cross-encoder"
	// KindBiEncoder compares vectors of query and document.
	KindBiEncoder ModelKind = "bi-encoder"
	// KindLabelDecoder is a decoder that states the label in its first token.
	KindLabelDecoder ModelKind = "label-decoder"
)

// ModelInfo is what [ModelFile] says of the model beside it.
type ModelInfo struct {
	Version int       `json:"version"`
	Kind    ModelKind `json:"kind"`
	// TaskDigest is that of the task which the model was trained for, and RunDigest
	// that of the run's manifest.
	TaskDigest string `json:"task_digest"`
	RunDigest  string `json:"run_digest"`
	// DocumentsDigest is that of the documents that the task's criteria knew; "" if the
	// task has none. With others they find other things in the same pair.
	DocumentsDigest string `json:"documents_digest,omitempty"`
	// Stage is the stage of the run whose model it is.
	Stage string `json:"stage"`
	// Labels are in ascending order of relevance; Meanings, if there are any, say
	// what each stands for.
	Labels   []string `json:"labels"`
	Meanings []string `json:"meanings,omitempty"`
	// GradeScale are the expected grades of the first and the last label.
	GradeScale [2]float64 `json:"grade_scale"`
	// Prompt is an example's prompt, or the text that a classifier reads, with the
	// names of its parts in braces where they stand.
	Prompt string `json:"prompt"`
	// MaxLength is how many tokens an input may have.
	MaxLength int `json:"max_length"`
	// Truncation names the rule by which longer inputs are cut. With TruncateDocument,
	// the prompt has at most PromptTokens and the document DocumentTokens: up to half of
	// them of the title, up to a quarter of the fields, the rest of the body.
	Truncation     Truncation `json:"truncation"`
	PromptTokens   int        `json:"prompt_tokens,omitempty"`
	DocumentTokens int        `json:"document_tokens,omitempty"`
	// Input says how a student's input is made.
	Input InputForm `json:"input"`
	// TokenTypes says that the tokens of a pair have the template's types; folders of
	// old versions do without.
	TokenTypes bool `json:"token_types,omitempty"`
	// Head makes the labels' log-probs of a classifier's outputs. The outputs after those
	// are its answers in Steps, if it has learnt them: softmax, in the order of Answers.
	Head  distill.Head  `json:"head,omitempty"`
	Steps []StepAnswers `json:"steps,omitempty"`
	// Link makes a distribution of a bi-encoder's score s, which is 5 times the cosine:
	// its first value is the slope a, the others are the outputs z of an ordinal head
	// (distill.HeadOrdinal), whose z_0 becomes z_0 + a·s.
	Link []float64 `json:"link,omitempty"`
	// AnswerTokens bounds what a decoder writes.
	AnswerTokens int `json:"answer_tokens,omitempty"`
	// Chat says that the prompt goes through the folder's chat template.
	Chat bool `json:"chat,omitempty"`
	// End are the tokens that end an answer.
	End         []int32     `json:"end,omitempty"`
	Calibration Calibration `json:"calibration"`
}

// StepAnswers is a step with the answers that it allows.
type StepAnswers struct {
	Name    string   `json:"name"`
	Answers []string `json:"answers"`
}

// answers are the numbers of answers of the steps.
func (m *ModelInfo) answers() (all []int) {
	for _, s := range m.Steps {
		all = append(all, len(s.Answers))
	}
	return all
}

// Truncation is a rule by which inputs are cut.
type Truncation string

// The rules of truncation.
const (
	// TruncateDocument cuts the texts of the document, never the query.
	TruncateDocument Truncation = "document"
	// TruncateEnd cuts the end of the input.
	TruncateEnd Truncation = "end"
)

// InputForm says how a pair becomes tokens.
type InputForm string

// The forms of inputs.
const (
	// InputPrompt: the task's prompt, rendered.
	InputPrompt InputForm = "prompt"
	// InputText: the example alone, as the prompt shows it.
	InputText InputForm = "text"
	// InputPair: query and document as the two texts of the tokenizer's template.
	InputPair InputForm = "pair"
	// InputTexts: query and document each alone.
	InputTexts InputForm = "texts"
)

// ReadModelInfo reads the file of a model folder.
func ReadModelInfo(dir string) (ModelInfo, error) {
	if dir == "" {
		return ModelInfo{}, errors.New("no model folder is named, want the folder model or student of a run")
	}
	path := filepath.Join(dir, ModelFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ModelInfo{}, fmt.Errorf("%s is no model folder: it has no %s; training writes one into the folder of the run, as model and student: %w", dir, ModelFile, err)
	}
	if err != nil {
		return ModelInfo{}, err
	}
	var m ModelInfo
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case m.Version != ModelVersion:
		return m, fmt.Errorf("%s: version is %d, want %d", path, m.Version, ModelVersion)
	case !slices.Contains([]ModelKind{KindDecoder, KindCrossEncoder, KindBiEncoder, KindLabelDecoder}, m.Kind):
		return m, fmt.Errorf("%s: kind is %q, want decoder, cross-encoder, bi-encoder or label-decoder", path, m.Kind)
	case len(m.Labels) < 2:
		return m, fmt.Errorf("%s: labels are %q, want at least two", path, m.Labels)
	case m.Calibration.Cuts != nil && len(m.Calibration.Cuts) != len(m.Labels)-1:
		return m, fmt.Errorf("%s: calibration has %d cut points for %d labels, want one fewer than labels", path, len(m.Calibration.Cuts), len(m.Labels))
	case m.Kind == KindBiEncoder && len(m.Link) != len(m.Labels):
		return m, fmt.Errorf("%s: link has %d values for %d labels, want as many", path, len(m.Link), len(m.Labels))
	}
	return m, m.Head.Validate(len(m.Labels))
}

// info is what the model folders of a run have in common.
func (p *pipeline) info(kind ModelKind, fix Calibration) ModelInfo {
	manifest := p.f.Manifest()
	return ModelInfo{
		Version: ModelVersion, Kind: kind, TaskDigest: p.digest, RunDigest: manifest.Digest(), DocumentsDigest: p.documents,
		Labels: p.src.Labels, Meanings: p.src.Meanings, GradeScale: [2]float64{0, float64(len(p.src.Labels) - 1)},
		Calibration: fix, Truncation: TruncateDocument, PromptTokens: p.models.MaxSeq() - p.c.MaxTokens, DocumentTokens: p.c.DocumentTokens,
	}
}

// writeFolder writes a model folder as artefacts of the run: what export writes, the
// tokenizer, and last the file that says what it is.
func (p *pipeline) writeFolder(name string, m ModelInfo, tok *tokenizer.Tokenizer, export func(dir string) error) error {
	dir, err := os.MkdirTemp("", "stepwise-model-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := export(dir); err != nil {
		return err
	}
	if err := tok.Save(filepath.Join(dir, "tokenizer.json")); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if err := p.f.WriteArtefact(name+"/"+e.Name(), data); err != nil {
			return err
		}
	}
	return p.writeJSON(name+"/"+ModelFile, m)
}

// calibration is found on what a scorer says of the validation rows.
func (p *pipeline) calibration(ctx context.Context, s calibrated) (Calibration, error) {
	outcomes, _, _, err := outcomesOf(ctx, s, p.src, p.validation(), false)
	return calibrate(outcomes), err
}

// The names of the model folders in a run's folder.
const (
	PolicyFolder  = "model"
	StudentFolder = "student"
)

// writePolicyFolder writes the best of the run's policies.
func (p *pipeline) writePolicyFolder(ctx context.Context) error {
	var done ModelInfo
	if found, err := readJSON(p.f.Folder, PolicyFolder+"/"+ModelFile, &done); found || err != nil {
		return err
	}
	best, _, err := p.bestPolicy()
	if err != nil {
		return err
	}
	m, err := p.models.New("")
	if err != nil {
		return err
	}
	defer m.free()
	if m.Export == nil {
		return nil // it is elsewhere
	}
	if err := p.startFrom(ctx, m, best); err != nil {
		return err
	}
	fix, err := p.calibration(ctx, p.policyScorer(m))
	if err != nil {
		return err
	}
	info := p.info(KindDecoder, fix)
	info.Stage = best
	info.MaxLength, info.AnswerTokens = info.PromptTokens, p.c.MaxTokens
	info.Prompt, info.Input, info.End = p.task.Template().Render(placeholder(p.src)), InputPrompt, p.models.End()
	if x, ok := p.models.(*pretrained); ok {
		info.Chat, info.End = x.template != nil, x.end // all that end an answer, not only the one that is taught
	}
	return p.writeFolder(PolicyFolder, info, p.tok, m.Export)
}

// placeholder is an example whose texts are the names of its parts.
func placeholder(src *rows.Source) rows.Example {
	e := rows.Example{Query: "{query}", Document: rows.Document{Title: "{title}", Body: "{body}", Fields: []rows.Field{{Name: "{name}", Value: "{value}"}}}}
	e.Truth = make([]string, len(src.Steps))
	return e
}

// writeStudentFolder writes the student, calibrated.
func (p *pipeline) writeStudentFolder(s *student, fix Calibration) error {
	info := p.info(s.info.Kind, fix)
	info.Stage = studentStage
	info.MaxLength, info.Input, info.Head, info.Steps, info.Link = s.info.MaxLength, s.info.Input, s.info.Head, s.info.Steps, s.info.Link
	info.TokenTypes = s.info.TokenTypes
	if s.tok != p.tok { // with a tokenizer of its own
		info.Truncation, info.PromptTokens, info.DocumentTokens = TruncateEnd, 0, 0
	}
	info.Prompt = p.src.Input(placeholder(p.src))
	return p.writeFolder(StudentFolder, info, s.tok, s.save)
}

// Closer is a scorer that holds a model.
type Closer interface {
	Scorer
	// Close releases the model.
	Close() error
}

// ErrNoTask is the error of [Open] without the task that a model needs.
var ErrNoTask = errors.New("the model needs the task that it was trained for, which makes its input")

// Open opens a model folder as a scorer. src is the task that the model was trained for:
// it writes the prompt and finds what criteria say of a pair. Another task than the one
// in the folder is an error. The texts of src's examples are cut to what the model reads.
// ctx bounds the opening; the scorer outlives it. backend is what tensor.Open takes, such
// as cpu.
//
// A classifier that reads query and document alone (InputPair, no criteria), as one with a
// pretrained encoder does, needs no task: src may be nil. Others return [ErrNoTask] then.
func Open(ctx context.Context, dir string, src *rows.Source, backend string) (Closer, error) {
	info, err := ReadModelInfo(dir)
	if err != nil {
		return nil, err
	}
	if src == nil {
		if info.Kind != KindCrossEncoder || info.Input != InputPair || info.DocumentsDigest != "" {
			return nil, fmt.Errorf("%s: %w", dir, ErrNoTask)
		}
		src = &rows.Source{Labels: info.Labels, Prepare: rows.OneLine} // as a task file's pairs
	} else if have, err := taskDigest(src); err != nil {
		return nil, err
	} else if have != info.TaskDigest {
		return nil, fmt.Errorf("%s: the model was trained for another task: it has the digest %.12s…, this one has %.12s…", dir, info.TaskDigest, have)
	}
	b, err := tensor.Open(backend)
	if err != nil {
		return nil, err
	}
	s, err := openModel(ctx, dir, &info, src, b)
	if err != nil {
		return nil, errors.Join(err, tensor.Close(b))
	}
	return s, nil
}

// openModel returns a scorer that closes b in the end.
func openModel(ctx context.Context, dir string, info *ModelInfo, src *rows.Source, b tensor.Backend) (Closer, error) {
	tok, err := tokenizer.Load(filepath.Join(dir, "tokenizer.json"))
	if err != nil {
		return nil, err
	}
	prepare, err := preparer(ctx, src, tok, info)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	if info.Kind != KindDecoder {
		return openStudent(dir, info, src, b, tok, prepare)
	}
	return openPolicy(dir, info, src, b, tok, prepare)
}

// preparer returns what completes and cuts a pair from elsewhere, and cuts src's own.
func preparer(ctx context.Context, src *rows.Source, tok *tokenizer.Tokenizer, info *ModelInfo) (func(rows.Example) (rows.Example, error), error) {
	complete := src.Prepare
	if complete == nil {
		complete = func(e rows.Example) rows.Example { return e }
	}
	if info.Truncation == TruncateEnd {
		return func(e rows.Example) (rows.Example, error) { return complete(e), nil }, nil
	}
	d := src.Definition()
	clip := &clipper{ctx: ctx, tok: tok, template: d.Template(), most: info.PromptTokens, document: info.DocumentTokens}
	if src.Clip != nil {
		if err := src.Clip(clip); err != nil {
			return nil, err
		}
	}
	clip.ctx = context.WithoutCancel(ctx) // which bounds the opening, not the scorer
	return func(e rows.Example) (rows.Example, error) {
		e.Truth = make([]string, len(src.Steps)) // nobody knows it
		whole := complete(e)
		e, err := clip.Clip(whole)
		if err != nil || reflect.DeepEqual(e.Document, whole.Document) {
			return e, err
		}
		return complete(e), nil // with what is found in what is left, as in the data
	}, nil
}

func openPolicy(dir string, info *ModelInfo, src *rows.Source, b tensor.Backend, tok *tokenizer.Tokenizer, prepare func(rows.Example) (rows.Example, error)) (Closer, error) {
	x := &pretrained{config: Pretrained{Dir: dir}, backend: b, tok: tok, end: info.End}
	if info.Chat {
		var err error
		if x.template, err = readChatTemplate(dir); err != nil {
			return nil, err
		}
	}
	d, err := model.LoadDecoder(b, dir, model.Frozen())
	if err != nil {
		return nil, err
	}
	e, err := local.NewEngine(d, tok, local.EngineConfig{EOS: info.End, Static: true})
	if err != nil {
		d.Free()
		return nil, err
	}
	free := func() {
		e.Free()
		d.Free()
	}
	t, err := newTask(src, x, 1, info.AnswerTokens, &reward.Counter{})
	if err != nil {
		free()
		return nil, err
	}
	return &policyScorer{
		task: t, engine: e, prober: local.NewLogProber(d, 0), tok: tok, labels: info.Labels, maxTokens: info.AnswerTokens,
		fix: info.Calibration, free: free, backend: b, prepare: prepare,
	}, nil
}

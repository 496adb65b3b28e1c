package tinkertest

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

var checkpointName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,255}$`)

func (s *Server) save(q *request, kind string) (*future, error) {
	m, err := s.use(q.ModelID)
	if err != nil {
		return nil, err
	}
	if !checkpointName.MatchString(q.Path) {
		return nil, &refusal{http.StatusUnprocessableEntity, "path"}
	}
	ref := "tinker://" + m.id + "/" + kind + "/" + q.Path
	if _, ok := s.checkpoints[ref]; ok {
		return nil, &refusal{http.StatusConflict, fmt.Sprintf("Checkpoint '%s' already exists for model '%s'", q.Path, m.id)}
	}
	if m.table == nil {
		return &future{failed: "Model " + m.id + " not loaded"}, nil
	}
	s.checkpoints[ref] = s.clone(m.table)
	return &future{content: encode(map[string]any{"path": ref})}, nil
}

func (s *Server) saveWeights(q *request, _ string) (any, error) {
	f, err := s.save(q, "weights")
	if err != nil {
		return nil, err
	}
	return pending(s.future(f)), nil
}

func (s *Server) saveForSampler(q *request, _ string) (any, error) {
	f, err := s.save(q, "sampler_weights")
	if err != nil {
		return nil, err
	}
	if f.failed == "" { // the path that SkyRL returns leaves the kind out
		f.content = encode(map[string]any{"path": "tinker://" + q.ModelID + "/" + q.Path, "type": "save_weights_for_sampler"})
	}
	return pending(s.future(f)), nil
}

// loadWeights takes no weights into a model that has had another request.
func (s *Server) loadWeights(q *request, _ string) (any, error) {
	m, err := s.use(q.ModelID)
	if err != nil {
		return nil, err
	}
	if m.requests > 1 {
		return nil, &refusal{http.StatusBadRequest, fmt.Sprintf("LoadWeights is not permitted with seq_id %d", m.requests)}
	}
	saved, ok := s.checkpoints[q.Path]
	if !ok || !strings.Contains(q.Path, "/weights/") {
		return nil, &refusal{http.StatusNotFound, "Checkpoint not found: " + q.Path}
	}
	f := &future{content: encode(map[string]any{"type": "load_weights"})}
	if m.table == nil {
		f.failed = "Model " + m.id + " not loaded"
	} else {
		m.table = s.clone(saved)
	}
	return pending(s.future(f)), nil
}

// runs answers what is below /training_runs/.
func (s *Server) runs(w http.ResponseWriter, r *http.Request, parts []string) error {
	model, at := parts[0], strings.Join(parts[1:], "/")
	prefix := "tinker://" + model + "/"
	switch {
	case r.Method == http.MethodGet && at == "checkpoints":
		list := []any{}
		for ref := range s.checkpoints {
			if name, ok := strings.CutPrefix(ref, prefix); ok {
				list = append(list, map[string]any{"checkpoint_id": name[strings.Index(name, "/")+1:], "tinker_path": ref})
			}
		}
		reply(w, http.StatusOK, map[string]any{"checkpoints": list})
		return nil
	case r.Method == http.MethodGet && len(parts) == 4 && parts[3] == "archive":
		http.Redirect(w, r, strings.TrimSuffix(r.URL.Path, "archive")+"download", http.StatusFound)
		return nil
	case r.Method == http.MethodGet && len(parts) == 4 && parts[3] == "download":
		p, ok := s.checkpoints[prefix+"sampler_weights/"+parts[2]]
		if !ok {
			return &refusal{http.StatusNotFound, "Checkpoint not found"}
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, err := w.Write(archive(s.rows(p)))
		return err
	case r.Method == http.MethodDelete && len(parts) == 4:
		ref := prefix + parts[2] + "/" + parts[3]
		if _, ok := s.checkpoints[ref]; !ok {
			return &refusal{http.StatusNotFound, "Checkpoint not found"}
		}
		delete(s.checkpoints, ref)
		w.WriteHeader(http.StatusNoContent)
		return nil
	case r.Method == http.MethodDelete:
		return &refusal{http.StatusBadRequest, "Invalid checkpoint identifier."}
	}
	return &refusal{http.StatusNotFound, "Not Found"}
}

// Saved returns the references of all checkpoints, in order.
func (s *Server) Saved() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.checkpoints))
}

// Package judgetest has a judge model for tests: a handler that answers the questions
// of package judge as a function says.
//
//	server := httptest.NewServer(judgetest.Handler(func(q judgetest.Question, it judgetest.Item) judgetest.Opinion {
//		return judgetest.Opinion{Reason: "It names the city.", Verdict: "correct", Confidence: 95}
//	}))
//
// # Wire form
//
// A question is a POST of OpenAI's chat protocol. Its first message has the
// instructions; the second is a JSON object:
//
//	{"input": "…", "items": [{"id": "3f…-1", "step": "intent", "task": "…",
//	  "criteria": ["object: Name the object."], "allowed_answers": ["0", "1"], "text": "…"}]}
//
// The answer's message is a JSON object with one key for each item, its id:
//
//	{"3f…-1": {"reason": "…", "verdict": "correct", "confidence": 95}}
//
// [Read] and [Reply] are for servers that do something else with either.
package judgetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Question is what a call asks.
type Question struct {
	// Authorization is the header of that name.
	Authorization string
	Model         string
	Temperature   float64
	MaxTokens     int
	Seed          int64
	// Format is the type of response_format, "" if there is none, and Schema the JSON
	// schema in it.
	Format string
	Schema json.RawMessage
	// Messages are the texts of the chat, the instructions first.
	Messages []string
	// Input is what the judged writer was given.
	Input string
	Items []Item
}

// Item is a text to judge.
type Item struct {
	ID string `json:"id"`
	// Step is the step's name and Task its instruction; both are "" for a whole
	// completion.
	Step string `json:"step"`
	Task string `json:"task"`
	// Criteria are those that apply, each with its name before it.
	Criteria []string `json:"criteria"`
	// Answers are those that the step allows; nil = any.
	Answers []string `json:"allowed_answers"`
	Text    string   `json:"text"`
}

// Opinion is the judge's on one item.
type Opinion struct {
	Reason string `json:"reason"`
	// Verdict is "correct", "incorrect" or "unknown".
	Verdict string `json:"verdict"`
	// Confidence is from 0 to 100.
	Confidence int `json:"confidence"`
}

// Read reads a question. The error says what is not as package judge sends it.
func Read(r *http.Request) (q Question, err error) {
	var chat struct {
		Model       string
		Messages    []struct{ Role, Content string }
		Temperature float64
		MaxTokens   int `json:"max_tokens"`
		Seed        int64
		Format      struct {
			Type   string
			Schema struct{ Schema json.RawMessage } `json:"json_schema"`
		} `json:"response_format"`
	}
	if !strings.HasSuffix(r.URL.Path, "/chat/completions") {
		return q, fmt.Errorf("judgetest: the path is %s, want …/chat/completions", r.URL.Path)
	}
	if err := json.NewDecoder(r.Body).Decode(&chat); err != nil {
		return q, fmt.Errorf("judgetest: the body: %w", err)
	}
	if m := chat.Messages; len(m) != 2 || m[0].Role != "system" || m[1].Role != "user" {
		return q, errors.New("judgetest: want the messages of system and user")
	}
	var asked struct {
		Input string
		Items []Item
	}
	if err := json.Unmarshal([]byte(chat.Messages[1].Content), &asked); err != nil {
		return q, fmt.Errorf("judgetest: the user's message: %w", err)
	}
	return Question{
		Authorization: r.Header.Get("Authorization"), Model: chat.Model, Temperature: chat.Temperature,
		MaxTokens: chat.MaxTokens, Seed: chat.Seed, Format: chat.Format.Type, Schema: chat.Format.Schema.Schema,
		Messages: []string{chat.Messages[0].Content, chat.Messages[1].Content}, Input: asked.Input, Items: asked.Items,
	}, nil
}

// Reply answers with a message, and with counts of tokens of the prompt and of the
// answer.
func Reply(w http.ResponseWriter, message string, prompt, answer int) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"choices": []any{map[string]any{"finish_reason": "stop", "message": map[string]string{"role": "assistant", "content": message}}},
		"usage":   map[string]int{"prompt_tokens": prompt, "completion_tokens": answer},
	})
}

// Handler answers every question with what think says of each item, and counts 100
// tokens of the prompt and 10 of the answer. What is no question is answered 400. think
// is called by several goroutines at once.
func Handler(think func(Question, Item) Opinion) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, err := Read(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		opinions := map[string]Opinion{}
		for _, it := range q.Items {
			opinions[it.ID] = think(q, it)
		}
		b, err := json.Marshal(opinions)
		if err != nil {
			panic(err) // texts and a number
		}
		Reply(w, string(b), 100, 10)
	})
}

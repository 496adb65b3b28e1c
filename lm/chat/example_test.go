package chat_test

import (
	"context"
	"fmt"

	"github.com/stepwise-rl/stepwise/lm/chat"
)

// What a ChatML model is to continue.
func Example() {
	text, err := chat.ChatML{}.Render(context.Background(), []chat.Message{
		{Role: "system", Content: "Judge the relevance."},
		{Role: "user", Content: "query: red shoes\nitem: blue boots"},
	}, chat.Options{Generate: true})
	fmt.Println(text, err)
	// Output:
	// <|im_start|>system
	// Judge the relevance.<|im_end|>
	// <|im_start|>user
	// query: red shoes
	// item: blue boots<|im_end|>
	// <|im_start|>assistant
	//  <nil>
}

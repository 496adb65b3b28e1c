// Package chat writes a conversation as the text that a chat model was trained to
// continue.
//
// A [Template] renders messages as text that contains the model's special tokens,
// and [EncodeMessages] makes tokens of it. [Encode] is both as a task.Definition's
// Encode. Three families are built in. Each writes
// exactly what the template writes that its models are published with:
//
//	chat.ChatML{}                        <|im_start|>user … <|im_end|>
//	chat.ChatML{System: chat.QwenSystem} Qwen 2.5; Qwen 2 and SmolLM2 have other system messages
//	chat.Qwen3{}                         Qwen 3, with or without thinking
//	chat.Llama3{}, chat.Llama31{}        Llama 3, and 3.1 to 3.3
//
// The template of any other model is a Jinja program in its folder. [ReadConfig]
// reads it, and package chat/jinja, an interpreter, runs it.
//
// # Tools
//
// Jinja templates also write tools, documents and variables ([Options]) and
// messages that are more than a role and a text ([Message]). They are JSON, as
// transformers and OpenAI have it, so that the order of keys stays:
//
//	var messages []chat.Message
//	err := json.Unmarshal(conversation, &messages)
//	text, err := template.Render(ctx, messages, chat.Options{Tools: tools})
//
// The built-in templates refuse what they do not know.
//
// # Text that looks like a special token
//
// Templates write contents as they are. If a user's text contains <|im_end|>, and the
// rendered text is encoded as a whole, as transformers does, it becomes that token,
// and for the model the message ends there. EncodeMessages and Encode do not do that:
// special tokens come from the template alone.
//
// Examples are in example_test.go. A program that uses it: examples/grpo, whose
// main makes prompts with a model's own template.
package chat

// Package chat writes conversations as the text that chat models were trained
// to continue.
//
// A [Template] renders messages; what it writes is then encoded by the model's
// tokenizer, whose special tokens the text names. Three families are built in,
// each equal to the template that its models are published with:
//
//	chat.ChatML{}                        <|im_start|>user … <|im_end|>
//	chat.ChatML{System: chat.QwenSystem} Qwen 2 and 2.5
//	chat.Qwen3{}                         Qwen 3, with or without thinking
//	chat.Llama3{}, chat.Llama31{}        Llama 3, and 3.1 to 3.3
//
// Any other model's template is a Jinja program in its folder: [ReadConfig]
// finds it, and package chat/jinja, which alone needs a Jinja engine, runs it.
//
// # Text that looks like a special token
//
// As in transformers, contents are written as they are: a user's text that
// holds <|im_end|> ends the message for the model, if the tokenizer takes the
// text for that token. Who cannot trust a text must clean it first.
package chat

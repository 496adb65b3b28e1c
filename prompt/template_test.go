package prompt_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/prompt"
)

type note struct{ Query, Title, Place string }

func template() prompt.Template[note] {
	return prompt.Template[note]{
		System: "You judge notes.",
		Steps: []prompt.Step[note]{
			{Name: "rules", Instruction: "Check the criteria.", Answers: []string{"0", "1"}, Criteria: []prompt.Criterion[note]{
				{Name: "place", Text: "The note is about the place.", When: func(n note) bool { return n.Place != "" }},
				{Name: "topic", Text: "The note is about the topic."},
			}},
			{Name: `"grade" & more`},
		},
		Input: func(n note) string { return "Query: " + n.Query + "\nNote: " + n.Title },
	}
}

func TestRender(t *testing.T) {
	tm := template()
	n := note{Query: "ramen", Title: "Ramen in Osaka"}
	system := `You judge notes.

Reason in these steps:
1. rules: Check the criteria.
   - topic: The note is about the topic.
2. "grade" & more

Write the steps in this order and in exactly this form. State each step's answer once, in its box:
<step name="rules">reasoning \boxed{0 or 1}</step>
<step name="&quot;grade&quot; &amp; more">reasoning \boxed{answer}</step>`
	user := "Query: ramen\nNote: Ramen in Osaka"
	assert.Empty(t, cmp.Diff([]prompt.Message{{Role: "system", Content: system}, {Role: "user", Content: user}}, tm.Messages(n)))
	assert.Empty(t, cmp.Diff(system+"\n\n"+user+"\n", tm.Render(n)))

	n.Place = "Osaka"
	assert.Contains(t, tm.Render(n), "   - place: The note is about the place.\n   - topic:")

	tm.Syntax = prompt.Boxed{}
	assert.Contains(t, tm.Render(n), "\n1. rules: reasoning \\boxed{0 or 1}\n2. \"grade\" & more: reasoning \\boxed{answer}\n\nQuery")

	tm.Compact = true
	assert.Equal(t, "You judge notes.\n\n"+user+"\n", tm.Render(n))
	tm.System = ""
	assert.Equal(t, []prompt.Message{{Role: "user", Content: user}}, tm.Messages(n))
	assert.Equal(t, user+"\n", tm.Render(n))
}

func TestMarks(t *testing.T) {
	tm := template()
	assert.Equal(t, []string{`<step name="rules">`, `<step name="&quot;grade&quot; &amp; more">`, `</step>`, `\boxed{`, `}`}, tm.Marks())
	tm.Syntax = prompt.Boxed{}
	assert.Equal(t, []string{`\boxed{`, `}`}, tm.Marks())
}

func TestWrite(t *testing.T) {
	tm := template()
	text, err := tm.Write([]prompt.Written{{"It fits.", "1"}, {"", "good"}})
	require.NoError(t, err)
	assert.Equal(t, `<step name="rules">It fits. \boxed{1}</step>`+"\n"+`<step name="&quot;grade&quot; &amp; more">\boxed{good}</step>`, text)

	for want, steps := range map[string][]prompt.Written{
		`the number of steps written is 1, want the template's 2`: {{"", "1"}},
		`step "rules" answers "7"`:                                {{"", "7"}, {"", "x"}},
		`states no answer`:                                        {{"</step>", "1"}, {"", "x"}},
		`states 2 answers`:                                        {{`\boxed{1}`, "1"}, {"", "x"}},
		`step "rules" occurs again`:                               {{`\boxed{1}</step><step name="rules">`, "1"}, {"", "x"}},
		`would be read back as "x"`:                               {{"", "1"}, {"", " x "}},
		`does not close its answer`:                               {{"", "1"}, {"", "{"}},
		`states an empty answer`:                                  {{"", "1"}, {"", ""}},
	} {
		_, err := tm.Write(steps)
		assert.ErrorContains(t, err, want)
	}
	tm.Syntax = prompt.Boxed{}
	_, err = tm.Write([]prompt.Written{{`\boxed{1} so`, "1"}, {"", "x"}})
	assert.ErrorContains(t, err, `surplus step`)
}

func TestValidate(t *testing.T) {
	tm := template()
	require.NoError(t, tm.Validate())
	for want, spoil := range map[string]func(*prompt.Template[note]){
		"at least one step":           func(t *prompt.Template[note]) { t.Steps = nil },
		"step 1 has no name":          func(t *prompt.Template[note]) { t.Steps[1].Name = "" },
		`"\xff" is not valid UTF-8`:   func(t *prompt.Template[note]) { t.Steps[1].Name = "\xff" },
		`0 and 1 are both named "r`:   func(t *prompt.Template[note]) { t.Steps[1].Name = "rules" },
		"no Input":                    func(t *prompt.Template[note]) { t.Input = nil },
		`name "place" of criterion 1`: func(t *prompt.Template[note]) { t.Steps[0].Criteria[1].Name = "place" },
		`answer "0" twice`:            func(t *prompt.Template[note]) { t.Steps[0].Answers = []string{"0", "0"} },
		`step "rules" would be malf`:  func(t *prompt.Template[note]) { t.Steps[0].Answers = []string{"}{"} },
	} {
		spoilt := template()
		spoil(&spoilt)
		assert.ErrorContains(t, spoilt.Validate(), want)
	}
	tm.Input, tm.Steps[1].Name, tm.Steps[0].Answers = nil, "", []string{"0", "0"}
	assert.EqualError(t, tm.Validate(), "prompt: the template has no Input\nprompt: step 1 has no name\nprompt: step \"rules\" allows the answer \"0\" twice", "all of them")
}

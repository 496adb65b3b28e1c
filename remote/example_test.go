package remote_test

import (
	"fmt"

	"github.com/stepwise-rl/stepwise/remote"
)

// Settings say where the key is. The key itself does not belong in them.
func ExampleEndpoint() {
	e := remote.Endpoint{URL: "https://judge.example.com/v1", Key: remote.Key{Env: "JUDGE_KEY"}, CAFile: "/etc/ssl/our-ca.pem"}
	fmt.Println(e, e.Validate())
	e = remote.Endpoint{URL: "https://me:secret@judge.example.com/v1"}
	fmt.Println(e)
	fmt.Println(e.Validate())
	// Output:
	// https://judge.example.com/v1 <nil>
	// https://judge.example.com/v1
	// remote: Endpoint.URL is https://judge.example.com/v1 with a user or password, want it without: use Endpoint.Key
}

package remotetest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/stepwise-rl/stepwise/remote/remotetest"
)

// A recorded server that is too busy for the second request.
func Example() {
	recording := `{"method":"GET","path":"/health","status":200,"response":{"status":"ok"}}`
	exchanges, err := remotetest.ReadRecording("health.jsonl", strings.NewReader(recording))
	if err != nil {
		panic(err)
	}
	replay := remotetest.NewReplay(exchanges)
	proxy, err := remotetest.NewProxy(replay, remotetest.Settings{Script: map[int]remotetest.Fault{2: remotetest.FaultBusy}})
	if err != nil {
		panic(err)
	}
	defer proxy.Close()
	for range 3 {
		response, err := http.Get(proxy.URL() + "/health")
		if err != nil {
			panic(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		fmt.Println(response.StatusCode, strings.TrimSpace(string(body)))
	}
	http.DefaultClient.CloseIdleConnections()
	fmt.Println(proxy.Counts().Faults, replay.Unknown())
	// Output:
	// 200 {"status":"ok"}
	// 429 too many requests
	// 200 {"status":"ok"}
	// map[busy:1] []
}

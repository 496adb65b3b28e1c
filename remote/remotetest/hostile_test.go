package remotetest_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/stepwise-rl/stepwise/remote/remotetest"
)

func TestLeaks(t *testing.T) {
	const secret = `sk-"ca/na+ry<7>`
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	inJSON, err := json.Marshal(map[string]string{"key": secret})
	require.NoError(t, err)
	want := []string{
		write("0", "x"+secret+"y"), write("1", string(inJSON)), write("2", url.QueryEscape(secret)), write("3", hex.EncodeToString([]byte(secret))),
		write("4", base64.StdEncoding.EncodeToString([]byte("user:"+secret))),
		write("5", base64.URLEncoding.EncodeToString([]byte("a:"+secret+"bc"))),
		write("6", base64.StdEncoding.EncodeToString([]byte("abc:"+secret+"b"))),
		write("7", base64.StdEncoding.EncodeToString([]byte(secret+"bcd"))),
	}
	write("8", "sk- canary "+secret[:10])
	got, err := remotetest.Leaks(dir, secret)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = remotetest.Leaks(filepath.Join(dir, "none"), secret)
	require.Error(t, err)

	require.NoError(t, remotetest.CheckError(errors.New("fine: 日本語"), secret))
	for _, bad := range []error{nil, errors.New("a\nb"), errors.New("\x1b[0m"), errors.New(secret), errors.New(strings.Repeat("x", 5000))} {
		require.Error(t, remotetest.CheckError(bad, secret))
	}
}

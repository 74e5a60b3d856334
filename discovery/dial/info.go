package dial

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
)

const (
	infoPrefix = "INFO "
	// maxText bounds a text of a server's INFO in bytes: such texts end up in logs and messages.
	maxText = 256
	// maxNonce bounds what a server has the client sign.
	maxNonce = 1 << 10
)

// readInfo reads the first line of a server. What has come after it is returned as rest.
func readInfo(conn net.Conn) (info *nats.ServerInfo, rest []byte, err error) {
	buf := make([]byte, 0, 4<<10)
	for {
		if i := bytes.IndexByte(buf, '\n'); i >= 0 {
			info, err = parseInfo(buf[:i+1])
			return info, buf[i+1:], err
		}
		if len(buf) >= maxInfo || !bytes.HasPrefix([]byte(infoPrefix), buf[:min(len(buf), len(infoPrefix))]) {
			return nil, nil, noInfo(buf)
		}
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, len(buf))...)[:len(buf)]
		}
		n, err := conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if n == 0 && err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && len(buf) == 0 {
				return nil, nil, errSilent
			}
			return nil, nil, err
		}
	}
}

// noInfo returns the error for a server that begins with something else.
func noInfo(line []byte) error {
	if text, ok := bytes.CutPrefix(line, []byte("-ERR ")); ok {
		return violation("it begins with the error %q", clip(strings.TrimSpace(string(text))))
	}
	return errNoInfo
}

// parseInfo reads a line.
func parseInfo(line []byte) (*nats.ServerInfo, error) {
	text, ok := bytes.CutPrefix(line, []byte(infoPrefix))
	if !ok {
		return nil, noInfo(line)
	}
	if len(line) > maxInfo || !bytes.HasSuffix(line, []byte("\r\n")) {
		return nil, violation("an INFO without a proper end, or longer than %d bytes", maxInfo)
	}
	info := &nats.ServerInfo{}
	if err := json.Unmarshal(text, info); err != nil {
		return nil, violation("an INFO that can't be read: %v", clip(err.Error()))
	}
	if len(info.Nonce) > maxNonce {
		return nil, violation("a nonce of %d bytes", len(info.Nonce))
	}
	return info, nil
}

// infoLine returns the INFO as nats.go is to see it. It has what nats.go knows of an INFO and nothing else; what the server
// says about TLS is replaced by what was done.
func infoLine(info nats.ServerInfo, secured bool, servers []string) []byte {
	for _, text := range []*string{
		&info.ID, &info.Name, &info.Version, &info.Host, &info.ClientIP, &info.Cluster, &info.RemoteAccount, &info.Domain,
	} {
		*text = clip(*text)
	}
	info.TLSRequired, info.TLSAvailable, info.ConnectURLs = secured, false, servers
	// Nothing in it has a type that can't be written.
	text, _ := json.Marshal(info)
	return append(append([]byte(infoPrefix), text...), "\r\n"...)
}

// clip returns the beginning of a text, in maxText bytes.
func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "")
}

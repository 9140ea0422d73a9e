package engine

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// The engine's own account is the passwordless default. It may start listeners
// and nothing else. A FILE grant would let it read the gateway's files.
const usersXML = `<clickhouse>
<users>
<default><password></password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
<grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants></default>
<` + userName + `><password>%s</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></` + userName + `>
</users>
<profiles><default/></profiles>
<quotas><default/></quotas>
</clickhouse>
`

// A request that does not carry the real user's credentials reaches no handler
// at all. Grants alone do not do: the function file() needs none here, so that
// through the passwordless account every user of the machine could read the
// gateway's files.
const configXML = `<clickhouse>
<listen_host>127.0.0.1</listen_host>
<listen_reuse_port>true</listen_reuse_port>
<http_port>%d</http_port>
<http_handlers><rule>
<headers><Authorization>Basic %s</Authorization></headers>
<handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name></handler>
</rule></http_handlers>
%s<max_server_memory_usage>%d</max_server_memory_usage>
<users_config>users.xml</users_config>
</clickhouse>
`

// writeFiles writes what the child reads, for its owner's eyes only.
func (e *Engine) writeFiles() error {
	if err := os.MkdirAll(e.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("make engine folder: %w", err)
	}
	native := ""
	if e.native != nil {
		native = "<tcp_port>" + strconv.Itoa(e.native.port) + "</tcp_port>\n"
	}
	credentials := base64.StdEncoding.EncodeToString([]byte(userName + ":" + e.password))
	config := fmt.Sprintf(configXML, e.http.port, credentials, native, e.cfg.MemoryLimit)
	if err := e.writeFile("config.xml", []byte(config)); err != nil {
		return err
	}
	return e.writeFile("users.xml", fmt.Appendf(nil, usersXML, e.password))
}

// announce tells other processes of the same user where the engine is.
func (e *Engine) announce() error {
	b, err := json.Marshal(Endpoint{Addr: e.Addr(), User: userName, Password: e.password}) //nolint:gosec // for its owner only, mode 0600
	if err != nil {
		return fmt.Errorf("announce engine: %w", err)
	}
	return e.writeFile(endpointFile, b)
}

// writeFile replaces a file as a whole: a reader sees the old one or the new
// one, and a file left with a wider mode does not keep it.
func (e *Engine) writeFile(name string, content []byte) error {
	path := filepath.Join(e.cfg.Dir, name)
	next := path + ".next"
	if err := os.Remove(next); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Package config is the one configuration file of the gateway. The comments of
// its struct are the manual.
//
// It never opens a connection and never changes a file: Load reads, Validate
// judges. Values are not changed after Load and are safe for concurrent use.
package config

import "time"

// Config is matron.yaml. Unknown settings are errors, secrets are given by file
// path, and no default trusts a network.
type Config struct {
	// Site is the ODS code of the organisation whose records are behind the
	// gateway, for example RBA. Required.
	Site string `yaml:"site"`
	// Source names this gateway in every record, for example gw1. It never
	// changes, since the sequence of records belongs to it. Required.
	Source string `yaml:"source"`
	// DataDir holds the journal, keys and databases, mode 0700. Required.
	DataDir string `yaml:"data_dir"`
	// ExternalURL is the address that browsers use, for example
	// https://epr.example.org. Required.
	ExternalURL string `yaml:"external_url"`
	// Home is the path that people start from, for example /ui/: the address
	// without a path leads there. Default /.matron/.
	Home string `yaml:"home"`

	Listen       Listen        `yaml:"listen"`
	Admin        Admin         `yaml:"admin"`
	TLS          TLS           `yaml:"tls"`
	SignIn       SignIn        `yaml:"sign_in"`
	Policy       Policy        `yaml:"policy"`
	Limits       Limits        `yaml:"limits"`
	Applications []Application `yaml:"applications"`
	ClickHouse   ClickHouse    `yaml:"clickhouse"`
	Detection    Detection     `yaml:"detection"`
	Branding     Branding      `yaml:"branding"`
	Log          Log           `yaml:"log"`
}

// Listen says where staff reach the gateway.
type Listen struct {
	// Address is host:port, for example ":8443". Required.
	Address string `yaml:"address"`
	// TrustedProxies are the networks of load balancers whose X-Forwarded-For
	// is believed. Default: none.
	TrustedProxies []string `yaml:"trusted_proxies"`
	// MaxHeaderBytes bounds the request header. Default 65536.
	MaxHeaderBytes int `yaml:"max_header_bytes"`
	// DrainTimeout is how long a stop waits for requests in flight. Default 30s.
	DrainTimeout time.Duration `yaml:"drain_timeout"`
}

// Admin is the listener for health, readiness and metrics.
type Admin struct {
	// Address must be on loopback. Default 127.0.0.1:9443.
	Address string `yaml:"address"`
}

// TLS says where the certificate comes from.
type TLS struct {
	// Mode is files, local (a certificate authority of our own, for trials) or
	// acme. Required.
	Mode string `yaml:"mode"`
	// CertificateFile and KeyFile are PEM files, for mode files.
	CertificateFile string `yaml:"certificate_file"`
	KeyFile         string `yaml:"key_file"`
	// Names are the host names of the certificate, for modes local and acme.
	// Default: the host of external_url.
	Names []string `yaml:"names"`
	ACME  ACME     `yaml:"acme"`
}

// ACME is an RFC 8555 certificate authority.
type ACME struct {
	// Directory is the URL of the directory. Required for mode acme.
	Directory string `yaml:"directory"`
	// Email is given to the authority for expiry notices.
	Email string `yaml:"email"`
	// CAFile holds the root that signs the directory's own certificate, for a
	// private authority. Default: the system's roots.
	CAFile string `yaml:"ca_file"`
	// EABKeyID and EABKeyFile are the external account binding.
	EABKeyID   string `yaml:"eab_key_id"`
	EABKeyFile string `yaml:"eab_key_file"`
}

// SignIn is the OpenID Connect provider and the sessions it starts.
type SignIn struct {
	// Issuer is compared exactly with the iss of every token. Required.
	Issuer string `yaml:"issuer"`
	// ClientID and ClientSecretFile identify the gateway. Required.
	ClientID         string `yaml:"client_id"`
	ClientSecretFile string `yaml:"client_secret_file"`
	// Scopes are asked for besides openid.
	Scopes []string `yaml:"scopes"`
	// CAFile holds the root of the provider's certificate. Default: the
	// system's roots.
	CAFile string `yaml:"ca_file"`
	// Idle ends a session without activity. Default 15m.
	Idle time.Duration `yaml:"idle"`
	// Absolute ends any session. Default 12h.
	Absolute time.Duration `yaml:"absolute"`
	// Userinfo asks the provider's userinfo endpoint for claims as well.
	Userinfo bool   `yaml:"userinfo"`
	Claims   Claims `yaml:"claims"`
	Bearer   Bearer `yaml:"bearer"`
}

// Claims names the claims that hold what the gateway needs. Dots lead into
// nested objects.
type Claims struct {
	// Person is the stable id of the person. Default sub.
	Person string `yaml:"person"`
	// Name is what pages show. Default name.
	Name string `yaml:"name"`
	// Roles holds one role or a list of them. Default roles.
	Roles string `yaml:"roles"`
	// Activities holds NHS activity codes. Default activities.
	Activities string `yaml:"activities"`
	// Organisation holds an ODS code. Default org.
	Organisation string `yaml:"organisation"`
	// RoleID holds the id of the selected role. Default selected_roleid.
	RoleID string `yaml:"role_id"`
	// Assurance holds the authentication assurance level, a number or a string.
	// Default authentication_assurance_level.
	Assurance string `yaml:"assurance"`
}

// Bearer allows API clients with access tokens of the same issuer.
type Bearer struct {
	// Audiences are accepted in aud. Default: none, no bearer tokens.
	Audiences []string `yaml:"audiences"`
	// Types are accepted in the typ header. Default: at+jwt (RFC 9068). Add JWT
	// for providers that do not type their access tokens.
	Types []string `yaml:"types"`
}

// Policy says where the rules come from.
type Policy struct {
	// Dir holds Rego v1 files and data. Default: the embedded bundle.
	Dir string `yaml:"dir"`
	// Timeout bounds one decision; an unfinished decision is a deny. Default 250ms.
	Timeout time.Duration `yaml:"timeout"`
}

// Limits are per person and kind of action.
type Limits struct {
	Interactive Rate `yaml:"interactive"`
	Search      Rate `yaml:"search"`
	Bulk        Rate `yaml:"bulk"`
	Machine     Rate `yaml:"machine"`
}

// Rate is a token bucket.
type Rate struct {
	// PerSecond refills the bucket.
	PerSecond float64 `yaml:"per_second"`
	// Burst is its size.
	Burst int `yaml:"burst"`
}

// Application is one application behind the gateway.
type Application struct {
	// Name stands in every record. Required.
	Name string `yaml:"name"`
	// Prefix is the path under which it appears, for example /fhir. Required.
	Prefix string `yaml:"prefix"`
	// Upstream is its address; the prefix is replaced by the path given here.
	// Required.
	Upstream string `yaml:"upstream"`
	// CAFile holds the root of the upstream's certificate. Default: the
	// system's roots.
	CAFile string `yaml:"ca_file"`
	// Map is a built-in map (fhir-r4, orthanc) or the path of a YAML file.
	// Required.
	Map string `yaml:"map"`
	// Mode is enforce or observe. Default enforce.
	Mode string `yaml:"mode"`
	// Site overrides the site of the gateway, where one gateway serves several.
	Site string `yaml:"site"`
	// Timeout bounds the wait for the response header. Default 30s.
	Timeout time.Duration `yaml:"timeout"`
	// MaxBody bounds a request body in bytes. Default 32 MiB.
	MaxBody int64 `yaml:"max_body"`
	// MaxHeld bounds a response that is held until its patients are recorded.
	// Default 16 MiB.
	MaxHeld int64 `yaml:"max_held"`
}

// ClickHouse is where records become searchable.
type ClickHouse struct {
	// Embedded starts an engine of our own. Default true when address is empty.
	Embedded bool `yaml:"embedded"`
	// Library is the engine's shared library. Default: libchdb.so beside the
	// binary or under node_modules.
	Library string `yaml:"library"`
	// Address is host:port of a server, for example clickhouse:9440.
	Address []string `yaml:"address"`
	// Protocol is native or http. Default native.
	Protocol string `yaml:"protocol"`
	// Database, User and PasswordFile are the account. Default database: matron.
	Database     string `yaml:"database"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// TLS encrypts the connection; CAFile holds the server's root. An address
	// that is not on loopback needs it.
	TLS    bool   `yaml:"tls"`
	CAFile string `yaml:"ca_file"`
	// Cluster spreads the tables over several servers. Default: one server.
	Cluster ClickHouseCluster `yaml:"cluster"`
}

// Detection turns accesses into alerts. A feed that is not given is said to be
// missing; its detectors are not evaluated.
type Detection struct {
	// Staff, Patients and Care are NDJSON files.
	Staff    string `yaml:"staff"`
	Patients string `yaml:"patients"`
	Care     string `yaml:"care"`
	// Every is how often detection runs. Default 1m.
	Every time.Duration `yaml:"every"`
}

// Branding is what pages show of the organisation. No logo by default.
type Branding struct {
	Organisation string `yaml:"organisation"`
	ServiceName  string `yaml:"service_name"`
}

// Log is the technical log, which never holds patient data.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format is text or json. Default text.
	Format string `yaml:"format"`
}

// ClickHouseCluster says how the tables are spread; docs/clickhouse.md has the
// settings of the servers. clickhouse.address then names the servers of one
// shard, that of this gateway.
type ClickHouseCluster struct {
	// Name is that of the cluster in remote_servers.
	Name string `yaml:"name"`
	// Replicated makes Replicated tables, which need ClickHouse Keeper.
	Replicated bool `yaml:"replicated"`
}

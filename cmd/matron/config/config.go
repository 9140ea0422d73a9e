// Package config is the one configuration file of the gateway. The comments of
// its struct are the manual.
//
// It never opens a connection and never changes a file: Load reads, Validate
// judges. Values are not changed after Load and are safe for concurrent use.
package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

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

	Listen      Listen      `yaml:"listen"`
	Admin       Admin       `yaml:"admin"`
	TLS         TLS         `yaml:"tls"`
	SignIn      SignIn      `yaml:"sign_in"`
	Policy      Policy      `yaml:"policy"`
	Sensitivity Sensitivity `yaml:"sensitivity"`
	Care        Care        `yaml:"care"`
	Limits      Limits      `yaml:"limits"`
	// hazard:GW-24 control:C-189
	Machines     []Machine     `yaml:"machines"`
	Spool        Spool         `yaml:"spool"`
	Applications []Application `yaml:"applications"`
	ClickHouse   ClickHouse    `yaml:"clickhouse"`
	Detection    Detection     `yaml:"detection"`
	Retention    Retention     `yaml:"retention"`
	Bypass       Bypass        `yaml:"bypass"`
	BreakGlass   BreakGlass    `yaml:"break_glass"`
	HazardLog    HazardLog     `yaml:"hazard_log"`
	Database     Database      `yaml:"database"`
	Notices      Notices       `yaml:"notices"`
	Export       Export        `yaml:"export"`
	Branding     Branding      `yaml:"branding"`
	Log          Log           `yaml:"log"`
	Witness      Witness       `yaml:"witness"`
	Witnessing   Witnessing    `yaml:"witnessing"`
	Journal      Journal       `yaml:"journal"`
	Peers        Peers         `yaml:"peers"`
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
	// hazard:GW-05 control:C-22
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
	Userinfo bool `yaml:"userinfo"`
	// Parameters are added to the request for a sign-in, for example {acr_values:
	// AAL3_ANY}. Default: none.
	Parameters map[string]string `yaml:"parameters"`
	// SingleSession ends a person's other sessions when they sign in. Default false.
	SingleSession bool `yaml:"single_session"`
	// MinAssurance refuses sign-ins below this authentication assurance level, 1 to 3.
	// Default 0, any.
	MinAssurance int `yaml:"min_assurance"`
	// MaxAuthAge refuses sign-ins of people who proved who they are (auth_time) longer
	// ago, or who knows when. Default 0s, any.
	MaxAuthAge time.Duration `yaml:"max_auth_age"`
	// StepUp is asked of the provider where the rules demand a stronger or later
	// sign-in than somebody has.
	StepUp StepUp `yaml:"step_up"`
	Claims Claims `yaml:"claims"`
	Bearer Bearer `yaml:"bearer"`
	Logout Logout `yaml:"logout"`
}

// Logout relaxes the checks of the messages by which the provider ends sessions here
// (OpenID Connect Back-Channel Logout 1.0), for providers that follow a draft.
type Logout struct {
	// AcceptJWTType accepts a typ of JWT, or none, besides logout+jwt. Default false.
	AcceptJWTType bool `yaml:"accept_jwt_type"`
	// AcceptWithoutExpiry accepts a message without exp that is at most two minutes
	// old. Default false.
	AcceptWithoutExpiry bool `yaml:"accept_without_expiry"`
}

// StepUp is a stronger or later sign-in.
type StepUp struct {
	// ACR are the values of acr that are asked for, any of which will do, for example
	// AAL3_ANY. Default: none, the provider decides.
	ACR []string `yaml:"acr"`
	// MaxAge is how long ago the person may have proved who they are. Default 5m.
	// hazard:GW-22 control:C-178
	MaxAge time.Duration `yaml:"max_age"`
}

// Claims names the claims that hold what the gateway needs. Dots lead into nested
// objects, and through every entry of a list: realm_access.roles. What begins with
// $role. is looked up in the entry that selected names: $role.role_code.
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
	// RoleSeparator keeps only what follows the last one of each role: with ":" the
	// role S8000:G8000:R8001 is R8001. Default: none, roles are taken whole.
	RoleSeparator string       `yaml:"role_separator"`
	Selected      SelectedRole `yaml:"selected"`
}

// SelectedRole finds the role that a person chose at sign-in among all they hold. For
// NHS CIS2: {id: selected_roleid, list: nhsid_nrbac_roles, key: person_roleid}. All
// three or none.
type SelectedRole struct {
	// ID is the claim that holds the id of the chosen role.
	ID string `yaml:"id"`
	// List is the claim that lists the roles. Without the chosen one in it nobody has
	// any.
	List string `yaml:"list"`
	// Key is the field of an entry of the list that holds its id.
	Key string `yaml:"key"`
}

// Bearer allows API clients with access tokens of the same issuer.
type Bearer struct {
	// Audiences are accepted in aud. Default: none, no bearer tokens.
	Audiences []string `yaml:"audiences"`
	// Types are accepted in the typ header. Default: at+jwt (RFC 9068). Add JWT
	// for providers that do not type their access tokens.
	Types []string `yaml:"types"`
	// Roles is the claim of an access token that holds roles. Default: that of
	// sign-ins.
	Roles string `yaml:"roles"`
	// Person is the claim of an access token that names a person: one without it is a
	// system's. Default: that of sign-ins.
	Person string `yaml:"person"`
	// MachineClaim and MachineValue mark the token of a system besides, for example gty
	// and client-credentials. Both or none.
	MachineClaim string `yaml:"machine_claim"`
	MachineValue string `yaml:"machine_value"`
}

// The values of policy.promotion.
const (
	PromotionOff      = "off"
	PromotionRequired = "required"
)

// Policy says where the rules come from.
type Policy struct {
	// Dir holds Rego v1 files and data. Default: the embedded bundle.
	Dir string `yaml:"dir"`
	// Promotion is required or off. Where it is required, rules come in force by
	// "matron policy promote" and two people alone: a change of dir, or of what it
	// holds, takes no effect by itself. See docs/policy.md. Default off.
	// hazard:GW-11 control:C-88
	Promotion string `yaml:"promotion"`
	// Bundle is a server that offers signed bundles in OPA's format. Where promotion
	// is required they are candidates, otherwise they come in force. Default: none.
	// hazard:GW-11 control:C-89
	Bundle PolicyBundle `yaml:"bundle"`
	// Candidate is the folder of a bundle that is tried on what is decided, from the
	// record and without any effect. Default: none.
	// hazard:GW-01 control:C-03
	Candidate string `yaml:"candidate"`
	// Timeout bounds one decision; an unfinished decision is a deny. Default 250ms.
	Timeout time.Duration `yaml:"timeout"`
}

// Sensitivity says where it is known which records are protected beyond the usual:
// see docs/policy.md. The files are read at the start and at each reload; one wrong
// line refuses a file. Default: no record is, but for parts of the record that the
// policy's sensitivity.yaml names.
type Sensitivity struct {
	// Patients is the patients file (NDJSON, or CSV with a mapping): its flags, who
	// has died, and merged numbers.
	// hazard:GW-11 control:C-87
	Patients string `yaml:"patients"`
	// Staff is the staff file: whoever's nhs_number stands there is of the class
	// staff as a patient.
	Staff string `yaml:"staff"`
	// Mappings name the mapping file of each that is CSV, for example
	// {patients: patients-columns.yaml}.
	Mappings map[string]string `yaml:"mappings"`
}

// Configured reports whether there is any source.
func (s Sensitivity) Configured() bool { return s.Patients != "" || s.Staff != "" }

// PolicyBundle is a server of rules and the key that signs them.
type PolicyBundle struct {
	// URL is that of the bundle (tar.gz). https, unless on this machine.
	URL string `yaml:"url"`
	// KeyFile holds the public key in PEM form, or several while they are exchanged:
	// one of them must have signed. It is read again for each bundle. Required with url.
	KeyFile string `yaml:"key_file"`
	// Algorithm of the signature: RS256, PS256, ES256, or those with 384 and 512.
	// Default RS256.
	Algorithm string `yaml:"algorithm"`
	// Scope is what the signature must say that it is for. Default: nothing.
	Scope string `yaml:"scope"`
	// CAFile holds the root of the server's certificate. Default: the system's roots.
	CAFile string `yaml:"ca_file"`
	// Poll is how often the server is asked for a newer one. Default 1m.
	Poll time.Duration `yaml:"poll"`
}

// Rate is a token bucket.
type Rate struct {
	// PerSecond refills the bucket.
	PerSecond float64 `yaml:"per_second"`
	// Burst is its size.
	Burst int `yaml:"burst"`
}

// Spool keeps responses that are too long to be held in memory until their patients
// are recorded: in encrypted files without a name, in the folder held of the data
// folder, whose keys are in memory alone.
type Spool struct {
	// Max bounds all of them together in bytes. Default 1 GiB.
	Max int64 `yaml:"max"`
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
	// Map is a built-in map ("matron appmap list" names them) or the path of a YAML file.
	// Required.
	Map string `yaml:"map"`
	// Mode is enforce or observe: see docs/modes.md. A reload takes in a change.
	// Default enforce.
	Mode string `yaml:"mode"`
	// Site overrides the site of the gateway, where one gateway serves several.
	Site string `yaml:"site"`
	// PatientAuthority is who issues the numbers by which the application knows
	// patients, as PID-3-4 of HL7 messages names it: people may then open only whom
	// they care for, as far as the rules demand it. NHS means that they are NHS
	// numbers. It needs a register (care). Default: none, nobody is asked for a care
	// relationship here.
	PatientAuthority string `yaml:"patient_authority"`
	// Authorization is the scheme of the application's own sessions in the header of
	// that name, for example Session: it is passed on. Default: none is.
	Authorization string `yaml:"authorization"`
	// BindReads signs a new identity token for every read as well, which names the
	// request that it is good for (jti, hth). Without it a token for reads serves the
	// same person for up to 15 seconds; those of writes are always for one request. It
	// costs a signature a request. Default false.
	BindReads bool `yaml:"bind_reads"`
	// Timeout bounds the wait for the response header. Default 30s.
	Timeout time.Duration `yaml:"timeout"`
	// MaxBody bounds a request body in bytes. Default 32 MiB.
	MaxBody int64 `yaml:"max_body"`
	// MaxRead bounds in bytes a request body that has to be read to tell whom it
	// concerns; others stream. Default 16 MiB.
	MaxRead int64 `yaml:"max_read"`
	// MaxHeld is how many bytes of a response are in memory while it is held until
	// its patients are recorded. A longer one is spooled. Default 8 MiB.
	MaxHeld int64 `yaml:"max_held"`
	// MaxSpooled bounds a response that is held at all, in bytes; a longer one is
	// refused. Default 256 MiB.
	MaxSpooled int64 `yaml:"max_spooled"`
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
	// Staff, Rota, Patients, Care and Devices are files of one JSON object a line,
	// plain or zstd (docs/detection.md), or CSV with a mapping.
	Staff    string `yaml:"staff"`
	Rota     string `yaml:"rota"`
	Patients string `yaml:"patients"`
	Care     string `yaml:"care"`
	Devices  string `yaml:"devices"`
	// Mappings name the mapping file of each feed that is CSV, for example
	// {rota: rota-columns.yaml}.
	Mappings map[string]string `yaml:"mappings"`
	// Templates is a file of the site's own templates of explanations
	// (docs/detection.md). Default: none.
	Templates string `yaml:"templates"`
	// Every is how often detection looks at what is new. Default 15s.
	Every time.Duration `yaml:"every"`
	// Budget is for how many alerts a day there is time, for a thousand staff. A small
	// hospital has room for 20 a day. What must be reviewed comes on top. Default 20.
	Budget int `yaml:"budget"`
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

// Export says who else gets the record, as a copy in a standard's form.
type Export struct {
	Syslog Syslog `yaml:"syslog"`
}

// Syslog is a collector of DICOM audit messages (IHE ATNA) by syslog over TLS.
// There is no way to send in clear.
type Syslog struct {
	// Address is host:port of the collector, for example siem.example.org:6514;
	// the port may be left out. Default: none, nothing is sent.
	Address string `yaml:"address"`
	// ServerName is the name in its certificate. Default: the host of address.
	ServerName string `yaml:"server_name"`
	// CAFile holds the root of its certificate. Default: the system's roots.
	CAFile string `yaml:"ca_file"`
	// CertificateFile and KeyFile are what the gateway shows to a collector that
	// asks for a certificate (PEM). Default: none.
	CertificateFile string `yaml:"certificate_file"`
	KeyFile         string `yaml:"key_file"`
	// MaxMessage bounds one message in octets; longer ones are sent with
	// shortened fields, which they name. Default 32768.
	MaxMessage int `yaml:"max_message"`
	// Window is how long the collector may hold messages in memory before they
	// are on its disk: what it took within this time before a break is sent
	// again. Default 30s.
	Window time.Duration `yaml:"window"`
	// From is the number of the first record to send when nothing has been sent
	// yet. Default 1, everything.
	From uint64 `yaml:"from"`
}

// Witness says who cosigns the checkpoints of the journal: outsiders, who make it
// impossible to rewrite the record unseen. Default: nobody.
type Witness struct {
	// Witnesses are asked for each checkpoint, all at once.
	Witnesses []WitnessPeer `yaml:"witnesses"`
	// Quorum is how many of them must have cosigned for a checkpoint to count as
	// witnessed. Required with witnesses.
	Quorum int `yaml:"quorum"`
	// PolicyFile is a C2SP tlog-policy file that names witnesses, with their URLs,
	// and quorum, instead of the two settings above.
	PolicyFile string `yaml:"policy_file"`
	// Timeout bounds the wait for one witness. Care never waits. Default 5s.
	Timeout time.Duration `yaml:"timeout"`
}

// WitnessPeer is one witness.
type WitnessPeer struct {
	// URL is its submission prefix. https, unless on this machine. Required.
	URL string `yaml:"url"`
	// KeyFile holds its public key, one line, as "matron witness init" prints it.
	// Required.
	KeyFile string `yaml:"key_file"`
	// CAFile holds the root of its certificate. Default: the system's roots.
	CAFile string `yaml:"ca_file"`
}

// Witnessing says whose checkpoints this gateway cosigns for its peers.
// Default: nobody's.
type Witnessing struct {
	// Logs are the logs of other gateways.
	Logs []WitnessedLog `yaml:"logs"`
}

// WitnessedLog is one log.
type WitnessedLog struct {
	// KeyFile holds its public key, one line. Required.
	KeyFile string `yaml:"key_file"`
}

// Journal says what happens when the disk of the record fails or is full.
type Journal struct {
	// AppendTimeout is how long a disk may take before the next place is tried.
	// Default 250ms.
	AppendTimeout time.Duration `yaml:"append_timeout"`
	// Emergency is room that is kept on the disk for when it is full; 0 keeps
	// none. Default 256MiB.
	Emergency Size `yaml:"emergency"`
	// hazard:GW-12 control:C-48
	Second Second `yaml:"second"`
	// Archive is the folder of compressed segments. Default archive below
	// data_dir; another one must be there already.
	Archive string `yaml:"archive"`
	// KeepPlain is how many segments stay uncompressed. Default 2.
	KeepPlain int `yaml:"keep_plain"`
	// Watermarks are three percentages of the disk in use: from the first on,
	// exports and other bulk work are refused; from the second on, searches that
	// are not part of care as well; from the third on, everything but direct care.
	// Default [80, 90, 95].
	Watermarks []int `yaml:"watermarks"`
}

// Second is where records go while the first disk fails. The folder comes before
// the peer. Default: nowhere; every record is then refused.
type Second struct {
	// Dir is a folder on another device. It must be there already.
	Dir string `yaml:"dir"`
	// SameDevice allows a folder on the same device, for trials: one fault then
	// takes both.
	SameDevice bool `yaml:"same_device"`
	Peer       Peer `yaml:"peer"`
}

// Peer is another gateway that keeps records for this one, as its settings under
// peers allow.
type Peer struct {
	// Name is the other gateway's source, which its certificate holds.
	Name string `yaml:"name"`
	// Address is host:port of its peers.listen.
	Address string `yaml:"address"`
	// CertificateFile and KeyFile prove who this gateway is: its source is a name
	// of the certificate. CAFile holds the authority of both certificates.
	CertificateFile string `yaml:"certificate_file"`
	KeyFile         string `yaml:"key_file"`
	CAFile          string `yaml:"ca_file"`
}

// Peers says for which other gateways this one keeps records. Default: none.
type Peers struct {
	// Listen is host:port.
	Listen string `yaml:"listen"`
	// CertificateFile, KeyFile and CAFile are as in journal.second.peer.
	CertificateFile string `yaml:"certificate_file"`
	KeyFile         string `yaml:"key_file"`
	CAFile          string `yaml:"ca_file"`
	// Allow are the sources of those gateways.
	Allow []string `yaml:"allow"`
	// MaxBytes is how much is kept for each. Default 4GiB.
	MaxBytes Size `yaml:"max_bytes"`
}

// Retention says how long the record is kept and who may approve that older
// records are disposed of. Nothing is ever disposed of by itself.
type Retention struct {
	// KeepYears is how old records must be before they may go; at least 1. Default 8.
	KeepYears int `yaml:"keep_years"`
	// Approvers are the people of whom two must approve. Default: nobody, so that
	// nothing can go.
	Approvers []Approver `yaml:"approvers"`
}

// Bypass says who may put the decisions of the gateway aside in an emergency. It
// is begun by command, never here: see docs/modes.md.
type Bypass struct {
	// People may ask for a bypass and approve one; it takes two of them. Default:
	// nobody, so that there is none.
	People []Approver `yaml:"people"`
	// Longest is how long one bypass may last, at most 24h. Default 4h.
	// hazard:GW-19 control:C-75
	Longest time.Duration `yaml:"longest"`
}

// Database says where sessions, grants of emergency access, alerts and hazard logs
// are kept. Default: SQLite in the data folder, for one gateway.
type Database struct {
	// URLFile holds the address of a PostgreSQL database for several gateways, one
	// line: postgres://matron:password@db.example.org/matron?sslmode=verify-full.
	// The database must be there; its owner makes the tables at the first start.
	URLFile string `yaml:"url_file"`
}

// HazardLog says who may assess risks and approve versions of the clinical hazard
// log: see docs/hazard-log.md.
type HazardLog struct {
	// Officers are the clinical safety officers. Default: nobody, so that every
	// rating stays proposed and every version a draft.
	// hazard:GW-32 control:C-235
	Officers []Officer `yaml:"officers"`
	// TextsFile holds what only people can write in the clinical safety case report,
	// as YAML: intended_use, scope, process, team, third_parties, test_issues,
	// limitations, quality. Default: none, and the report names each as missing.
	TextsFile string `yaml:"texts_file"`
	// MeasureEvery is how often the safety performance indicators are measured, from
	// 1m to 12h. Default 1h.
	MeasureEvery time.Duration `yaml:"measure_every"`
	// TraceFile holds where the program's controls are and which of their tests
	// passed, as "matron hazard trace" writes it for a release. Default: none, so that
	// no control counts as implemented by its tests.
	TraceFile string `yaml:"trace_file"`
}

// Officer is one clinical safety officer.
type Officer struct {
	// Name is the officer's name, for example Dr Ann Example. Required.
	Name string `yaml:"name"`
	// Body is the professional body and Number the registration with it, for
	// example GMC and 1234567. Required.
	Body   string `yaml:"body"`
	Number string `yaml:"number"`
	// Expires is the last day of the registration, for example 2027-03-31: after
	// it the officer cannot sign. Required.
	Expires string `yaml:"expires"`
	// KeyFile holds the officer's public key, one line, as "matron hazard key"
	// prints it. Without one the officer does not sign by command.
	KeyFile string `yaml:"key_file"`
	// Person is the officer's id with the sign-in service, as sign_in.claims.person
	// gives it. Without one the officer does not sign on the pages. One of key_file
	// and person is required.
	Person string `yaml:"person"`
}

// BreakGlass is emergency access: see docs/break-glass.md. Which roles may have it, and
// what it opens, is for the rules.
type BreakGlass struct {
	// Lasts is how long one lasts, at most 2h. Default 1h.
	// hazard:GW-01 control:C-01
	Lasts time.Duration `yaml:"lasts"`
	// Reasons are what people choose from, at most six. Default: those of
	// docs/break-glass.md.
	// hazard:GW-09 control:C-37
	Reasons []BreakGlassReason `yaml:"reasons"`
	// Purposes are what people choose from where only the purpose is asked for, at
	// most six. Default: those of docs/break-glass.md.
	Purposes []BreakGlassReason `yaml:"purposes"`
	// SignInAgain are the classes of records for which people prove anew who they
	// are. Default [staff, vip].
	SignInAgain []string `yaml:"sign_in_again"`
	// Reviewer is who looks at it afterwards, in the words of the page. Default "the
	// privacy officer".
	// hazard:GW-09 control:C-38
	Reviewer string `yaml:"reviewer"`
	// ReviewDays is within how many working days (Monday to Friday) it is to be looked
	// at. Default 5.
	// hazard:GW-09 control:C-39
	ReviewDays int `yaml:"review_days"`
	// hazard:GW-10 control:C-41
	Probe BreakGlassProbe `yaml:"probe"`
}

// BreakGlassProbe tries emergency access again and again, so that it is known to work.
type BreakGlassProbe struct {
	// Path is where an application shows the details of a made-up patient, for example
	// /fhir/Patient/9990000018. Nobody must be cared for under that number. Default:
	// none, it is not tried.
	Path string `yaml:"path"`
	// Every is how often it is tried. Default 5m.
	Every time.Duration `yaml:"every"`
}

// Notices are messages about emergency access, by SMTP over TLS. They hold a reference
// and nothing about a patient. There is no way to send in clear.
type Notices struct {
	// Server is host:port, for example smtp.example.org:465. Default: none, no
	// messages are sent.
	Server string `yaml:"server"`
	// STARTTLS begins in clear and demands TLS before anything is said, as on port
	// 587. Default: TLS from the first byte, as on port 465.
	STARTTLS bool `yaml:"starttls"`
	// CAFile holds the root of its certificate. Default: the system's roots.
	CAFile string `yaml:"ca_file"`
	// User and PasswordFile are the account there. Default: none.
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	// From is the sender's address. Required with server.
	From string `yaml:"from"`
	// Officer is the address of whoever looks at emergency accesses. Required with
	// server. The person who broke the glass is written to where the sign-in service
	// gives their address (claim email).
	Officer string `yaml:"officer"`
}

// BreakGlassReason is one reason that people choose from.
type BreakGlassReason struct {
	// Code stands in records, for example emergency; a purpose is a code of HL7 v3
	// PurposeOfUse, for example TREAT. Required.
	Code string `yaml:"code"`
	// Text is what people read. Required.
	Text string `yaml:"text"`
	// Note demands that something is written besides. Not for purposes.
	Note bool `yaml:"note"`
	// Purpose is the code of HL7 v3 PurposeOfUse that goes with it. Default BTG. Not
	// for purposes, whose code it is.
	Purpose string `yaml:"purpose"`
}

// Approver is somebody who may approve a disposal, or a bypass.
type Approver struct {
	// Name is the person's account, for example jsmith. Who made a plan or asked
	// for a bypass is not counted among those who approve it. Required.
	Name string `yaml:"name"`
	// KeyFile holds the person's public key, one line, as "matron audit retention
	// key" and "matron bypass key" print it. Required.
	KeyFile string `yaml:"key_file"`
}

// Size is a number of bytes, written as 1048576 or 1MiB, with KiB, MiB or GiB.
type Size int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	digits, shift := string(text), 0
	for unit, bits := range map[string]int{"KiB": 10, "MiB": 20, "GiB": 30} {
		if d, ok := strings.CutSuffix(digits, unit); ok {
			digits, shift = strings.TrimSpace(d), bits
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return fmt.Errorf("%q is not a size: write for example 256MiB", text)
	}
	*s = Size(n << shift)
	return nil
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

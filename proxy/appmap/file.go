package appmap

// file is a map as it is written. Its comments are the reference of the format;
// docs/application-maps.md explains it by example.
type file struct {
	// App names the application.
	App string `yaml:"app"`
	// Base is the path that is cut off when a map is tried by itself; the gateway
	// cuts off the prefix of its configuration instead.
	Base string `yaml:"base"`
	// Extends names a built-in map whose rules come after those of this file, and
	// whose tables this file's entries are added to or put in place of.
	Extends string `yaml:"extends"`
	// Session says how the application's own sessions are followed, for those in
	// which a request does not say whom it is about. Without it they are not.
	Session *sessionFile `yaml:"session"`
	// Deny is the form of refusals: problem, operation-outcome, or absent for
	// whatever the client accepts.
	Deny string `yaml:"deny"`
	// Redact lists query parameters whose values are secret and stay out of the
	// record, e.g. query:token.
	Redact []string `yaml:"redact"`
	// Tables are lookup tables by name.
	Tables map[string]map[string]string `yaml:"tables"`
	// Rules are tried in order; the first that matches wins.
	Rules []ruleFile `yaml:"rules"`
}

type sessionFile struct {
	// Cookie names the cookie of the application's session.
	Cookie string `yaml:"cookie"`
	// InOrder lists the paths whose requests go one after the other in a session.
	InOrder []string `yaml:"in-order"`
}

type ruleFile struct {
	// ID is stable and unique: it is the route in every record.
	ID    string    `yaml:"id"`
	Match matchFile `yaml:"match"`
	// Use names a built-in extractor for what a declaration cannot say.
	Use string `yaml:"use"`
	// Action and Area are literals or lookups: the policy decides on them.
	Action string `yaml:"action"`
	Area   string `yaml:"area"`
	// Screen, Resource, ResourceID and Version are literals, places or lookups.
	Screen     string `yaml:"screen"`
	Resource   string `yaml:"resource"`
	ResourceID string `yaml:"resource-id"`
	Version    string `yaml:"version"`
	// Patient lists the places in the request that name patients.
	Patient []patientFile `yaml:"patient"`
	// Others says that the exchange may concern others besides those whom Patient
	// names, for example whose record it was before.
	Others bool `yaml:"others"`
	// NoPatient says that the exchange concerns no patient at all.
	NoPatient bool `yaml:"no-patient"`
	// Phase may be written for clarity; response or use alone decides whether the
	// response is held.
	Phase string `yaml:"phase"`
	// Response says where the response names patients.
	Response *responseFile `yaml:"response"`
	// Limit is the kind of action for rate limits: interactive (the default),
	// search, bulk or machine.
	Limit string `yaml:"limit"`
	// Deliberate is "true" when a person asked for exactly this, "false" for
	// worklists and prefetch.
	Deliberate string `yaml:"deliberate"`
	// Static marks scripts, styles and images; KeepAlive requests that no person
	// made; Block refuses whatever the policy says.
	Static    bool `yaml:"static"`
	KeepAlive bool `yaml:"keepalive"`
	Block     bool `yaml:"block"`
	// Deny and Redact override and add to those of the file.
	Deny   string   `yaml:"deny"`
	Redact []string `yaml:"redact"`
}

type matchFile struct {
	// Method lists HTTP methods. GET includes HEAD.
	Method []string `yaml:"method"`
	Path   string   `yaml:"path"`
	// Query and Header require values by name: a text, "*" for present, "!" for
	// absent.
	Query  map[string]string `yaml:"query"`
	Header map[string]string `yaml:"header"`
	// Content lists media types of the request body.
	Content string `yaml:"content"`
	// Body requires values in the body by place: json:/pointer or form:field.
	Body map[string]string `yaml:"body"`
}

type patientFile struct {
	// Value is a place, e.g. path:id.
	Value string `yaml:"value"`
	// System is local (the application's own id, the default) or nhs-number.
	System string `yaml:"system"`
	// Many allows several different patients here; otherwise that is an error.
	Many bool `yaml:"many"`
}

type responseFile struct {
	// Each points to the array whose elements are one result each.
	Each string `yaml:"each"`
	// Patient lists the places that name patients, within the element if Each
	// is set.
	Patient []patientFile `yaml:"patient"`
	// Handles says that elements which are plain texts are the application's own
	// opaque ids, which show nothing of anybody.
	Handles bool `yaml:"handles"`
	// Complete says that the application names every patient whom it shows, so
	// that a response which names nobody shows nobody. Without it such a
	// response may be anybody's and is not released.
	Complete bool `yaml:"complete"`
}

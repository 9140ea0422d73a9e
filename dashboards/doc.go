// Package dashboards serves the pages under /.matron/: who viewed a record, what
// a member of staff viewed, what happens now, the alerts and the hazard log.
//
// Every page is a function of what the Config's readers answer, works without
// JavaScript, and is refused unless the gateway proved who asks and the policy
// permits the page's area. A page that names patients is recorded before it is
// shown; when the record cannot be written, nothing is shown. Identifiers never
// stand in a URL, a title or a log line. It never decides who may see what, and
// never writes to a record or a hazard. A Site is safe for concurrent use.
package dashboards

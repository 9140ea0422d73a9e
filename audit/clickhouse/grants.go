package clickhouse

import "strings"

const grants = `-- Two users of least privilege. Put passwords in place of the dots and run this
-- as an administrator, once the gateway has made database {{database}} and its
-- tables with an account that may. Keep the passwords in files that only the
-- gateway's user can read.

-- The shipper adds records and counts them. It cannot change or delete one.
CREATE USER IF NOT EXISTS matron_shipper IDENTIFIED WITH sha256_password BY '...';
GRANT SELECT, INSERT ON {{database}}.records TO matron_shipper;
GRANT SELECT ON {{database}}.migrations TO matron_shipper;
-- So that "matron audit import" can bring in past accesses with the same account.
GRANT SELECT, INSERT ON {{database}}.imported TO matron_shipper;
GRANT CREATE TEMPORARY TABLE ON *.* TO matron_shipper;

-- The dashboards and the command line read.
CREATE USER IF NOT EXISTS matron_reader IDENTIFIED WITH sha256_password BY '...'
    SETTINGS max_execution_time = 30 CHANGEABLE_IN_READONLY, max_memory_usage = 4000000000;
GRANT SELECT ON {{database}}.records TO matron_reader;
GRANT SELECT ON {{database}}.imported TO matron_reader;
GRANT SELECT ON {{database}}.migrations TO matron_reader;
`

// Grants returns the SQL that makes the users of least privilege for database.
func Grants(database string) (string, error) {
	if err := checkIdentifier(database); err != nil {
		return "", err
	}
	return strings.ReplaceAll(grants, "{{database}}", database), nil
}

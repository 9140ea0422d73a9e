package openmaxims

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var errQuery = errors.New("java.sql.SQLException: the statement cannot be run")

// queryRunner runs what anybody posts (S1). The emulator knows SELECT from its
// three tables and UPDATE of a patient's or user's column, with one condition.
func (s *Server) queryRunner(w http.ResponseWriter, r *http.Request) {
	statement := r.FormValue("nativequery")
	for _, name := range []string{"query", "metadata"} {
		if statement == "" {
			statement = r.FormValue(name)
		}
	}
	names, rows, err := s.store.run(statement)
	if err != nil {
		plain(w, err.Error()+"\n\tat com.ims.query.server.QueryRunner.doPost(QueryRunner.java:268)")
		return
	}
	m := &markup{}
	m.raw(prolog)
	m.tag("results")
	for _, r := range rows {
		m.tag("row")
		for i, name := range names {
			m.leaf("col", r[i], "name", name)
		}
		m.end("row")
	}
	m.end("results")
	sendXML(w, m.String())
}

// run runs a statement of SQL or of the object query language.
func (s *store) run(statement string) (names []string, rows [][]string, err error) {
	const where = `(?:\s+where\s+(?:\w+\.)?(\w+)\s*=\s*'?([^']*?)'?)?\s*;?\s*$`
	selects := regexp.MustCompile(`(?i)^\s*(?:select\s+(.+?)\s+)?from\s+(\w+)(?:\s+[a-v]\w{0,2})?` + where)
	updates := regexp.MustCompile(`(?i)^\s*update\s+(\w+)\s+set\s+(\w+)\s*=\s*'([^']*)'` + where)
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := updates.FindStringSubmatch(statement); m != nil {
		n := s.set(strings.ToLower(m[1]), strings.ToLower(m[2]), m[3], strings.ToLower(m[4]), m[5])
		return []string{"updated"}, [][]string{{strconv.Itoa(n)}}, nil
	}
	m := selects.FindStringSubmatch(statement)
	if m == nil {
		return nil, nil, errQuery
	}
	all, rows := s.table(strings.ToLower(m[2]))
	if all == nil {
		return nil, nil, fmt.Errorf("%w: unknown table %s", errQuery, m[2])
	}
	names = all
	if m[1] != "" && m[1] != "*" {
		names = strings.Split(strings.ReplaceAll(strings.ToLower(m[1]), " ", ""), ",")
	}
	var out [][]string
	for _, r := range rows {
		if c := slices.Index(all, strings.ToLower(m[3])); m[3] != "" && (c < 0 || r[c] != m[4]) {
			continue
		}
		line := make([]string, len(names))
		for i, name := range names {
			c := slices.Index(all, name)
			if c < 0 {
				return nil, nil, fmt.Errorf("%w: unknown column %s", errQuery, name)
			}
			line[i] = r[c]
		}
		out = append(out, line)
	}
	return names, out, nil
}

// table is a table by its name in the database or its class; mu is held.
func (s *store) table(name string) (columns []string, rows [][]string) {
	switch name {
	case "core_patient", "patient":
		for _, p := range s.patients {
			rows = append(rows, []string{strconv.Itoa(p.id), p.hospitalNo, p.nhs, p.surname, p.forename, p.born, p.sex, p.address, p.phone})
		}
		return []string{"id", "hospno", "nhsno", "surname", "forename", "dob", "sex", "address", "phone"}, rows
	case "core_appuser", "appuser":
		for _, a := range s.accounts {
			rows = append(rows, []string{a.user, hash(a.password), strconv.FormatBool(a.active)})
		}
		return []string{"username", "c_passwo", "isactive"}, rows
	case "appaudit":
		for _, a := range s.audit {
			rows = append(rows, []string{a.user, a.role, a.host, a.action, strconv.Itoa(a.patient)})
		}
		return []string{"aud_user", "aud_userrole", "aud_host", "aud_action", "patient_id"}, rows
	}
	return nil, nil
}

// set changes a column of the rows whose other column has a value; mu is held.
func (s *store) set(table, column, value, where, is string) int {
	n := 0
	columns, rows := s.table(table)
	c := slices.Index(columns, where)
	for i, r := range rows {
		if where != "" && (c < 0 || r[c] != is) {
			continue
		}
		switch {
		case table == "core_patient" && column == "surname":
			s.patients[i].surname = value
		case table == "core_patient" && column == "address":
			s.patients[i].address = value
		case table == "core_appuser" && column == "isactive":
			s.accounts[r[0]].active = value == "true"
		default:
			continue
		}
		n++
	}
	return n
}

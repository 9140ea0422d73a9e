package syslog_test

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The rules of the audit message schema, DICOM PS3.15 A.5.1.1, written down
// without looking at the converter: which attributes an element has and what
// they may hold, and which elements follow one another how often.

type attr struct {
	required bool
	check    func(string) bool // nil: any text
}

type part struct {
	name     string
	min, max int // max 0: without end
}

type element struct {
	attrs map[string]attr
	parts []part // in this order
	text  func(string) bool
}

func among(values ...string) func(string) bool {
	return func(s string) bool { return slices.Contains(values, s) }
}

func numbers(last int) func(string) bool {
	var values []string
	for i := 1; i <= last; i++ {
		values = append(values, fmt.Sprint(i))
	}
	return among(values...)
}

func anyText(string) bool { return true }

func base64Binary(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}

func dateTime(s string) bool {
	_, err := time.Parse(time.RFC3339Nano, s)
	return err == nil && regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$`).MatchString(s)
}

// schema is the grammar; ParticipantObjectName and ParticipantObjectQuery are a
// choice, which check knows.
func schema() map[string]element {
	coded := element{attrs: map[string]attr{
		"csd-code": {required: true}, "codeSystemName": {required: true}, "displayName": {}, "originalText": {required: true},
	}}
	return map[string]element{
		"AuditMessage": {parts: []part{
			{"EventIdentification", 1, 1}, {"ActiveParticipant", 1, 0}, {"AuditSourceIdentification", 1, 1}, {"ParticipantObjectIdentification", 0, 0},
		}},
		"EventIdentification": {
			attrs: map[string]attr{
				"EventActionCode":       {check: among("C", "R", "U", "D", "E")},
				"EventDateTime":         {required: true, check: dateTime},
				"EventOutcomeIndicator": {required: true, check: among("0", "4", "8", "12")},
			},
			parts: []part{{"EventID", 1, 1}, {"EventTypeCode", 0, 0}, {"EventOutcomeDescription", 0, 1}},
		},
		"EventID": coded, "EventTypeCode": coded, "RoleIDCode": coded, "ParticipantObjectIDTypeCode": coded,
		"EventOutcomeDescription": {text: anyText},
		"ActiveParticipant": {
			attrs: map[string]attr{
				"UserID": {required: true}, "AlternativeUserID": {}, "UserName": {},
				"UserIsRequestor":            {required: true, check: among("true", "false", "1", "0")},
				"NetworkAccessPointID":       {},
				"NetworkAccessPointTypeCode": {check: numbers(5)},
			},
			parts: []part{{"RoleIDCode", 0, 0}, {"MediaIdentifier", 0, 1}},
		},
		"AuditSourceIdentification": {
			attrs: map[string]attr{"AuditEnterpriseSiteID": {}, "AuditSourceID": {required: true}},
			parts: []part{{"AuditSourceTypeCode", 0, 0}},
		},
		"AuditSourceTypeCode": {attrs: map[string]attr{"csd-code": {required: true, check: numbers(9)}}},
		"ParticipantObjectIdentification": {
			attrs: map[string]attr{
				"ParticipantObjectID":            {required: true},
				"ParticipantObjectTypeCode":      {check: numbers(4)},
				"ParticipantObjectTypeCodeRole":  {check: numbers(26)},
				"ParticipantObjectDataLifeCycle": {check: numbers(15)},
				"ParticipantObjectSensitivity":   {},
			},
			parts: []part{
				{"ParticipantObjectIDTypeCode", 1, 1},
				{"ParticipantObjectName", 0, 1},
				{"ParticipantObjectQuery", 0, 1},
				{"ParticipantObjectDetail", 0, 0},
				{"ParticipantObjectDescription", 0, 0},
			},
		},
		"ParticipantObjectName":   {text: anyText},
		"ParticipantObjectQuery":  {text: base64Binary},
		"ParticipantObjectDetail": {attrs: map[string]attr{"type": {required: true}, "value": {required: true, check: base64Binary}}},
	}
}

// node is an element as it was read.
type node struct {
	name  string
	attrs map[string]string
	kids  []*node
	text  string
}

// parse reads XML strictly.
func parse(text string) (*node, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	root := &node{}
	open := []*node{root}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		top := open[len(open)-1]
		switch t := token.(type) {
		case xml.StartElement:
			n := &node{name: t.Name.Local, attrs: map[string]string{}}
			for _, a := range t.Attr {
				if _, twice := n.attrs[a.Name.Local]; twice || a.Name.Space != "" {
					return nil, fmt.Errorf("%s: attribute %s twice or in a namespace", n.name, a.Name.Local)
				}
				n.attrs[a.Name.Local] = a.Value
			}
			top.kids = append(top.kids, n)
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			top.text += string(t)
		}
	}
	if len(root.kids) != 1 || root.text != "" {
		return nil, fmt.Errorf("%d roots, text %q beside them", len(root.kids), root.text)
	}
	return root.kids[0], nil
}

// validate holds a message against the schema and the conventions of A.5.2.
func validate(text string) (*node, error) {
	root, err := parse(text)
	if err != nil {
		return nil, err
	}
	if root.name != "AuditMessage" {
		return nil, fmt.Errorf("root is %s", root.name)
	}
	if err := check(schema(), root); err != nil {
		return nil, err
	}
	requestors := 0
	for _, p := range root.all("ActiveParticipant") {
		if p.attrs["UserIsRequestor"] == "true" {
			requestors++
		}
		if (p.attrs["NetworkAccessPointID"] == "") != (p.attrs["NetworkAccessPointTypeCode"] == "") {
			return nil, fmt.Errorf("network access point without its type, or the other way round: %v", p.attrs)
		}
	}
	if requestors > 1 {
		return nil, fmt.Errorf("%d requestors", requestors)
	}
	return root, nil
}

func check(rules map[string]element, n *node) error {
	rule, ok := rules[n.name]
	if !ok {
		return fmt.Errorf("element %s is not known", n.name)
	}
	for name, value := range n.attrs {
		a, ok := rule.attrs[name]
		if !ok {
			return fmt.Errorf("%s has no attribute %s", n.name, name)
		}
		if a.check != nil && !a.check(value) {
			return fmt.Errorf("%s: %s=%q", n.name, name, value)
		}
	}
	for name, a := range rule.attrs {
		if _, ok := n.attrs[name]; a.required && !ok {
			return fmt.Errorf("%s lacks %s", n.name, name)
		}
	}
	if rule.text == nil && n.text != "" || rule.text != nil && !rule.text(n.text) {
		return fmt.Errorf("%s holds the text %q", n.name, n.text)
	}
	i := 0
	for _, p := range rule.parts {
		count := 0
		for i < len(n.kids) && n.kids[i].name == p.name {
			i++
			count++
		}
		if count < p.min || p.max > 0 && count > p.max {
			return fmt.Errorf("%s: %d of %s", n.name, count, p.name)
		}
	}
	if i < len(n.kids) {
		return fmt.Errorf("%s: %s where it does not belong", n.name, n.kids[i].name)
	}
	if n.name == "ParticipantObjectIdentification" && len(n.all("ParticipantObjectName"))+len(n.all("ParticipantObjectQuery")) != 1 {
		return fmt.Errorf("object without name or query, or with both")
	}
	for _, k := range n.kids {
		if err := check(rules, k); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) all(name string) []*node {
	var list []*node
	for _, k := range n.kids {
		if k.name == name {
			list = append(list, k)
		}
	}
	return list
}

// codes lists the values of coded children, as system#value.
func (n *node) codes(name string) []string {
	var list []string
	for _, k := range n.all(name) {
		list = append(list, k.attrs["codeSystemName"]+"#"+k.attrs["csd-code"])
	}
	return list
}

// details returns the details of the object of an id type, decoded.
func (n *node) details(idType string) map[string][]string {
	found := map[string][]string{}
	for _, o := range n.all("ParticipantObjectIdentification") {
		if !slices.Contains(o.codes("ParticipantObjectIDTypeCode"), idType) {
			continue
		}
		for _, d := range o.all("ParticipantObjectDetail") {
			raw, _ := base64.StdEncoding.DecodeString(d.attrs["value"])
			found[d.attrs["type"]] = append(found[d.attrs["type"]], string(raw))
		}
	}
	return found
}

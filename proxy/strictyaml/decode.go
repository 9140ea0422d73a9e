package strictyaml

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

func (d *Document) decode(n ast.Node, path string, v any) {
	d.value(n, path, reflect.ValueOf(v).Elem())
}

func (d *Document) value(n ast.Node, path string, v reflect.Value) {
	d.places[path] = positionOf(n)
	if _, ok := n.(*ast.NullNode); ok {
		return // "key:" with nothing after it keeps the default
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode:
		d.add(n, path, "anchors, aliases and tags are not allowed: write the value out")
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(n, path, u)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structure(n, path, v)
	case reflect.Slice:
		d.list(n, path, v)
	case reflect.Map:
		d.table(n, path, v)
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		d.value(n, path, fresh.Elem())
		v.Set(fresh)
	default:
		d.scalar(n, path, v)
	}
}

func (d *Document) structure(n ast.Node, path string, v reflect.Value) {
	known := settings(v.Type())
	for _, pair := range d.pairs(n, path, "settings") {
		key := keyOf(pair)
		at := join(path, key)
		field, ok := known[key]
		if !ok {
			d.add(pair.Key, at, "unknown setting"+suggestion(key, known))
			continue
		}
		d.value(pair.Value, at, v.Field(field))
		d.places[at] = positionOf(pair.Key)
	}
}

func (d *Document) list(n ast.Node, path string, v reflect.Value) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.add(n, path, "must be a list: put each entry on a line of its own after \"- \"")
		return
	}
	v.SetZero() // a list that is given replaces the default one
	for i, item := range seq.Values {
		fresh := reflect.New(v.Type().Elem()).Elem()
		d.value(item, fmt.Sprintf("%s[%d]", path, i), fresh)
		v.Set(reflect.Append(v, fresh))
	}
}

func (d *Document) table(n ast.Node, path string, v reflect.Value) {
	if v.IsNil() {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, pair := range d.pairs(n, path, "names and values") {
		fresh := reflect.New(v.Type().Elem()).Elem()
		key := keyOf(pair)
		d.value(pair.Value, join(path, key), fresh)
		v.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), fresh)
	}
}

func (d *Document) pairs(n ast.Node, path, what string) []*ast.MappingValueNode {
	switch m := n.(type) {
	case *ast.MappingNode:
		return m.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}
	}
	d.add(n, path, "must hold "+what+", indented below it")
	return nil
}

func (d *Document) text(n ast.Node, path string, u encoding.TextUnmarshaler) {
	s, ok := plain(n)
	if !ok {
		d.add(n, path, "must be a single value")
		return
	}
	if err := u.UnmarshalText([]byte(s)); err != nil {
		d.add(n, path, err.Error())
	}
}

func (d *Document) scalar(n ast.Node, path string, v reflect.Value) {
	s, ok := plain(n)
	if !ok {
		d.add(n, path, "must be a single value")
		return
	}
	if v.Type() == reflect.TypeFor[time.Duration]() {
		length, err := time.ParseDuration(s)
		if err != nil {
			d.add(n, path, fmt.Sprintf("%q is not a length of time: write for example 250ms, 30s, 15m or 12h", s))
			return
		}
		v.SetInt(int64(length))
		return
	}
	d.basic(n, path, s, v)
}

func (d *Document) basic(n ast.Node, path, s string, v reflect.Value) {
	var err error
	want := ""
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		want = "true or false"
		_, isBool := n.(*ast.BoolNode)
		if !isBool {
			err = strconv.ErrSyntax
		}
		v.SetBool(s == "true")
	case reflect.Int, reflect.Int64:
		want = "a whole number"
		var i int64
		i, err = strconv.ParseInt(s, 10, 64)
		v.SetInt(i)
	case reflect.Float64:
		want = "a number"
		var f float64
		f, err = strconv.ParseFloat(s, 64)
		v.SetFloat(f)
	default:
		want = "of a type this program knows"
		err = strconv.ErrSyntax
	}
	if err != nil {
		d.add(n, path, fmt.Sprintf("%q must be %s", s, want))
	}
}

// plain returns the text of a scalar as it was written.
func plain(n ast.Node) (string, bool) {
	switch s := n.(type) {
	case *ast.StringNode:
		return s.Value, true
	case *ast.LiteralNode:
		return s.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func settings(t reflect.Type) map[string]int {
	known := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			known[name] = i
		}
	}
	return known
}

func keyOf(pair *ast.MappingValueNode) string {
	if s, ok := plain(pair.Key); ok {
		return s
	}
	return pair.Key.String()
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

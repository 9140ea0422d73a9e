package strictyaml

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

type file struct {
	Name   string        `yaml:"name"`
	Wait   time.Duration `yaml:"wait"`
	On     bool          `yaml:"on"`
	Size   int64         `yaml:"size"`
	Rate   float64       `yaml:"rate"`
	Nested struct {
		Mode string `yaml:"mode"`
	} `yaml:"nested"`
	Items []struct {
		ID string `yaml:"id"`
	} `yaml:"items"`
	Table map[string]string `yaml:"table"`
}

func TestDecode(t *testing.T) {
	var got file
	src := "name: x\nwait: 1m30s\non: true\nsize: 42\nrate: 1.5\nnested:\n  mode: local\nitems:\n- id: a\n- id: \"7\"\ntable:\n  k: v\n"
	if err := Decode("f.yaml", []byte(src), &got).Err(); err != nil {
		t.Fatal(err)
	}
	want := file{Name: "x", Wait: 90 * time.Second, On: true, Size: 42, Rate: 1.5, Table: map[string]string{"k": "v"}}
	want.Nested.Mode = "local"
	want.Items = []struct {
		ID string `yaml:"id"`
	}{{"a"}, {"7"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestProblems(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"empty", "", "f.yaml:1:1: the file is empty"},
		{"unknown, near", "nmae: x\n", "f.yaml:1:1: nmae: unknown setting. Did you mean name?"},
		{"unknown, nested", "nested:\n  colour: red\n", "f.yaml:2:3: nested.colour: unknown setting. Known here: mode"},
		{"every problem at once", "wait: soon\nsize: big\non: perhaps\n", "f.yaml:1:7: wait: \"soon\" is not a length of time: write for example 250ms, 30s, 15m or 12h\n" +
			"f.yaml:2:7: size: \"big\" must be a whole number\n" +
			"f.yaml:3:5: on: \"perhaps\" must be true or false"},
		{"list wanted", "items: x\n", "f.yaml:1:8: items: must be a list: put each entry on a line of its own after \"- \""},
		{"settings wanted", "nested: x\n", "f.yaml:1:9: nested: must hold settings, indented below it"},
		{"place in a list", "items:\n- id: a\n- idd: b\n", "f.yaml:3:3: items[1].idd: unknown setting. Did you mean id?"},
		{"scalar wanted", "name: [a]\n", "f.yaml:1:7: name: must be a single value"},
		{"anchor", "name: &x y\n", "f.yaml:1:7: name: anchors, aliases and tags are not allowed: write the value out"},
		{"second document", "name: x\n---\nname: y\n", "f.yaml:3:1: a second document is not allowed: remove everything from the second --- on"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v file
			err := Decode("f.yaml", []byte(c.src), &v).Err()
			if err == nil {
				t.Fatal("no problem found")
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSyntaxAndDuplicatesHaveAPlace(t *testing.T) {
	for _, src := range []string{"name: \"x\n", "name: x\nname: y\n", "\tname: x\n", "a: b: c\n"} {
		var v file
		var ps Problems
		if err := Decode("f.yaml", []byte(src), &v).Err(); !errors.As(err, &ps) || ps[0].Line == 0 {
			t.Errorf("%q: %v, want a problem with a line", src, err)
		}
	}
}

func TestReportFindsTheNearestPlace(t *testing.T) {
	var v file
	d := Decode("f.yaml", []byte("nested:\n  mode: x\n"), &v)
	d.Report("nested.mode", "must be local")
	d.Report("nested.other", "is missing")
	want := "f.yaml:1:1: nested.other: is missing\nf.yaml:2:3: nested.mode: must be local"
	if diff := cmp.Diff(want, d.Err().Error()); diff != "" {
		t.Error(diff)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("name: x\nitems:\n- id: a\n")
	f.Fuzz(func(_ *testing.T, src string) {
		var v file
		_ = Decode("f.yaml", []byte(src), &v).Err()
	})
}

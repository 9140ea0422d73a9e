package appmap

import "testing"

func TestBuiltinMapsParse(t *testing.T) {
	for _, name := range Names() {
		m, err := Builtin(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.App() != name {
			t.Errorf("map %s says it is %s", name, m.App())
		}
	}
}

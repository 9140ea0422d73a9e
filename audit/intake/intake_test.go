package intake

import "testing"

func TestNHSNumbers(t *testing.T) {
	for value, ok := range map[string]bool{
		"": true, "9434765919": true, "943 476 5919": true, "9434765918": false, "943476591": false, "94347659190": false, "943476591X": false,
	} {
		if err := NHSNumber("nhs_number", value); (err == nil) != ok {
			t.Errorf("%q: %v", value, err)
		}
	}
}

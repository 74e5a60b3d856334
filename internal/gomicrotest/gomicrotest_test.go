package gomicrotest

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"regexp"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/gomicro.json anew")

func TestFixtureIsWhatTheGeneratorMakes(t *testing.T) {
	entries, err := Entries()
	if err != nil {
		t.Fatal(err)
	}
	made, err := json.MarshalIndent(entries, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile("testdata/gomicro.json", made, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(made, fixture) {
		t.Error("testdata/gomicro.json is not what Entries makes: run go test ./internal/gomicrotest -update")
	}
}

func TestKeysAreBase32(t *testing.T) {
	entries, err := Fixture()
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 {
		t.Fatal("the fixture has no entries")
	}
	for _, e := range entries {
		if !regexp.MustCompile(`^[A-Z2-7=]+$`).MatchString(e.Key) {
			t.Errorf("the key %q has other characters", e.Key)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"github.com/matron-epr/matron/hazardlog/workbook"
)

// A workbook that somebody changed is written only once a person confirms exactly
// what was shown; the workbook itself is kept.
func TestAWorkbookIsWrittenWhenAPersonConfirmsIt(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "matron.yaml")
	for name, text := range map[string]string{
		"matron.yaml": "site: RBA\nsource: gw1\ndata_dir: data\nexternal_url: https://epr.example.org\nlisten: {address: \"127.0.0.1:8443\"}\ntls: {mode: local}\n" +
			"sign_in: {issuer: https://id.example.org, client_id: matron, client_secret_file: client.secret}\n" +
			"applications:\n- {name: fhir, prefix: /fhir, upstream: https://fhir.internal.example.org/r4, map: fhir-r4}\n",
		"client.secret": "secret",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	matron := func(want int, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(context.Background(), append(args, "-c", config), nil, &out, &errs); code != want {
			t.Fatalf("matron %s: code %d, want %d: %s%s", strings.Join(args, " "), code, want, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	matron(exitOK, "init")
	file := filepath.Join(dir, "log.xlsx")
	matron(exitOK, "hazard", "export", "--format", "xlsx", "--out", file)
	f, err := excelize.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetCellStr("Hazard Log", "E5", "A patient dies of it."); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	shown := matron(exitOK, "hazard", "import", file)
	if !strings.Contains(shown, "“A patient dies of it.”") || !strings.Contains(shown, "0 new, 1 changed") {
		t.Errorf("shown: %s", shown)
	}
	var plan workbook.Plan
	if err := json.Unmarshal([]byte(matron(exitOK, "hazard", "import", file, "--json")), &plan); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(matron(exitOK, "hazard", "show", "GW-01"), "A patient dies of it.") {
		t.Fatal("written before anybody confirmed")
	}
	written := matron(exitOK, "hazard", "import", file, "--confirm", plan.Confirm)
	if !strings.Contains(written, "Written.") || !strings.Contains(matron(exitOK, "hazard", "show", "GW-01"), "A patient dies of it.") {
		t.Errorf("written: %s", written)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "workbooks", plan.SHA256+".xlsx")); err != nil {
		t.Error(err)
	}
	if again := matron(exitFailure, "hazard", "import", file, "--confirm", plan.Confirm); !strings.Contains(again, "not what was confirmed") {
		t.Errorf("confirmed twice: %s", again)
	}
	if err := f.SetCellStr("Controls", "F2", "verified"); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	if doubted := matron(exitTests, "hazard", "import", file); !strings.Contains(doubted, "is not verified: that it is there") {
		t.Errorf("a control is verified by a workbook: %s", doubted)
	}
	if err := f.SetCellStr("Hazard Log", "A6", "GW-01"); err != nil {
		t.Fatal(err)
	}
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	if blocked := matron(exitTests, "hazard", "import", file); !strings.Contains(blocked, "Hazard Log!A6: error: GW-01 is the number of the hazard in Hazard Log!A5 too") {
		t.Errorf("blocked: %s", blocked)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patientID is an NHS number of the range that belongs to nobody.
const patientID = "9990000018"

// TestOrthanc puts an application that we did not write behind the gateway: a
// study is stored, found and read over REST and over DICOMweb, and the record
// names patient and action each time.
func TestOrthanc(t *testing.T) {
	t.Parallel()
	port := startOrthanc(t)
	s := newSite(t, fmt.Sprintf("- {name: orthanc, prefix: /orthanc, upstream: \"http://127.0.0.1:%d\", map: orthanc}\n", port))
	s.start()
	doctor := s.as("doctor")
	instance := makeInstance(t, "1.2.826.0.1.3680043.8.498.1", patientID)

	ok := func(method, path, contentType string, body []byte) []byte {
		t.Helper()
		status, text := s.send(doctor, method, path, contentType, body)
		if status != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, status, text)
		}
		return text
	}
	var stored struct{ ID, ParentStudy string }
	decode(t, ok("POST", "/orthanc/instances", "application/dicom", instance), &stored)
	found := ok("POST", "/orthanc/tools/find", "application/json",
		[]byte(`{"Level":"Study","Expand":true,"Query":{"PatientID":"`+patientID+`"}}`))
	if !strings.Contains(string(found), stored.ParentStudy) {
		t.Errorf("the study %s is not found: %s", stored.ParentStudy, found)
	}
	ok("GET", "/orthanc/studies/"+stored.ParentStudy, "", nil)
	if got := ok("GET", "/orthanc/instances/"+stored.ID+"/file", "", nil); !bytes.Equal(got, instance) {
		t.Error("the instance that comes back is not the one that was stored")
	}
	contentType, body := multipartRelated(t, makeInstance(t, "1.2.826.0.1.3680043.8.498.2", patientID))
	ok("POST", "/orthanc/dicom-web/studies", contentType, body)
	ok("GET", "/orthanc/dicom-web/studies?PatientID="+patientID, "", nil)
	ok("GET", "/orthanc/dicom-web/studies/1.2.826.0.1.3680043.8.498.2/metadata", "", nil)

	var got []string
	for _, a := range s.accesses(7, "who", "--patient", patientID) {
		got = append(got, a.Action+" "+a.Effect+" "+a.Patient)
	}
	want := []string{"read", "search", "create", "read", "read", "search", "create"}
	for i := range want {
		want[i] += " allow " + patientID
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("newest first (-want +got):\n%s", diff)
	}
	s.stop()
}

func decode(t *testing.T, text []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// startOrthanc starts Debian's Orthanc with the DICOMweb plugin on loopback.
func startOrthanc(t *testing.T) (port int) {
	t.Helper()
	program := tool(t, "Orthanc", "/usr/sbin/Orthanc")
	dir := t.TempDir()
	port = freePort(t)
	settings, err := json.Marshal(map[string]any{
		"Name": "test", "StorageDirectory": dir, "IndexDirectory": dir, "HttpPort": port, "DicomServerEnabled": false,
		"RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": []string{"/usr/share/orthanc/plugins/libOrthancDicomWeb.so"},
		"DicomWeb": map[string]any{"Enable": true, "Root": "/dicom-web/"},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(file, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), program, file)
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	for range 300 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/system", port), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, err := (&http.Client{}).Do(r); err == nil {
			_ = res.Body.Close()
			return port
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("Orthanc does not answer:\n%s", log.String())
	return 0
}

// makeInstance makes a DICOM file from text with dcmtk's dump2dcm.
func makeInstance(t *testing.T, study, patient string) []byte {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf(`(0008,0016) UI =SecondaryCaptureImageStorage
(0008,0018) UI [%[1]s.1.1]
(0008,0060) CS [OT]
(0010,0010) PN [Invented^Ivy]
(0010,0020) LO [%[2]s]
(0020,000d) UI [%[1]s]
(0020,000e) UI [%[1]s.1]
(0020,0011) IS [1]
(0020,0013) IS [1]
`, study, patient)
	source, target := filepath.Join(dir, "in.txt"), filepath.Join(dir, "out.dcm")
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), tool(t, "dump2dcm", "/usr/bin/dump2dcm"), source, target).CombinedOutput(); err != nil {
		t.Fatalf("dump2dcm: %v\n%s", err, out)
	}
	made, err := os.ReadFile(target)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func multipartRelated(t *testing.T, instance []byte) (contentType string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"application/dicom"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(instance); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return `multipart/related; type="application/dicom"; boundary=` + w.Boundary(), b.Bytes()
}

// tool finds a program that "make test-deps" installs.
func tool(t *testing.T, name, path string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: run \"make test-deps\"", name)
	}
	return path
}

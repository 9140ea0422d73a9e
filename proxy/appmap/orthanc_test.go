package appmap

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/matron-epr/matron/audit"
	"github.com/matron-epr/matron/policy"
	"github.com/matron-epr/matron/proxy"
)

// orthanc is a running Orthanc with an empty store.
type orthanc struct {
	url    string
	m      *Map
	client *http.Transport
}

func startOrthanc(t *testing.T) *orthanc {
	t.Helper()
	binary, err := exec.LookPath("Orthanc")
	if err != nil {
		t.Fatal("Orthanc is not installed: run make deps")
	}
	dir := t.TempDir()
	port := freePort(t)
	settings, err := json.Marshal(map[string]any{
		"Name": "test", "StorageDirectory": dir, "IndexDirectory": dir, "HttpPort": port,
		"RemoteAccessAllowed": false, "AuthenticationEnabled": false, "DicomServerEnabled": false,
		"Plugins":  []string{"/usr/share/orthanc/plugins/libOrthancDicomWeb.so"},
		"DicomWeb": map[string]any{"Enable": true, "Root": "/dicom-web/"},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(file, settings, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, file)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Log(log.String())
		}
	})
	m, err := Builtin("orthanc")
	if err != nil {
		t.Fatal(err)
	}
	o := &orthanc{url: fmt.Sprintf("http://127.0.0.1:%d", port), m: m, client: &http.Transport{DisableCompression: true}}
	t.Cleanup(o.client.CloseIdleConnections)
	o.await(t)
	return o
}

func freePort(t *testing.T) int {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return port
}

func (o *orthanc) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url+"/system", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := o.client.RoundTrip(r)
		if err == nil {
			_ = res.Body.Close()
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("Orthanc did not start within a minute")
}

// ask sends a request to Orthanc and takes the exchange through the map.
func (o *orthanc) ask(t *testing.T, method, path string, header http.Header, body []byte) (Trial, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, o.url+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name := range header {
		r.Header.Set(name, header.Get(name))
	}
	r.Header.Set("Accept-Encoding", "identity")
	res, err := o.client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode >= 400 && !strings.Contains(path, "nope") {
		t.Fatalf("%s %s: %s\n%s", method, path, res.Status, answer)
	}
	return Try(o.m, Exchange{Request: r, RequestBody: body, Response: res, ResponseBody: answer}), answer
}

// dicom makes a DICOM file with dcmtk; flags choose the transfer syntax.
func dicom(t *testing.T, number, patient string, flags ...string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/study.dump")
	if err != nil {
		t.Fatal(err)
	}
	dump := strings.NewReplacer("PATIENT", patient, "498.N", "498."+number, "ACCN", "ACC"+number, "Test^N", "Test^"+number).Replace(string(text))
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte(dump), 0o600); err != nil {
		t.Fatal(err)
	}
	binary, err := exec.LookPath("dump2dcm")
	if err != nil {
		t.Fatal("dump2dcm is not installed: run make deps")
	}
	if text, err := exec.CommandContext(t.Context(), binary, append(flags, in, out)...).CombinedOutput(); err != nil {
		t.Fatalf("dump2dcm: %v\n%s", err, text)
	}
	file, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func related(parts ...[]byte) (http.Header, []byte) {
	var b bytes.Buffer
	for _, p := range parts {
		b.WriteString("--part\r\nContent-Type: application/dicom\r\n\r\n")
		b.Write(p)
		b.WriteString("\r\n")
	}
	b.WriteString("--part--\r\n")
	return http.Header{"Content-Type": {`multipart/related; type="application/dicom"; boundary=part`}}, b.Bytes()
}

const (
	ann = "9990000018"
	bob = "9990000026"
)

// TestOrthanc stores, finds and reads studies in a real Orthanc and compares
// what the map says of each exchange.
func TestOrthanc(t *testing.T) {
	o := startOrthanc(t)
	trial, body := o.ask(t, "POST", "/instances", nil, dicom(t, "1", ann))
	if diff := cmp.Diff(proxy.Access{
		Rule: "orthanc-store", Action: policy.Create, Area: policy.Results, Resource: "instance",
		Patients: []proxy.Patient{{ID: ann}}, Certainty: audit.Authoritative, Source: audit.SourceBody,
		Kind: proxy.Interactive, Deny: proxy.DenyProblem,
	}, trial.Access); diff != "" {
		t.Error(diff)
	}
	var ids struct{ ID, ParentPatient, ParentStudy, ParentSeries string }
	if err := json.Unmarshal(body, &ids); err != nil {
		t.Fatal(err)
	}
	header, body := related(dicom(t, "2", bob, "--write-xfer-implicit"))
	trial, _ = o.ask(t, "POST", "/dicom-web/studies", header, body)
	if got := shown(trial); got != "orthanc-stow create study "+bob+" authoritative" {
		t.Errorf("STOW-RS: %s", got)
	}
	study := "/dicom-web/studies/1.2.826.0.1.3680043.8.498.1"
	series := study + "/series/1.2.826.0.1.3680043.8.498.1.1"
	instance := series + "/instances/1.2.826.0.1.3680043.8.498.1.1.1"
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/app/explorer.html", "", "orthanc-explorer read   none"},
		{"GET", "/system", "", "orthanc-system read   none"},
		{"POST", "/tools/find", `{"Level":"Study","Expand":true,"Query":{"PatientID":"9990000018"}}`, "orthanc-find search  => " + ann + " authoritative 1"},
		{"POST", "/tools/find", `{"Level":"Patient","Expand":true,"Query":{"PatientID":"999*"}}`, "orthanc-find search  => " + ann + "," + bob + " several 2"},
		{"POST", "/tools/find", `{"Level":"Study","Expand":true,"Query":{"PatientID":"none"}}`, "orthanc-find search  =>  none 0"},
		{"POST", "/tools/find", `{"Level":"Study","Query":{"PatientID":"9990000018"}}`, "orthanc-find search  =>  none 1"},
		{"GET", "/patients?expand", "", "orthanc-list list patient => " + ann + "," + bob + " several 2"},
		{"GET", "/studies", "", "orthanc-list list study =>  none 2"},
		{"GET", "/patients/" + ids.ParentPatient, "", "orthanc-patient read patient => " + ann + " authoritative 0"},
		{"GET", "/studies/" + ids.ParentStudy, "", "orthanc-study read study => " + ann + " authoritative 0"},
		{"GET", "/series/" + ids.ParentSeries, "", "orthanc-series read series =>  unknown 0"},
		{"GET", "/instances/" + ids.ID + "/tags", "", "orthanc-tags read instance => " + ann + " authoritative 0"},
		{"GET", "/instances/" + ids.ID + "/tags?short", "", "orthanc-tags read instance => " + ann + " authoritative 0"},
		{"GET", "/instances/" + ids.ID + "/tags?simplify", "", "orthanc-tags read instance => " + ann + " authoritative 0"},
		{"GET", "/instances/" + ids.ID + "/simplified-tags", "", "orthanc-simplified-tags read instance => " + ann + " authoritative 0"},
		{"GET", "/studies/" + ids.ParentStudy + "/shared-tags", "", "orthanc-shared-tags read study => " + ann + " authoritative 0"},
		{"GET", "/instances/" + ids.ID + "/file", "", "orthanc-file read instance => " + ann + " authoritative 0"},
		{"GET", "/instances/" + ids.ID + "/preview", "", "orthanc-picture read instance =>  unknown 0"},
		{"GET", "/instances/" + ids.ID + "/frames/0/raw", "", "orthanc-frame read instance =>  unknown 0"},
		{"GET", "/series/" + ids.ParentSeries + "/patient", "", "orthanc-patient-of read series => " + ann + " authoritative 0"},
		{"GET", "/series/" + ids.ParentSeries + "/study", "", "orthanc-study-of read series => " + ann + " authoritative 0"},
		{"GET", "/patients/" + ids.ParentPatient + "/studies", "", "orthanc-children list patient => " + ann + " authoritative 1"},
		{"GET", "/studies/nope", "", "unmapped"},
		{"GET", "/changes", "", "unmapped"},
		{"GET", "/dicom-web/studies?PatientID=" + bob, "", "orthanc-qido search study => " + bob + " authoritative 1"},
		{"GET", "/dicom-web/studies?00100020=none", "", "orthanc-qido search study =>  none 0"},
		{"GET", "/dicom-web/series", "", "orthanc-qido search series => " + ann + "," + bob + " several 2"},
		{"GET", study + "/series", "", "orthanc-qido-series search study => " + ann + " authoritative 1"},
		{"GET", series + "/instances", "", "orthanc-qido-instances search series => " + ann + " authoritative 1"},
		{"GET", study + "/metadata", "", "orthanc-wado-study-metadata read study => " + ann + " authoritative 1"},
		{"GET", series + "/metadata", "", "orthanc-wado-series-metadata read series => " + ann + " authoritative 1"},
		{"GET", instance + "/metadata", "", "orthanc-wado-instance-metadata read instance => " + ann + " authoritative 1"},
		{"GET", study, "", "orthanc-wado-study read study => " + ann + " authoritative 0"},
		{"GET", series, "", "orthanc-wado-series read series => " + ann + " authoritative 0"},
		{"GET", instance, "", "orthanc-wado-instance read instance => " + ann + " authoritative 0"},
		{"GET", instance + "/frames/1", "", "orthanc-wado-pixels read instance =>  unknown 0"},
		{"GET", instance + "/rendered", "", "orthanc-wado-pixels read instance =>  unknown 0"},
		{"GET", "/wado?requestType=WADO&contentType=application/dicom&studyUID=1.2.826.0.1.3680043.8.498.1&seriesUID=1.2.826.0.1.3680043.8.498.1.1&objectUID=1.2.826.0.1.3680043.8.498.1.1.1", "", "orthanc-wado-uri read instance => " + ann + " authoritative 0"},
		{"DELETE", "/studies/" + ids.ParentStudy, "", "orthanc-delete delete study  unknown"},
	} {
		header := http.Header{}
		if strings.HasPrefix(c.path, "/dicom-web") && !strings.HasSuffix(c.path, "rendered") && !strings.HasSuffix(c.path, "frames/1") && c.path != study && c.path != series && c.path != instance {
			header.Set("Accept", "application/dicom+json")
		}
		trial, _ := o.ask(t, c.method, c.path, header, []byte(c.body))
		if diff := cmp.Diff(c.want, shown(trial)); diff != "" {
			t.Errorf("%s %s:\n%s", c.method, c.path, diff)
		}
	}
}

// shown puts a trial on one line.
func shown(trial Trial) string {
	a := trial.Access
	switch {
	case trial.Refused != nil:
		return "refused: " + trial.Refused.Error()
	case trial.Withheld != nil:
		return "withheld: " + trial.Withheld.Error()
	case a.Rule == "":
		return "unmapped"
	case trial.Settled:
		s := trial.Settlement
		return fmt.Sprintf("%s %s %s => %s %s %d", a.Rule, a.Action, a.Resource, names(s.Patients), s.Certainty, s.Results)
	}
	return fmt.Sprintf("%s %s %s %s %s", a.Rule, a.Action, a.Resource, names(a.Patients), a.Certainty)
}

func names(patients []proxy.Patient) string {
	var list []string
	for _, p := range patients {
		list = append(list, strings.Trim(p.ID+"/"+p.NHSNumber, "/"))
	}
	slices.Sort(list) // Orthanc promises no order
	return strings.Join(list, ",")
}

// TestStoreNamesThePatientInTheObject: an upload that names nobody, or cannot be
// read, is refused before it is stored.
func TestStoreNamesThePatientInTheObject(t *testing.T) {
	m, err := Builtin("orthanc")
	if err != nil {
		t.Fatal(err)
	}
	good := dicom(t, "1", ann)
	header, both := related(good, dicom(t, "2", bob))
	// Explicit little endian, then an element of group 0009 before one of
	// group 0008.
	swapped := []byte("\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00" +
		"\x09\x00\x01\x00LO\x02\x00ab" + "\x08\x00\x05\x00CS\x02\x00cd" + "\x10\x00\x20\x00LO\x02\x0042")
	_, half := related(good, []byte("not DICOM"))
	for _, c := range []struct {
		name, path string
		header     http.Header
		body       []byte
		want       string
	}{
		{"explicit", "/instances", nil, good, "orthanc-store create instance " + ann + " authoritative"},
		{"implicit", "/instances", nil, dicom(t, "1", ann, "--write-xfer-implicit"), "orthanc-store create instance " + ann + " authoritative"},
		{"two patients", "/dicom-web/studies", header, both, "orthanc-stow create study " + ann + "," + bob + " several"},
		{"one part unreadable", "/dicom-web/studies", header, half, "refused: body holds no DICOM object that names its patient: malformed request"},
		{"big endian", "/instances", nil, dicom(t, "1", ann, "--write-xfer-big"), `refused: body: transfer syntax "1.2.840.10008.1.2.2": DICOM that cannot be read: malformed request`},
		{"no patient", "/instances", nil, dicom(t, "1", ""), "refused: body holds no DICOM object that names its patient: malformed request"},
		{"a zip", "/instances", nil, []byte("PK\x03\x04" + strings.Repeat("x", 200)), "refused: body holds no DICOM object that names its patient: malformed request"},
		{"empty", "/instances", nil, nil, "refused: body holds no DICOM object that names its patient: malformed request"},
		{"out of order", "/instances", nil, append(slices.Clone(good[:132]), swapped...), "refused: body: elements out of order: DICOM that cannot be read: malformed request"},
		{"cut short", "/instances", nil, good[:300], "refused: body: cut short: DICOM that cannot be read: malformed request"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://epr.example"+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.header != nil {
			r.Header = c.header
		}
		if diff := cmp.Diff(c.want, shown(Try(m, Exchange{Request: r, RequestBody: c.body}))); diff != "" {
			t.Errorf("%s:\n%s", c.name, diff)
		}
	}
}

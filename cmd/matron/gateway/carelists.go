package gateway

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/matron-epr/matron/cmd/matron/config"
	"github.com/matron-epr/matron/policy/care"
)

// readCareLists reads the lists of staff, rota and devices. Its error names every
// wrong line of every list; nothing is taken from lists of which one is wrong.
func readCareLists(c config.Care, where *time.Location) (care.Lists, error) {
	codes := care.Codes{Wards: c.Wards, LongRoles: c.LongRoles, Where: where}
	var l care.Lists
	var errs [3]error
	l.Staff, errs[0] = readCareList(c.Staff, func(in io.Reader) ([]care.Person, error) { return care.ReadStaff(in, codes) })
	if errs[0] == nil { // a rota is of people of the staff list
		l.Rota, errs[1] = readCareList(c.Rota, func(in io.Reader) ([]care.Shift, error) { return care.ReadRota(in, l.Staff, codes) })
	}
	l.Devices, errs[2] = readCareList(c.Devices, func(in io.Reader) ([]care.Device, error) { return care.ReadDevices(in, codes) })
	return l, errors.Join(errs[:]...)
}

func readCareList[T any](path string, read func(io.Reader) ([]T, error)) ([]T, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("read list: %w", err)
	}
	defer func() { _ = f.Close() }()
	list, err := read(f)
	if problems, ok := errors.AsType[care.Problems](err); ok {
		return nil, placed(path, problems)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// placed names the file and line of each problem, as other mistakes of configuration
// are told.
func placed(path string, problems care.Problems) error {
	const most = 20
	var errs []error
	for i, p := range problems {
		if i == most {
			errs = append(errs, fmt.Errorf("%s: and %d lines more", path, len(problems)-i))
			break
		}
		errs = append(errs, fmt.Errorf("%s:%d: %s", path, p.Line, p.What))
	}
	return errors.Join(errs...)
}

// checkCare reads everything that the section of care relationships names.
func checkCare(c config.Care) error {
	if !c.On() {
		return nil
	}
	_, err := readCareLists(c, time.UTC)
	var bad error
	if c.Listen != "" {
		_, bad = newRenewable(c.CertificateFile, c.KeyFile, c.CAFile)
	}
	_, token := newFHIRFeed(c.FHIR, nil)
	return errors.Join(err, bad, token)
}

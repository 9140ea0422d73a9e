package appmap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
)

// errDICOM is wrapped by the errors of this file.
var errDICOM = errors.New("DICOM that cannot be read")

// errCutShort is wrapped, besides errDICOM, where an object ends too early.
var errCutShort = errors.New("cut short")

// Transfer syntaxes whose data set is not explicit VR little endian. All
// compressed image syntaxes use that encoding for everything but the pixels.
const (
	implicitLittle   = "1.2.840.10008.1.2"
	explicitBig      = "1.2.840.10008.1.2.2"
	deflatedExplicit = "1.2.840.10008.1.2.1.99"
)

const (
	maxDICOMDepth    = 16
	maxDICOMElements = 1_000_000
	maxDICOMParts    = 10_000
	maxDICOMHead     = 1 << 20 // of an object, in which its patient must be named
)

// dicomIDs are the patients of one body that holds DICOM objects.
type dicomIDs struct {
	texts    []string     // distinct PatientIDs
	nameless int          // objects without one
	head     bytes.Buffer // of the object that is read
}

// dicomPatientIDs reads PatientID (0010,0020) from every object of a body: one
// DICOM file, or multipart/related of DICOM files (DICOM PS3.18). Other content,
// such as a rendered image, is one object that names nobody.
func dicomPatientIDs(contentType string, body io.Reader) (dicomIDs, error) {
	var ids dicomIDs
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.HasPrefix(media, "multipart/") {
		return ids, ids.add(body)
	}
	parts := multipart.NewReader(body, params["boundary"])
	for range maxDICOMParts {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return ids, nil
		}
		if err != nil {
			return ids, fmt.Errorf("multipart: %w: %w", err, errDICOM)
		}
		if err := ids.add(part); err != nil {
			return ids, err
		}
	}
	return ids, fmt.Errorf("more than %d parts: %w", maxDICOMParts, errDICOM)
}

// add reads the beginning of an object. Its pixels, which come last, need not be in
// memory.
func (ids *dicomIDs) add(content io.Reader) error {
	ids.head.Reset()
	n, err := ids.head.ReadFrom(io.LimitReader(content, maxDICOMHead))
	if err != nil {
		return fmt.Errorf("object: %w: %w", err, errDICOM)
	}
	object := ids.head.Bytes()
	if len(object) < 132 || string(object[128:132]) != "DICM" {
		ids.nameless++
		return nil
	}
	id, err := patientIDOf(object)
	if n == maxDICOMHead && errors.Is(err, errCutShort) {
		err = fmt.Errorf("no patient within the first %d bytes of an object: %w", n, errTooLong)
	}
	if err != nil {
		return err
	}
	if id == "" {
		ids.nameless++
		return nil
	}
	ids.texts = appendNew(ids.texts, id)
	return nil
}

// patientIDOf reads the PatientID of one DICOM file (PS3.10).
func patientIDOf(file []byte) (string, error) {
	d := dicomReader{rest: file[132:]}
	syntax := ""
	for len(d.rest) >= 8 && binary.LittleEndian.Uint16(d.rest) == 0x0002 {
		e, err := d.next(0)
		if err != nil {
			return "", err
		}
		if e.tag == 0x0002_0010 {
			syntax = dicomText(e.value)
		}
	}
	switch syntax {
	case "", explicitBig, deflatedExplicit:
		return "", fmt.Errorf("transfer syntax %q: %w", syntax, errDICOM)
	case implicitLittle:
		d.implicit = true
	}
	return d.patientID()
}

// dicomReader walks the elements of a data set in little endian.
type dicomReader struct {
	rest     []byte
	implicit bool
	elements int
}

type dicomElement struct {
	tag   uint32 // group and element
	value []byte // nil for a sequence of undefined length, which is skipped
}

const undefinedLength = 0xFFFF_FFFF

// patientID walks to (0010,0020). Elements are in ascending order, so that the
// walk ends before the pixels; out of order is refused, since another reader
// might find another PatientID (GW-08).
func (d *dicomReader) patientID() (string, error) {
	last, id := uint32(0), ""
	for len(d.rest) > 0 {
		e, err := d.next(0)
		if err != nil {
			return "", err
		}
		if e.tag <= last {
			return "", fmt.Errorf("elements out of order: %w", errDICOM)
		}
		last = e.tag
		if e.tag == 0x0010_0020 {
			id = dicomText(e.value)
		}
		if e.tag >= 0x0010_0020 {
			return id, nil
		}
	}
	return id, nil
}

// next reads one element and leaves the reader after its value.
func (d *dicomReader) next(depth int) (dicomElement, error) {
	if d.elements++; d.elements > maxDICOMElements || depth > maxDICOMDepth {
		return dicomElement{}, fmt.Errorf("too deep or too large: %w", errDICOM)
	}
	if len(d.rest) < 8 {
		return dicomElement{}, cutShort()
	}
	tag := uint32(binary.LittleEndian.Uint16(d.rest))<<16 | uint32(binary.LittleEndian.Uint16(d.rest[2:]))
	length, header, err := d.length(tag)
	if err != nil {
		return dicomElement{}, err
	}
	d.rest = d.rest[header:]
	if length == undefinedLength {
		return dicomElement{tag: tag}, d.skipSequence(depth)
	}
	if uint64(length) > uint64(len(d.rest)) {
		return dicomElement{}, cutShort()
	}
	e := dicomElement{tag: tag, value: d.rest[:length]}
	d.rest = d.rest[length:]
	return e, nil
}

// length returns the length of the value of the element that starts here, and
// of the header before it.
func (d *dicomReader) length(tag uint32) (length uint32, header int, err error) {
	if d.implicit && tag>>16 != 0x0002 || tag>>16 == 0xFFFE {
		return binary.LittleEndian.Uint32(d.rest[4:]), 8, nil
	}
	switch vr := string(d.rest[4:6]); vr {
	case "OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV":
		if len(d.rest) < 12 {
			return 0, 0, cutShort()
		}
		return binary.LittleEndian.Uint32(d.rest[8:]), 12, nil
	case "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FL", "FD", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US":
		return uint32(binary.LittleEndian.Uint16(d.rest[6:])), 8, nil
	}
	return 0, 0, fmt.Errorf("unknown value representation: %w", errDICOM)
}

// skipSequence skips the items of a sequence of undefined length.
func (d *dicomReader) skipSequence(depth int) error {
	for {
		item, err := d.itemHeader()
		if err != nil {
			return err
		}
		switch {
		case item.tag == 0xFFFE_E0DD:
			return nil
		case item.tag != 0xFFFE_E000:
			return fmt.Errorf("sequence without items: %w", errDICOM)
		case item.length != undefinedLength:
			if uint64(item.length) > uint64(len(d.rest)) {
				return cutShort()
			}
			d.rest = d.rest[item.length:]
		default:
			if err := d.skipItem(depth); err != nil {
				return err
			}
		}
	}
}

type dicomItem struct{ tag, length uint32 }

func (d *dicomReader) itemHeader() (dicomItem, error) {
	if len(d.rest) < 8 {
		return dicomItem{}, cutShort()
	}
	i := dicomItem{
		tag:    uint32(binary.LittleEndian.Uint16(d.rest))<<16 | uint32(binary.LittleEndian.Uint16(d.rest[2:])),
		length: binary.LittleEndian.Uint32(d.rest[4:]),
	}
	d.rest = d.rest[8:]
	return i, nil
}

// skipItem skips the elements of an item of undefined length.
func (d *dicomReader) skipItem(depth int) error {
	for {
		if len(d.rest) >= 8 && binary.LittleEndian.Uint16(d.rest) == 0xFFFE {
			end, err := d.itemHeader()
			if err == nil && end.tag != 0xFFFE_E00D {
				err = fmt.Errorf("item without an end: %w", errDICOM)
			}
			return err
		}
		if _, err := d.next(depth + 1); err != nil {
			return err
		}
	}
}

func cutShort() error { return fmt.Errorf("%w: %w", errCutShort, errDICOM) }

// dicomText trims the padding of a text value.
func dicomText(value []byte) string { return strings.Trim(string(value), " \x00") }

package clickhouse

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

// How the native format writes LowCardinality: a version, then for each block
// flags and the width of the keys, the dictionary, the keys.
const (
	dictionaryVersion = 1
	dictionaryFlags   = 1<<9 | 1<<10 // this block brings its own dictionary, whole
	keyUInt8          = 0
	keyUInt16         = 1
	keyUInt32         = 2
)

// dictionary is a column LowCardinality(String) on its way in. It looks each
// value up as it comes and keeps no values, which is where ch-go's own column
// spends its time.
type dictionary struct {
	index map[string]uint32
	words proto.ColStr
	keys  []uint32
	last  string // the value before, which is often the next one too
	key   uint32
	empty uint32 // 1 more than the key of the empty value, which a record in two has; 0: none
}

func (d *dictionary) add(v string) {
	switch {
	case v == "":
		if d.empty == 0 {
			d.empty = d.look(v) + 1
		}
		d.keys = append(d.keys, d.empty-1)
		return
	case v != d.last:
		d.last, d.key = v, d.look(v)
	}
	d.keys = append(d.keys, d.key)
}

// look returns the key of a value, a new one where there is none.
func (d *dictionary) look(v string) uint32 {
	key, ok := d.index[v]
	if !ok {
		key = uint32(len(d.index))      //nolint:gosec // a block is smaller
		d.index[strings.Clone(v)] = key // without the rest of its record
		d.words.Append(v)
	}
	return key
}

// Type is part of proto.ColInput.
func (d *dictionary) Type() proto.ColumnType {
	return proto.ColumnTypeLowCardinality.Sub(proto.ColumnTypeString)
}

// Rows is part of proto.ColInput.
func (d *dictionary) Rows() int { return len(d.keys) }

// Reset empties the column and keeps its memory.
func (d *dictionary) Reset() {
	clear(d.index)
	d.words.Reset()
	d.keys, d.last, d.empty = d.keys[:0], "", 0
}

// EncodeState is part of proto.StateEncoder.
func (d *dictionary) EncodeState(b *proto.Buffer) { b.PutInt64(dictionaryVersion) }

// EncodeColumn is part of proto.ColInput.
func (d *dictionary) EncodeColumn(b *proto.Buffer) {
	if len(d.keys) == 0 {
		return
	}
	width := int64(keyUInt32)
	switch n := len(d.index); {
	case n <= math.MaxUint8+1:
		width = keyUInt8
	case n <= math.MaxUint16+1:
		width = keyUInt16
	}
	b.PutInt64(dictionaryFlags | width)
	b.PutInt64(int64(len(d.index)))
	d.words.EncodeColumn(b)
	b.PutInt64(int64(len(d.keys)))
	for _, key := range d.keys {
		switch width {
		case keyUInt8:
			b.Buf = append(b.Buf, byte(key)) //nolint:gosec // the width was chosen for it
		case keyUInt16:
			b.Buf = binary.LittleEndian.AppendUint16(b.Buf, uint16(key)) //nolint:gosec // the width was chosen for it
		default:
			b.Buf = binary.LittleEndian.AppendUint32(b.Buf, key)
		}
	}
}

// WriteColumn is part of proto.ColInput.
func (d *dictionary) WriteColumn(w *proto.Writer) { w.ChainBuffer(d.EncodeColumn) }

// lists is a column Array(LowCardinality(String)) on its way in.
type lists struct {
	items   dictionary
	offsets proto.ColUInt64
}

func (l *lists) add(v []string) {
	for _, s := range v {
		l.items.add(s)
	}
	l.offsets.Append(uint64(len(l.items.keys)))
}

// Type is part of proto.ColInput.
func (l *lists) Type() proto.ColumnType { return proto.ColumnTypeArray.Sub(l.items.Type()) }

// Rows is part of proto.ColInput.
func (l *lists) Rows() int { return l.offsets.Rows() }

// Reset empties the column and keeps its memory.
func (l *lists) Reset() {
	l.items.Reset()
	l.offsets.Reset()
}

// EncodeState is part of proto.StateEncoder.
func (l *lists) EncodeState(b *proto.Buffer) { l.items.EncodeState(b) }

// EncodeColumn is part of proto.ColInput.
func (l *lists) EncodeColumn(b *proto.Buffer) {
	l.offsets.EncodeColumn(b)
	l.items.EncodeColumn(b)
}

// WriteColumn is part of proto.ColInput.
func (l *lists) WriteColumn(w *proto.Writer) { w.ChainBuffer(l.EncodeColumn) }

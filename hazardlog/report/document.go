package report

// document is a report before it is a file of some kind.
type document struct {
	Title    string
	Subtitle string
	Draft    string // in words, on every page; "" for an issue
	Sections []section
}

// section is a numbered part.
type section struct {
	Heading string
	Blocks  []block
}

// block is a paragraph, a heading within a section, or a table.
type block struct {
	Heading string
	Text    string
	Written bool // by people; else made from the log and its evidence
	Table   *table
}

// table has a caption, a headline and rows; the first cell of a row heads it.
type table struct {
	Caption string
	Head    []string
	Rows    [][]string
}

func (s *section) say(text string)     { s.Blocks = append(s.Blocks, block{Text: text}) }
func (s *section) heading(text string) { s.Blocks = append(s.Blocks, block{Heading: text}) }

// table adds a table, or a sentence where it would be empty.
func (s *section) table(caption string, head []string, rows [][]string, none string) {
	if len(rows) == 0 {
		s.say(caption + ": " + none)
		return
	}
	s.Blocks = append(s.Blocks, block{Table: &table{caption, head, rows}})
}

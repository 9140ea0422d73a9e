package report

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// docx is the document for word processors (Office Open XML, ISO/IEC 29500-1,
// WordprocessingML): headings, tables with repeated headlines, landscape A4.
func (d document) docx() ([]byte, error) {
	var body strings.Builder
	paragraph(&body, "Title", d.Title)
	paragraph(&body, "Subtitle", d.Subtitle)
	if d.Draft != "" {
		paragraph(&body, "Draft", d.Draft)
	}
	for i, s := range d.Sections {
		paragraph(&body, "Heading1", fmt.Sprintf("%d. %s", i+1, s.Heading))
		for _, b := range s.Blocks {
			blockXML(&body, b)
		}
	}
	header := "<w:p><w:pPr><w:pStyle w:val=\"Header\"/></w:pPr></w:p>"
	if d.Draft != "" {
		var draft strings.Builder
		paragraph(&draft, "Draft", d.Draft)
		header = draft.String()
	}
	const section = `<w:sectPr><w:headerReference w:type="default" r:id="rId2"/><w:footerReference w:type="default" r:id="rId3"/>` +
		`<w:pgSz w:w="16838" w:h="11906" w:orient="landscape"/><w:pgMar w:top="1134" w:right="850" w:bottom="1134" w:left="850" w:header="567" w:footer="567" w:gutter="0"/></w:sectPr>`
	const footer = `<w:p><w:pPr><w:jc w:val="right"/></w:pPr><w:r><w:t xml:space="preserve">Page </w:t></w:r><w:r><w:fldChar w:fldCharType="begin"/></w:r>` +
		`<w:r><w:instrText xml:space="preserve"> PAGE </w:instrText></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r></w:p>`
	word := func(root, content string) []byte {
		return []byte(xml.Header + "<w:" + root + ` xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">` +
			content + "</w:" + root + ">")
	}
	return archive([]File{
		{Name: "[Content_Types].xml", Data: []byte(contentTypes)},
		{Name: "_rels/.rels", Data: []byte(topLinks)},
		{Name: "docProps/core.xml", Data: []byte(xml.Header + coreProperties + "<dc:title>" + escaped(d.Title+": "+d.Subtitle) + "</dc:title><dc:creator>Matron</dc:creator><dc:language>en-GB</dc:language></cp:coreProperties>")},
		{Name: "word/_rels/document.xml.rels", Data: []byte(documentLinks)},
		{Name: "word/document.xml", Data: word("document", "<w:body>"+body.String()+section+"</w:body>")},
		{Name: "word/footer1.xml", Data: word("ftr", footer)},
		{Name: "word/header1.xml", Data: word("hdr", header)},
		{Name: "word/styles.xml", Data: word("styles", styles())},
	})
}

func blockXML(out *strings.Builder, b block) {
	switch {
	case b.Heading != "":
		paragraph(out, "Heading2", b.Heading)
	case b.Table != nil:
		tableXML(out, b.Table)
	case b.Written:
		paragraph(out, "Written", "Written by people: "+b.Text)
	case isMissing(b.Text):
		paragraph(out, "Missing", b.Text)
	default:
		paragraph(out, "", b.Text)
	}
}

func paragraph(out *strings.Builder, style, text string) {
	out.WriteString("<w:p>")
	if style != "" {
		fmt.Fprintf(out, `<w:pPr><w:pStyle w:val="%s"/></w:pPr>`, style)
	}
	for i, line := range strings.Split(text, "\n") {
		out.WriteString("<w:r>")
		if i > 0 {
			out.WriteString("<w:br/>")
		}
		out.WriteString(`<w:t xml:space="preserve">` + escaped(line) + "</w:t></w:r>")
	}
	out.WriteString("</w:p>")
}

func tableXML(out *strings.Builder, t *table) {
	const wide = 15138 // twentieths of a point between the margins
	paragraph(out, "Caption", t.Caption)
	fmt.Fprintf(out, `<w:tbl><w:tblPr><w:tblStyle w:val="Grid"/><w:tblW w:w="%d" w:type="dxa"/><w:tblLook w:firstRow="1" w:firstColumn="1"/><w:tblCaption w:val="%s"/></w:tblPr><w:tblGrid>`, wide, escaped(t.Caption))
	for range t.Head {
		fmt.Fprintf(out, `<w:gridCol w:w="%d"/>`, wide/len(t.Head))
	}
	out.WriteString("</w:tblGrid>")
	row := func(cells []string, headline bool) {
		out.WriteString("<w:tr><w:trPr><w:cantSplit/>")
		if headline {
			out.WriteString("<w:tblHeader/>")
		}
		out.WriteString("</w:trPr>")
		for i, cell := range cells {
			fmt.Fprintf(out, `<w:tc><w:tcPr><w:tcW w:w="%d" w:type="dxa"/></w:tcPr>`, wide/len(t.Head))
			style := "Cell"
			if headline || i == 0 {
				style = "HeadCell"
			} else if isMissing(cell) {
				style = "MissingCell"
			}
			paragraph(out, style, cell)
			out.WriteString("</w:tc>")
		}
		out.WriteString("</w:tr>")
	}
	row(t.Head, true)
	for _, cells := range t.Rows {
		row(cells, false)
	}
	out.WriteString("</w:tbl>")
	paragraph(out, "", "")
}

func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a strings.Builder never fails
	return out.String()
}

// styles are the looks, by the names that word processors know.
func styles() string {
	var out strings.Builder
	out.WriteString(`<w:docDefaults><w:rPrDefault><w:rPr><w:rFonts w:ascii="Arial" w:hAnsi="Arial" w:cs="Arial"/><w:sz w:val="20"/><w:lang w:val="en-GB"/></w:rPr></w:rPrDefault>` +
		`<w:pPrDefault><w:pPr><w:spacing w:after="120"/></w:pPr></w:pPrDefault></w:docDefaults>` +
		`<w:style w:type="paragraph" w:default="1" w:styleId="Normal"><w:name w:val="Normal"/></w:style>`)
	for _, s := range []struct{ id, name, paragraph, run string }{
		{"Title", "Title", "", `<w:b/><w:color w:val="003087"/><w:sz w:val="48"/>`},
		{"Subtitle", "Subtitle", "", `<w:sz w:val="28"/>`},
		{"Heading1", "heading 1", `<w:keepNext/><w:spacing w:before="360"/><w:outlineLvl w:val="0"/>`, `<w:b/><w:color w:val="003087"/><w:sz w:val="32"/>`},
		{"Heading2", "heading 2", `<w:keepNext/><w:spacing w:before="200"/><w:outlineLvl w:val="1"/>`, `<w:b/><w:color w:val="003087"/><w:sz w:val="24"/>`},
		{"Caption", "caption", `<w:keepNext/>`, `<w:b/>`},
		{"Header", "header", "", ""},
		{"Draft", "Draft", `<w:jc w:val="center"/>`, `<w:b/><w:color w:val="B10E1E"/>`},
		{"Written", "Written by people", `<w:ind w:left="284"/>`, `<w:i/>`},
		{"Missing", "Missing", "", `<w:b/><w:color w:val="7C2855"/>`},
		{"Cell", "Cell", `<w:spacing w:after="0"/>`, `<w:sz w:val="16"/>`},
		{"HeadCell", "Head cell", `<w:spacing w:after="0"/>`, `<w:b/><w:sz w:val="16"/>`},
		{"MissingCell", "Missing cell", `<w:spacing w:after="0"/>`, `<w:b/><w:color w:val="7C2855"/><w:sz w:val="16"/>`},
	} {
		fmt.Fprintf(&out, `<w:style w:type="paragraph" w:styleId="%s"><w:name w:val="%s"/><w:basedOn w:val="Normal"/><w:pPr>%s</w:pPr><w:rPr>%s</w:rPr></w:style>`, s.id, s.name, s.paragraph, s.run)
	}
	out.WriteString(`<w:style w:type="table" w:styleId="Grid"><w:name w:val="Table Grid"/><w:tblPr><w:tblBorders>`)
	for _, side := range []string{"top", "left", "bottom", "right", "insideH", "insideV"} {
		fmt.Fprintf(&out, `<w:%s w:val="single" w:sz="4" w:space="0" w:color="768692"/>`, side)
	}
	out.WriteString(`</w:tblBorders></w:tblPr></w:style>`)
	return out.String()
}

const (
	contentTypes = xml.Header + `<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">` +
		`<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>` +
		`<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/>` +
		`<Override PartName="/word/styles.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.styles+xml"/>` +
		`<Override PartName="/word/header1.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.header+xml"/>` +
		`<Override PartName="/word/footer1.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.footer+xml"/>` +
		`<Override PartName="/docProps/core.xml" ContentType="application/vnd.openxmlformats-package.core-properties+xml"/></Types>`
	links    = `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">`
	topLinks = xml.Header + links +
		`<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/>` +
		`<Relationship Id="rId2" Type="http://schemas.openxmlformats.org/package/2006/relationships/metadata/core-properties" Target="docProps/core.xml"/></Relationships>`
	documentLinks = xml.Header + links +
		`<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles" Target="styles.xml"/>` +
		`<Relationship Id="rId2" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/header" Target="header1.xml"/>` +
		`<Relationship Id="rId3" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/footer" Target="footer1.xml"/></Relationships>`
	coreProperties = `<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/">`
)

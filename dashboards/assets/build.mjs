// Builds the style sheet, the script and the icon that the Go build embeds.
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { compile } from 'sass'

const here = dirname(fileURLToPath(import.meta.url))
const root = join(here, '..', '..')
const dist = join(here, 'dist')

const { css } = compile(join(here, 'src', 'matron.scss'), {
  loadPaths: [join(root, 'node_modules')],
  style: 'compressed',
  quietDeps: true
})

// Nothing may be fetched from outside the hospital, and the font and logo of
// the NHS are not ours to ship.
for (const banned of ['assets.nhs.uk', 'Frutiger', '@font-face', 'http://', 'https://', 'data:']) {
  if (css.includes(banned)) {
    throw new Error(`matron.css mentions ${banned}`)
  }
}

// The licence of what is compiled in travels with it.
const notice = `/*!
Contains nhsuk-frontend. Copyright (c) NHS England. MIT License.
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions: The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.
THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
*/
`

await mkdir(dist, { recursive: true })
await writeFile(join(dist, 'matron.css'), '@charset "UTF-8";' + notice + css.replace(/^\uFEFF/, ''))
for (const name of ['matron.js', 'favicon.svg']) {
  await copyFile(join(here, 'src', name), join(dist, name))
}
console.log(`dashboards/assets/dist: matron.css ${(css.length / 1024).toFixed(0)} KB`)

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

await mkdir(dist, { recursive: true })
await writeFile(join(dist, 'matron.css'), css)
for (const name of ['matron.js', 'favicon.svg']) {
  await copyFile(join(here, 'src', name), join(dist, name))
}
console.log(`dashboards/assets/dist: matron.css ${(css.length / 1024).toFixed(0)} KB`)

// The pages of emergency access in a real browser: what axe finds, at two widths, and
// the way from a refusal to the record by keyboard with scripts off.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { AxeBuilder } from '@axe-core/playwright'
import { chromium } from 'playwright-core'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const shots = process.env.MATRON_SCREENSHOTS
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const LIMIT = { timeout: 60_000 }

let server
let served
let browser

before(async () => {
  server = spawn('go', ['run', './proxy/breakglass/browsertest'], { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] })
  served = JSON.parse(await new Promise((resolve, reject) => {
    createInterface({ input: server.stdout }).once('line', resolve)
    server.once('exit', (code) => reject(new Error(`test server ended with ${code}`)))
  }))
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync']
  })
  if (shots) await mkdir(shots, { recursive: true })
})

after(async () => {
  await browser?.close()
  server?.stdin.end()
})

for (const width of [320, 1200]) {
  test(`every page at ${width} pixels`, LIMIT, async () => {
    const context = await browser.newContext({ viewport: { width, height: 900 } })
    const page = await context.newPage()
    for (const [name, path] of Object.entries(served.pages)) {
      await page.goto(served.origin + path)
      if (shots) await page.screenshot({ path: join(shots, `emergency-${name}-${width}.png`), fullPage: true })
      const found = await new AxeBuilder({ page }).withTags(TAGS).analyze()
      assert.deepEqual(found.violations.map((v) => `${v.id}: ${v.nodes[0].html}`), [], name)
      assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), `${name} is wider than the window`)
    }
    await context.close()
  })
}

test('from the refusal to the record by keyboard, scripts off', LIMIT, async () => {
  const context = await browser.newContext({ javaScriptEnabled: false })
  const page = await context.newPage()
  await page.goto(served.origin + served.pages.offer)
  assert.equal(await page.locator('input:checked').count(), 0, 'reasons chosen beforehand')
  await page.getByRole('button', { name: 'Open the record' }).press('Enter')
  await page.getByRole('link', { name: 'Choose why you need the record now' }).waitFor()
  await page.getByLabel('An emergency: the patient needs care now').press('Space')
  await page.getByRole('button', { name: 'Open the record' }).press('Enter')
  await page.getByRole('heading', { name: 'The record' }).waitFor()
  await page.goto(served.origin + served.pages.list)
  await page.getByRole('button', { name: 'End it now' }).press('Enter')
  await page.getByText('by you').waitFor()
  await context.close()
})

// The demonstration hospital, as a newcomer starts it, and browsers to drive it.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AxeBuilder } from '@axe-core/playwright'
import { chromium } from 'playwright-core'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..')
const program = join(root, 'bin', 'matron')
const shots = process.env.MATRON_SCREENSHOTS

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

// start runs bin/matron on free ports in a folder of its own, and resolves once
// it has printed where it is and whom to sign in as.
export async function start () {
  const dir = await mkdtemp(join(tmpdir(), 'matron-browser-'))
  const child = spawn(program, ['demo', '--dir', dir, '--port', '0'], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  await new Promise((resolve, reject) => {
    const hear = (data) => {
      said += data
      if (said.includes('Staff are at work')) resolve()
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.once('exit', (code) => reject(new Error(`the demonstration ended with ${code}: ${said}`)))
  })
  const people = {}
  for (const [, name, role] of said.matchAll(/^ {2}(\S+ \S+) {2,}(\S.*?) {2,}\S/gm)) people[role] = name
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync']
  })
  if (shots) await mkdir(shots, { recursive: true })
  const record = new URL(said.match(/https:\S+\/ui\/\S*/)[0])
  return {
    program,
    dir,
    said,
    people,
    child,
    browser,
    record: record.href,
    gateway: record.origin,
    async stop () {
      await browser.close()
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGINT')
      const code = await ended
      await rm(dir, { recursive: true, force: true })
      return code
    }
  }
}

// visit opens a browser that notes what it complains of and every request that
// leaves this machine.
export async function visit (hospital, options = {}) {
  const context = await hospital.browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1440, height: 900 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(20_000)
  const complaints = []
  page.on('console', (m) => {
    // Chromium reports every answer of 400 or more as an error of the console.
    if (m.type() === 'error' && !m.text().startsWith('Failed to load resource: the server responded')) complaints.push(m.text())
  })
  page.on('pageerror', (e) => complaints.push(String(e)))
  page.on('request', (r) => {
    if (new URL(r.url()).hostname !== 'localhost') complaints.push(`request to ${r.url()}`)
  })
  page.on('requestfailed', (r) => {
    // A page that is left early drops what it was still loading.
    if (r.failure()?.errorText !== 'net::ERR_ABORTED') complaints.push(`${r.failure()?.errorText}: ${r.url()}`)
  })
  return { context, page, complaints }
}

// signIn opens an address as somebody who has no session yet, chooses who to be
// and says where that led.
export async function signIn (hospital, page, path, role) {
  await page.goto(hospital.gateway + path)
  await page.getByRole('button', { name: hospital.people[role] }).first().click()
  await page.waitForURL(hospital.gateway + '/**')
  return page.url().slice(hospital.gateway.length)
}

// check looks at one page at both widths: what axe finds, and what it does not
// look for. axe needs scripts, so without them it is left to the visits that
// have them.
export async function check (page, what, js = true) {
  for (const width of [1440, 320]) {
    await page.setViewportSize({ width, height: 900 })
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
    assert.ok(wide <= 0, `${what}: ${wide} px wider than ${width}`)
    if (shots && js) await page.screenshot({ path: join(shots, `${what.replaceAll(' ', '-')}-${width}.png`), fullPage: true })
  }
  await page.setViewportSize({ width: 1440, height: 900 })
  assert.equal(await page.locator('h1').count(), 1, `${what}: one h1`)
  assert.doesNotMatch(await page.title(), /\d{4}/, `${what}: number in the title`)
  if (!js) return
  const { violations } = await new AxeBuilder({ page }).withTags(TAGS).analyze()
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(' | ')}`), [], `${what}: axe`)
}

// eventually repeats until it holds: records take a moment to become searchable.
export async function eventually (what, holds) {
  for (const end = Date.now() + 45_000; Date.now() < end;) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
  assert.fail(what)
}

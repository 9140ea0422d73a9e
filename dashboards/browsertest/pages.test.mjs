// Every page, in every state, at two widths, with and without JavaScript, in a
// real browser: what axe finds, and what it does not look for.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { AxeBuilder } from '@axe-core/playwright'
import { chromium } from 'playwright-core'

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..')
const shots = process.env.MATRON_SCREENSHOTS

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

// Which pages each state is looked at on, and the status that each page has.
const STATES = {
  full: ['home', 'lookup', 'alerts', 'alert', 'alert-crowd', 'live', 'health', 'modes', 'hazards', 'hazards-initial', 'hazards-cell', 'hazard', 'not-found',
    'safety', 'hazards-today', 'hazards-filtered', 'safety-control', 'signals', 'incidents', 'incident', 'reviews', 'safety-decisions', 'release', 'sign', 'sign-accept',
    'hazard-edit', 'hazard-rate', 'hazard-status', 'control-edit', 'incident-new', 'hazard-new', 'review-done', 'incident-resolve',
    'patient', 'patient-events', 'patient-letter', 'patient-revealed', 'patient-nobody', 'patient-why', 'staff', 'staff-own', 'decision', 'rules', 'emergencies', 'emergency', 'emergency-own'],
  draft: ['safety', 'hazards', 'hazard', 'release'],
  empty: ['home', 'alerts', 'live', 'hazards', 'safety', 'signals', 'release', 'incidents', 'patient', 'staff', 'decision', 'rules'],
  error: ['home', 'alerts', 'live', 'health', 'modes', 'patient', 'staff'],
  stale: ['home', 'alerts', 'live', 'health', 'patient', 'patient-nobody', 'staff'],
  observed: ['modes', 'health', 'home'],
  'disk-full': ['home', 'health', 'live'],
  'no-permission': ['home', 'patient', 'live', 'health'],
  unrecorded: ['home', 'patient', 'alerts', 'staff', 'decision']
}

const LIMIT = { timeout: 60_000 }

let server
let served
let browser

before(async () => {
  server = spawn('go', ['run', './dashboards/browsertest'], { cwd: root, stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: server.stdout })
  served = JSON.parse(await new Promise((resolve, reject) => {
    lines.once('line', resolve)
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

// open makes a page that notes every complaint of the browser and every request
// that leaves the origin.
async function open (origin, width, javaScriptEnabled, options = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, javaScriptEnabled, ...options })
  const page = await context.newPage()
  const complaints = []
  page.on('console', (m) => {
    // Chromium reports every answer of 400 or more as an error of the console.
    if (m.type() === 'error' && !m.text().startsWith('Failed to load resource: the server responded')) complaints.push(m.text())
  })
  page.on('pageerror', (e) => complaints.push(String(e)))
  page.on('request', (r) => {
    if (new URL(r.url()).origin !== origin) complaints.push(`request to ${r.url()}`)
  })
  page.on('requestfailed', (r) => {
    // A page that is left early drops what it was still loading.
    const why = r.failure()?.errorText
    if (why !== 'net::ERR_ABORTED') complaints.push(`${why}: ${r.url()}`)
  })
  return { context, page, complaints }
}

// tooSmall lists buttons, fields and links outside sentences below 24 by 24 CSS
// pixels. A radio is as large as its label's target.
function tooSmall () {
  const small = []
  for (const e of document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')) {
    const box = e.getBoundingClientRect()
    if (box.width === 0 || e.classList.contains('nhsuk-skip-link')) continue
    if (box.width < 24 || box.height < 24) small.push(`${e.outerHTML.slice(0, 120)} ${box.width}x${box.height}`)
  }
  return small
}

// axe needs scripts of its own in the page. Where pages are looked at without
// JavaScript it looks at the same page with Matron's script left out.
async function axe (page, what) {
  const { violations } = await new AxeBuilder({ page }).withTags(TAGS).analyze()
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(' | ')}`), [], `${what}: axe`)
}

async function check (page, what) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)
  assert.ok(wide <= 0, `${what}: ${wide} px wider than the window`)
  assert.deepEqual(await page.evaluate(tooSmall), [], `${what}: targets below 24 px`)
  assert.equal(await page.locator('h1').count(), 1, `${what}: one h1`)
  const font = await page.evaluate(() => getComputedStyle(document.querySelector('p')).fontFamily)
  assert.match(font, /^arial/i, `${what}: font`)
  assert.doesNotMatch(await page.title(), /\d{4}/, `${what}: number in the title`)
}

for (const [state, names] of Object.entries(STATES)) {
  for (const width of [320, 1440]) {
    for (const js of [true, false]) {
      describe(`state ${state} at ${width} px ${js ? 'with' : 'without'} JavaScript`, () => {
        let origin, opened, plain
        before(async () => {
          origin = served.states[state]
          opened = await open(origin, width, js)
          if (js || width !== 320) return
          plain = await open(origin, width, true)
          await plain.page.route('**/*.js', (route) => route.fulfill({ contentType: 'text/javascript', body: '' }))
        })
        after(async () => {
          await opened?.context.close()
          await plain?.context.close()
        })

        for (const name of names) {
          test(name, LIMIT, async () => {
            const { page, complaints } = opened
            complaints.length = 0
            await page.goto(origin + served.pages[name])
            await check(page, `${state} ${name}`)
            if (shots && js) await page.screenshot({ path: join(shots, `${state}-${name}-${width}.png`), fullPage: true })
            if (js) await axe(page, `${state} ${name}`)
            await plain?.page.goto(origin + served.pages[name])
            if (plain) await axe(plain.page, `${state} ${name}`)
            assert.deepEqual(complaints, [], 'complaints of the browser')
          })
        }
      })
    }
  }
}

describe('journeys', () => {
  // press walks with Tab until the wanted element has the focus.
  async function tabTo (page, selector) {
    for (let i = 0; i < 240; i++) {
      await page.keyboard.press('Tab')
      if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return
    }
    assert.fail(`${selector} cannot be reached with Tab`)
  }

  for (const js of [true, false]) {
    test(`look up a patient by keyboard ${js ? 'with' : 'without'} JavaScript`, LIMIT, async () => {
      const origin = served.states.full
      const { context, page, complaints } = await open(origin, 1440, js)
      await page.goto(origin + '/.matron/')
      await tabTo(page, 'a[href="/.matron/lookup"]')
      await page.keyboard.press('Enter')
      await page.waitForURL('**/lookup')

      await tabTo(page, '#number')
      await page.keyboard.type('999 000 0019')
      await page.keyboard.press('Enter')
      await page.waitForSelector('.nhsuk-error-summary')
      assert.match(await page.title(), /^Error: /)
      if (js) assert.ok(await page.evaluate(() => document.activeElement.matches('.nhsuk-error-summary')), 'focus on the summary')
      await check(page, 'look up with errors')
      if (js) await axe(page, 'look up with errors')
      if (shots && js) await page.screenshot({ path: join(shots, 'journey-lookup-errors.png'), fullPage: true })

      await tabTo(page, '#number')
      await page.keyboard.press('Control+A')
      await page.keyboard.type('999-000-0018')
      await tabTo(page, '#reason')
      await page.keyboard.type('A compl')
      await tabTo(page, 'main button')
      await page.keyboard.press('Enter')
      await page.waitForURL('**/patients/**')
      assert.equal(await page.locator('h1').innerText(), 'Who viewed this record')
      assert.doesNotMatch(page.url(), /999/)
      assert.match(page.url(), /reason=complaint/)
      assert.equal(await page.locator('.app-identity__value').innerText(), '··· ··· 0018')

      await tabTo(page, '.app-sub-navigation__link[href*="view=events"]')
      await page.keyboard.press('Enter')
      await page.waitForURL('**view=events**')
      await tabTo(page, 'a[rel=next]')
      await page.keyboard.press('Enter')
      await page.waitForURL('**before=**')
      assert.equal(await page.locator('a[rel=prev]').count(), 1)
      assert.deepEqual(complaints, [])
      await context.close()
    })
  }

  test('the live page updates itself, and stops when asked', LIMIT, async () => {
    const origin = served.states.full
    const { context, page, complaints } = await open(origin, 1440, true)
    await page.clock.install()
    await page.goto(origin + '/.matron/live')
    const again = page.waitForResponse('**/live/now')
    await page.clock.fastForward(10_000)
    assert.equal((await again).status(), 200)
    await page.getByRole('button', { name: 'Pause updates' }).click()
    let asked = 0
    page.on('request', (r) => { if (r.url().endsWith('/live/now')) asked++ })
    await page.clock.fastForward(60_000)
    assert.equal(asked, 0)
    assert.equal(await page.getByRole('status').innerText(), 'Updates are paused.')
    assert.deepEqual(complaints, [])
    await context.close()
  })

  test('figures that cannot be updated are marked as old', LIMIT, async () => {
    const origin = served.states.full
    const { context, page } = await open(origin, 1440, true)
    await page.clock.install()
    await page.goto(origin + '/.matron/live')
    await page.route('**/live/now', (route) => route.abort())
    await page.clock.fastForward(10_000)
    await page.waitForSelector('.app-stale')
    assert.match(await page.getByRole('status').innerText(), /figures are old/)
    if (shots) await page.screenshot({ path: join(shots, 'journey-live-stale.png'), fullPage: true })
    await context.close()
  })

  test('forced colours and print', LIMIT, async () => {
    const origin = served.states.full
    const { context, page, complaints } = await open(origin, 1440, true, { forcedColors: 'active', reducedMotion: 'reduce' })
    await page.goto(origin + '/.matron/live')
    assert.equal(await page.getByRole('status').innerText(), 'Updates are paused.')
    await check(page, 'live in forced colours')
    await axe(page, 'live in forced colours')
    if (shots) await page.screenshot({ path: join(shots, 'forced-live.png') })
    await page.emulateMedia({ media: 'print', forcedColors: 'none' })
    await page.goto(origin + '/.matron/hazards')
    assert.ok(await page.locator('.nhsuk-header__navigation').isHidden())
    if (shots) await page.screenshot({ path: join(shots, 'print-hazards.png'), fullPage: true })
    assert.deepEqual(complaints, [])
    await context.close()
  })
})

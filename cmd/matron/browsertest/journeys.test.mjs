// The whole program, as each kind of person meets it: a real gateway, record,
// sign-in service and ClickHouse, a real browser, simulated staff at work.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { inflateRawSync } from 'node:zlib'
import { check, eventually, signIn, start, visit } from './hospital.mjs'

const LIMIT = { timeout: 90_000 }
const PATIENT = { hospital: 'H100014', path: '/ui/patients/H100014' }

let hospital

before(async () => { hospital = await start() }, { timeout: 90_000 })
after(async () => { assert.equal(await hospital?.stop(), 0, 'exit code of the demonstration') }, { timeout: 90_000 })

// person is a visit that ends without a complaint of the browser.
function person (name, options, journey) {
  test(name, LIMIT, async () => {
    const v = await visit(hospital, options)
    try {
      await journey(v.page, options.javaScriptEnabled !== false)
    } catch (err) {
      err.message += `\nat ${v.page.url()}: ${await v.page.locator('body').innerText({ timeout: 1000 }).catch(() => 'no page')}`
      throw err
    }
    assert.deepEqual(v.complaints, [], 'complaints of the browser')
    await v.context.close()
  })
}

// lookUp fills in the form and goes where it leads.
async function lookUp (page, by, number) {
  await page.goto(hospital.gateway + '/.matron/lookup')
  await page.check(`input[name=by][value=${by}]`)
  await page.fill('#number', number)
  await page.selectOption('#reason', 'complaint')
  await page.getByRole('button', { name: 'Look up' }).click()
  await page.waitForURL('**reason=complaint**')
  assert.doesNotMatch(page.url(), new RegExp(number.replaceAll(' ', '')))
}

// row is the text of a table row that names somebody.
const row = (page, name) => page.getByRole('row').filter({ hasText: name }).first()

test('the terminal names people who can sign in, and where', LIMIT, async () => {
  assert.deepEqual(Object.keys(hospital.people), ['nurse', 'doctor', 'receptionist', 'information governance', 'security', 'clinical safety officer'])
  const { page, context } = await visit(hospital)
  await page.goto(hospital.record)
  await check(page, 'sign in')
  for (const name of Object.values(hospital.people)) {
    assert.ok(await page.getByRole('button', { name }).first().isVisible(), `${name} is offered`)
  }
  await context.close()
})

for (const javaScriptEnabled of [true, false]) {
  describe(`clinicians ${javaScriptEnabled ? 'with' : 'without'} JavaScript`, () => {
    person('a nurse finds a patient, reads the record and adds a note', { javaScriptEnabled }, async (page, js) => {
      assert.equal(await signIn(hospital, page, PATIENT.path + '/results', 'nurse'), PATIENT.path + '/results')
      await check(page, 'results', js)
      await page.goto(hospital.gateway + '/')
      assert.equal(page.url(), hospital.gateway + '/ui/patients')
      await page.fill('#q', PATIENT.hospital)
      await page.keyboard.press('Enter')
      await page.waitForURL('**?q=**')
      await check(page, 'patients found', js)
      await page.locator('main td a').first().click()
      await page.waitForURL('**' + PATIENT.path)
      for (const tab of ['Summary', 'Prescriptions', 'Allergies', 'Notes and letters']) {
        await page.getByRole('link', { name: tab }).click()
        await page.getByRole('link', { name: tab, exact: true }).and(page.locator('[aria-current=page]')).waitFor()
      }
      const note = `Comfortable overnight, scripts ${js ? 'on' : 'off'}.`
      await page.getByLabel('New note').fill(note)
      await page.getByRole('button', { name: 'Save note' }).click()
      await page.getByRole('cell', { name: note }).waitFor()
      await check(page, 'notes', js)
    })

    person('a nurse may not prescribe, a doctor may', { javaScriptEnabled }, async (page, js) => {
      const prescribe = async () => {
        await page.getByLabel('New prescription').fill('Paracetamol 1 g four times a day')
        await page.getByRole('button', { name: 'Prescribe' }).click()
      }
      await signIn(hospital, page, PATIENT.path + '/prescriptions', 'nurse')
      await prescribe()
      await page.getByRole('heading', { name: 'Not allowed' }).waitFor()
      const main = page.locator('main')
      assert.match(await main.innerText(), /Your role \(nurse\) may not add to prescriptions\.\s+Ask somebody who may: doctor/)
      assert.match(await main.innerText(), /Reference\s+[0-9a-f-]{36}/)
      await check(page, 'denied write', js)
      await page.context().clearCookies()
      await signIn(hospital, page, PATIENT.path + '/prescriptions', 'doctor')
      await prescribe()
      await page.getByRole('cell', { name: 'Paracetamol' }).first().waitFor()
    })

    person('a receptionist is told why prescriptions stay closed', { javaScriptEnabled }, async (page, js) => {
      await signIn(hospital, page, PATIENT.path + '/prescriptions', 'receptionist')
      assert.equal(await page.locator('h1').innerText(), 'Not allowed')
      await check(page, 'denied page', js)
      await page.getByRole('link', { name: 'home page' }).click()
      await page.waitForURL('**/ui/patients')
    })

    person('what was typed is not lost silently when the session is gone', { javaScriptEnabled }, async (page, js) => {
      await signIn(hospital, page, PATIENT.path + '/notes', 'doctor')
      await page.getByLabel('New note').fill('Typed before the session ended')
      await page.context().clearCookies()
      await page.getByRole('button', { name: 'Save note' }).click()
      await page.getByText('What you entered has not been sent.').waitFor()
      assert.equal(page.url(), hospital.gateway + PATIENT.path + '/notes', 'a write is never redirected')
      await check(page, 'write without a session', js)
      const opened = page.context().waitForEvent('page')
      await page.getByRole('link', { name: 'Sign in' }).click()
      const tab = await opened
      await tab.getByRole('button', { name: hospital.people.doctor }).first().click()
      await tab.waitForURL('**' + PATIENT.path + '/notes')
      await tab.close()
      await page.goBack()
      await page.getByLabel('New note').fill('Typed again')
      await page.getByRole('button', { name: 'Save note' }).click()
      await page.getByRole('cell', { name: 'Typed again' }).first().waitFor()
    })

    person('signing out ends the session at both ends', { javaScriptEnabled }, async (page, js) => {
      await signIn(hospital, page, '/ui/patients', 'nurse')
      await page.getByRole('link', { name: 'Sign out' }).click()
      await page.getByRole('heading', { name: 'Sign out' }).waitFor()
      await check(page, 'sign out', js)
      await page.getByRole('button', { name: 'Sign out' }).click()
      await page.waitForURL('**/.matron/signed-out')
      await check(page, 'signed out', js)
      await page.goto(hospital.gateway + PATIENT.path)
      await page.getByRole('heading', { name: 'Choose who you are' }).waitFor()
      await page.goto(hospital.gateway + '/.matron/sign-in')
      await page.getByRole('button', { name: hospital.people.nurse }).first().click()
      await page.waitForURL('**/ui/patients')
    })
  })
}

// elsewhere is a patient whose record is refused to whoever is signed in, and who may be
// opened in an emergency.
async function elsewhere (page) {
  for (let i = 1; i < 60; i++) {
    const path = `/ui/patients/H${100000 + i}`
    await page.goto(hospital.gateway + path)
    if (await page.getByText('Why do you need it now?').count()) return { path, hospital: path.split('/').pop() }
  }
  assert.fail('no patient is refused')
}

describe('emergency access', () => {
  person('a nurse opens a record in two interactions without scripts, and the privacy officer learns of it', { javaScriptEnabled: false }, async (page) => {
    await signIn(hospital, page, '/ui/patients', 'nurse')
    const patient = await elsewhere(page)
    await check(page, 'emergency access offered', false)
    assert.match(await page.locator('main').innerText(), /Matron has been told of nothing that says you are caring for this patient/)
    await page.getByLabel('An emergency: the patient needs care now').check() // one
    const answered = page.waitForResponse((r) => r.url() === hospital.gateway + patient.path)
    await page.getByRole('button', { name: 'Open the record' }).click() // two
    const record = await answered
    assert.equal(page.url(), hospital.gateway + patient.path)
    assert.equal(record.status(), 200)
    const identity = await page.locator('dl').first().innerText()
    const until = new Date(record.headers()['matron-break-glass-until'])
    const wait = until - Date.now()
    assert.ok(wait > 50 * 60_000 && wait <= 60 * 60_000, `open until ${until}`)

    await page.goto(hospital.gateway + '/.matron/')
    const clock = until.toLocaleTimeString('en-GB', { timeZone: 'Europe/London' })
    await page.getByText(`You have emergency access to a patient's record until ${clock}.`).waitFor()
    await check(page, 'emergency access in force', false)
    await page.goto(hospital.gateway + '/.matron/emergency')
    const reference = (await page.locator('main').innerText()).match(/BG-[A-Z0-9-]+/)[0]

    await page.context().clearCookies()
    await signIn(hospital, page, '/.matron/emergencies', 'information governance')
    assert.match(await row(page, reference).innerText(), new RegExp(hospital.people.nurse))
    await check(page, 'emergencies to look at', false)

    let notice = ''
    await eventually('no message to the officer', async () => {
      const box = join(hospital.dir, 'mail')
      const all = await Promise.all((await readdir(box)).map((name) => readFile(join(box, name), 'utf8')))
      notice = all.find((text) => text.includes(reference)) ?? ''
      return notice !== ''
    })
    assert.match(notice, /^To: <privacy-officer@hospital\.invalid>/m)
    const number = identity.match(/\d{3} \d{3} \d{4}/)[0]
    for (const told of [patient.hospital, number, number.replaceAll(' ', ''), hospital.people.nurse, 'ursing', 'patient needs care']) {
      assert.ok(!notice.includes(told), `the message tells ${told}`)
    }
  })
})

describe('refusals', () => {
  person('addresses that lead nowhere', {}, async (page) => {
    await signIn(hospital, page, '/ui/patients', 'nurse')
    for (const [path, status, heading] of [
      ['/elsewhere', 404, 'Nothing here'], ['/ui/nonsense', 403, 'Not allowed'], ['/fhir/Nonsense/1', 403, 'Not allowed'],
      ['/.matron/callback?code=x&state=y', 400, 'You are not signed in'], ['/.matron/alerts', 403, 'Not allowed']
    ]) {
      const answer = await page.goto(hospital.gateway + path)
      assert.equal(answer.status(), status, path)
      assert.equal(await page.locator('h1').innerText(), heading, path)
      await check(page, 'refused ' + path.replaceAll(/\W+/g, ' ').trim())
    }
  })

  person('too many searches', {}, async (page) => {
    await signIn(hospital, page, '/ui/patients', 'nurse')
    const search = hospital.gateway + '/ui/patients?q=test'
    const headers = { accept: 'text/html', 'sec-fetch-mode': 'navigate' }
    const seen = []
    for (let i = 0; i < 6 && !seen.includes(429); i++) {
      const answers = await Promise.all(Array.from({ length: 60 }, () => page.request.get(search, { headers })))
      for (const answer of answers) {
        seen.push(answer.status())
        if (answer.status() !== 429) continue
        assert.match(answer.headers()['retry-after'], /^\d+$/)
        assert.match(await answer.text(), /You can try again after \d+ second/)
        await page.setContent(await answer.text())
      }
    }
    assert.ok(seen.includes(429), 'a search is refused')
    assert.match(await page.locator('h1').innerText(), /Too many requests/)
  })

  test('headers of every kind of page of our own', LIMIT, async () => {
    const { page, context } = await visit(hospital)
    await signIn(hospital, page, '/.matron/', 'information governance')
    for (const path of ['/.matron/', '/.matron/lookup', '/.matron/hazards', '/.matron/sign-out', '/elsewhere', '/.matron/live/now']) {
      const h = (await page.goto(hospital.gateway + path)).headers()
      assert.equal(h['cache-control'], 'no-store', path)
      assert.match(h['content-security-policy'], /^default-src '(none|self)'/, path)
      assert.match(h['referrer-policy'], /^(no-referrer|same-origin)$/, path)
      assert.equal(h['x-content-type-options'], 'nosniff', path)
      assert.doesNotMatch(JSON.stringify(h), /unsafe-/, path)
    }
    await context.close()
  })
})

describe('information governance', () => {
  for (const javaScriptEnabled of [true, false]) {
    person(`sees what the clinicians did ${javaScriptEnabled ? 'with' : 'without'} JavaScript`, { javaScriptEnabled }, async (page, js) => {
      await signIn(hospital, page, '/.matron/', 'information governance')
      await check(page, 'governance home', js)
      const { nurse, doctor, receptionist } = hospital.people
      await eventually('the receptionist is not listed', async () => {
        await lookUp(page, 'hospital', PATIENT.hospital)
        return await row(page, nurse).isVisible() && await row(page, doctor).isVisible() && await row(page, receptionist).isVisible()
      })
      assert.match(await row(page, nurse).innerText(), /cared for on ward ASH, where the person works/)
      assert.match(await row(page, receptionist).innerText(), /Nothing was shown/)
      await check(page, 'who viewed', js)
      await page.getByRole('link', { name: 'Every view' }).click()
      await page.waitForURL('**view=events**')
      assert.match(await row(page, receptionist).innerText(), /Prescribing: prescriptions\s+Role not permitted, no relationship\s+Refused/)
      assert.match(await page.locator('main').innerText(), /Added to\s+Notes: notes/)
      await check(page, 'every view', js)
      await page.getByRole('link', { name: nurse }).first().click()
      await page.getByRole('heading', { name: 'What a member of staff viewed' }).waitFor()
      assert.equal(await page.locator('.app-identity__value').innerText(), nurse)
      await check(page, 'member of staff', js)
    })
  }

  person('finds the same record by NHS number', {}, async (page) => {
    await signIn(hospital, page, PATIENT.path, 'nurse')
    const number = (await page.locator('dl').innerText()).match(/\d{3} \d{3} \d{4}/)[0]
    await page.context().clearCookies()
    await signIn(hospital, page, '/.matron/lookup', 'information governance')
    await eventually('the nurse is not listed', async () => {
      await lookUp(page, 'nhs', number)
      return await row(page, hospital.people.nurse).isVisible()
    })
    assert.equal(await page.locator('.app-identity__value').innerText(), '··· ··· ' + number.slice(-4))
    await page.getByRole('button', { name: 'Show in full' }).click()
    await page.waitForURL('**reveal=yes**')
    assert.equal(await page.locator('.app-identity__value').innerText(), number)
  })

  person('reviews alerts that say why and who', {}, async (page) => {
    await signIn(hospital, page, '/.matron/alerts', 'information governance')
    await eventually('three kinds of alert', async () => {
      await page.reload()
      const said = await page.locator('main').innerText()
      return [/person's own/, /next of kin|same address|same surname/, /within ten minutes/].every((words) => words.test(said))
    })
    const said = await page.locator('main').innerText()
    assert.match(said, /Not yet explained/)
    assert.doesNotMatch(said, /suspicious|\bS1\d{3}\b/)
    assert.match(said, /[A-Z][a-z]+ [A-Z][a-z]+\s+(Nurse|Doctor|Medical secretary|Allied health professional)/)
    await check(page, 'alerts')
  })

  for (const javaScriptEnabled of [true, false]) {
    person(`says what came of an alert ${javaScriptEnabled ? 'with' : 'without'} JavaScript`, { javaScriptEnabled }, async (page) => {
      await signIn(hospital, page, '/.matron/alerts', 'information governance')
      const own = row(page, 'person\'s own')
      await eventually('the alert about an own record', async () => {
        await page.reload()
        return await own.isVisible()
      })
      await own.getByRole('link').first().click()
      await page.waitForURL('**/alerts/*')
      const said = await page.locator('main').innerText()
      for (const part of ['Why it is listed', 'What could explain it', 'Which detectors', 'Accesses that it rests on', 'What do you make of it?']) assert.ok(said.includes(part), part)
      await check(page, 'alert', javaScriptEnabled)
      await page.getByRole('button', { name: 'Save' }).click()
      await page.waitForSelector('.nhsuk-error-summary')
      await page.getByRole('radio', { name: 'A talk or training is enough' }).check()
      await page.fill('#note', 'A talk was had.')
      const alert = page.url()
      await page.getByRole('button', { name: 'Save' }).click()
      await page.waitForURL('**/alerts')
      await page.goto(alert)
      await eventually('what was made of it', async () => (await page.locator('main').innerText()).includes('A talk was had.'))
    })
  }
})

// member is one file of a zip file, found by its name in the list at the end.
function member (zip, name) {
  const at = zip.lastIndexOf(name)
  const header = zip.readUInt32LE(at - 4)
  const begin = header + 30 + zip.readUInt16LE(header + 26) + zip.readUInt16LE(header + 28)
  return inflateRawSync(zip.subarray(begin, begin + zip.readUInt32LE(at - 26))).toString()
}

test('the report in an evidence pack', LIMIT, async () => {
  const file = join(hospital.dir, 'evidence.zip')
  execFileSync(hospital.program, ['audit', 'export', '-c', join(hospital.dir, 'matron.yaml'), '--patient', PATIENT.hospital, '--out', file], { stdio: 'ignore' })
  const { context, page } = await visit(hospital)
  await page.setContent(member(await readFile(file), 'report.html'))
  assert.match(await page.locator('.facts').innerText(), /Patient\s+H100014/)
  await check(page, 'evidence pack')
  await context.close()
})

describe('security', () => {
  const engine = () => execFileSync('pgrep', ['-P', String(hospital.child.pid), '-f', 'engine-child']).toString().trim()

  person('watches the gateway, and sees it heal when its engine is killed', {}, async (page) => {
    await signIn(hospital, page, '/.matron/live', 'security')
    assert.equal(await page.locator('.app-state').innerText(), 'Enforcing')
    await check(page, 'live')
    const updated = page.waitForResponse('**/live/now')
    assert.equal((await updated).status(), 200)
    const first = engine()
    process.kill(Number(first), 'SIGKILL')
    await eventually('the live page does not heal', async () => {
      await page.reload()
      const facts = await page.locator('main').innerText()
      return /Searchable copy\s+Working/.test(facts) && /\d+ requests in this hour/.test(facts) && engine() !== first
    })
    assert.doesNotMatch(await page.locator('main').innerText(), /H1\d{5}/, 'no patient on the live page')
    await check(page, 'live after the engine was killed')
  })
})

describe('clinical safety', () => {
  person('reads the hazard log', {}, async (page) => {
    await signIn(hospital, page, '/.matron/', 'clinical safety officer')
    assert.equal(await page.locator('.nhsuk-summary-list__row').count(), 5, 'five facts')
    await check(page, 'safety home')
    await page.getByRole('link', { name: 'Safety', exact: true }).click()
    assert.equal(await page.locator('h2').count(), 5, 'five facts in full')
    await check(page, 'safety overview')
    for (const name of ['Safety signals', 'Incidents', 'Reviews due', 'Decisions', 'Release and sign-off']) {
      await page.getByRole('link', { name, exact: true }).first().click()
      await check(page, name)
    }
    assert.equal(await page.getByRole('button', { name: 'Sign' }).count(), 0, 'who is not named in the configuration signs nothing')
    await page.getByRole('link', { name: 'Hazards', exact: true }).click()
    await page.locator('.app-matrix__link').first().click()
    await page.waitForURL('**severity=**')
    await check(page, 'hazards of a cell')
    await page.locator('a[href*="/hazards/GW-"]').first().click()
    await page.waitForURL('**/hazards/GW-*')
    await check(page, 'hazard')
    await page.emulateMedia({ media: 'print' })
    assert.ok(await page.locator('.nhsuk-header__navigation').isHidden())
  })
})

describe('each role', () => {
  for (const [role, menu] of Object.entries({
    nurse: ['Home'],
    'information governance': ['Home', 'Alerts', 'Emergencies', 'Look up', 'Live', 'Health', 'Modes', 'Rules'],
    security: ['Home', 'Live', 'Health', 'Modes', 'Rules'],
    'clinical safety officer': ['Home', 'Safety', 'Rules']
  })) {
    person(`${role} is offered what may be opened, and no more`, {}, async (page) => {
      await signIn(hospital, page, '/.matron/', role)
      assert.deepEqual(await page.getByRole('navigation', { name: 'Menu' }).getByRole('link').allInnerTexts(), menu)
      await check(page, `home of ${role}`)
      for (const [name, path] of Object.entries({ Alerts: 'alerts', Emergencies: 'emergencies', 'Look up': 'lookup', Live: 'live', Health: 'health', Modes: 'modes', Rules: 'rules', Safety: 'safety' })) {
        const answer = await page.goto(`${hospital.gateway}/.matron/${path}`)
        assert.equal(answer.status(), menu.includes(name) ? 200 : 403, `${role}: ${path}`)
      }
    })
  }

  person('a look-up needs no mouse', {}, async (page) => {
    const tabTo = async (selector) => {
      for (let i = 0; i < 60; i++) {
        await page.keyboard.press('Tab')
        if (await page.evaluate((s) => document.activeElement?.matches(s), selector)) return
      }
      assert.fail(`${selector} cannot be reached with Tab`)
    }
    await page.goto(hospital.gateway + '/.matron/lookup')
    const id = await page.getByRole('button', { name: hospital.people['information governance'] }).first().getAttribute('value')
    await tabTo(`button[value=${id}]`)
    await page.keyboard.press('Enter')
    await page.waitForURL('**/.matron/lookup')
    await tabTo('#by')
    await page.keyboard.press('ArrowDown')
    await tabTo('#number')
    await page.keyboard.type(PATIENT.hospital)
    await tabTo('#reason')
    await page.keyboard.type('A compl')
    await tabTo('main button')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'Who viewed this record' }).waitFor()
  })
})

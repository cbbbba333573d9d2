import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openEmpty } from '../../../test/support/storage-backends.ts'
import { AnnouncementStore, migrations } from './store.ts'

const DOMAIN = 'im.example.com'
const OTHER = 'other.example.com'

const motd = (domain: string, body: string) =>
  ({ domain, kind: 'motd', id: `${domain} ${body}`, body, set_at: 1 }) as const

test('what is announced in several domains is stored in all of them, or in none', async () => {
  await using storage = await openEmpty()
  await storage.migrate(migrations)
  const store = new AnnouncementStore(storage)
  const bodies = async () => (await store.all()).map(({ domain, body }) => `${domain}: ${body}`)

  await assert.rejects(store.set([motd(DOMAIN, 'one'), motd(OTHER, null as never)]))
  assert.deepEqual(await bodies(), [])

  await store.set([motd(DOMAIN, 'one')])
  assert.deepEqual(await store.edit([DOMAIN, OTHER], 'motd', 'two'), [DOMAIN])
  await store.set([motd(OTHER, 'three')])
  await assert.rejects(store.edit([DOMAIN, OTHER], 'motd', null as never))
  assert.deepEqual(await bodies(), [`${DOMAIN}: two`, `${OTHER}: three`])

  assert.deepEqual(await store.remove([DOMAIN, OTHER], 'welcome'), [])
  assert.deepEqual(await store.remove([DOMAIN, OTHER], 'motd'), [DOMAIN, OTHER])
  assert.deepEqual(await bodies(), [])
})

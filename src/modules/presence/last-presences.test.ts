import assert from 'node:assert/strict'
import { test } from 'node:test'
import { coherentNodes } from '../../../test/support/coherence.ts'
import { openEmpty } from '../../../test/support/storage-backends.ts'
import { jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { el } from '../../xmpp/xml.ts'
import { LastPresences } from './last-presences.ts'
import { migrations, sqlLastPresenceStore } from './sql-store.ts'

const JULIET = jid('juliet', 'im.example.com')
const NOON = Date.UTC(2026, 7, 1, 12)

const farewell = (status: string) =>
  Stanza.build('presence', { type: 'unavailable' }, el('status', {}, status))

test('what another node has changed is not remembered as it was read before', async () => {
  await using storage = await openEmpty()
  await storage.migrate(migrations)
  const store = sqlLastPresenceStore(storage)
  const begun = Promise.withResolvers<void>()
  const goOn = Promise.withResolvers<void>()
  const slow = {
    ...store,
    find: async (owners: readonly string[]) => {
      const found = await store.find(owners)
      begun.resolve()
      await goOn.promise
      return found
    },
  }
  const options = { maxCached: 10, maxSizeFor: () => 1_000 }
  const here = new LastPresences({ ...options, store: slow })
  const elsewhere = new LastPresences({ ...options, store })
  await elsewhere.save(JULIET, farewell('to church'), NOON)
  const asked = here.get(JULIET)
  await begun.promise
  await elsewhere.save(JULIET, farewell('to the tomb'), NOON + 1)
  here.forget(JULIET.full)
  goOn.resolve()
  await asked
  assert.equal((await here.get(JULIET))?.at, NOON + 1)
})

test('an account that was removed on one node is known to none', async () => {
  await using storage = await openEmpty()
  await storage.migrate(migrations)
  const store = sqlLastPresenceStore(storage)
  const node = coherentNodes('presence')
  const [here, elsewhere] = [0, 1].map(() => {
    const coherence = node()
    const lasts = new LastPresences({ maxCached: 10, maxSizeFor: () => 1_000, store, coherence })
    coherence.keep(lasts)
    return lasts
  }) as [LastPresences, LastPresences]
  await here.save(JULIET, farewell('to church'), NOON)
  assert.equal((await elsewhere.get(JULIET))?.at, NOON)
  await here.remove(JULIET)
  assert.equal(await elsewhere.get(JULIET), undefined)
})

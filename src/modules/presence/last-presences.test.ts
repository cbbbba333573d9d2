import assert from 'node:assert/strict'
import { test } from 'node:test'
import { coherentNodes } from '../../../test/support/coherence.ts'
import { openEmpty } from '../../../test/support/storage-backends.ts'
import { WrittenBehind } from '../../core/written-behind.ts'
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
  const behind = new WrittenBehind({ isShared: true })
  const options = { maxCached: 10, maxSizeFor: () => 1_000, behind }
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
  const behind = new WrittenBehind({ isShared: true })
  const [here, elsewhere] = [0, 1].map(() => {
    const coherence = node()
    const lasts = new LastPresences({
      maxCached: 10,
      maxSizeFor: () => 1_000,
      behind,
      store,
      coherence,
    })
    coherence.keep(lasts)
    return lasts
  }) as [LastPresences, LastPresences]
  await here.save(JULIET, farewell('to church'), NOON)
  assert.equal((await elsewhere.get(JULIET))?.at, NOON)
  await here.remove(JULIET)
  assert.equal(await elsewhere.get(JULIET), undefined)
})

test('what is written behind is read at once, and stays removed', async () => {
  await using storage = await openEmpty()
  await storage.migrate(migrations)
  const store = sqlLastPresenceStore(storage)
  const behind = new WrittenBehind({ isShared: false })
  // Nothing is at hand: all is read.
  const lasts = new LastPresences({ maxCached: 0, maxSizeFor: () => 1_000, store, behind })
  const failures: unknown[] = []
  const fail = (error: unknown) => failures.push(error)
  lasts.saveBehind(JULIET, farewell('to church'), NOON, fail)
  assert.equal((await store.find([JULIET.full])).size, 0)
  assert.equal((await lasts.get(JULIET))?.at, NOON)
  assert.equal((await store.find([JULIET.full])).get(JULIET.full)?.at, NOON)

  lasts.saveBehind(JULIET, farewell('to the tomb'), NOON + 1, fail)
  await lasts.save(JULIET, farewell('to the friar'), NOON + 2)
  await behind.stop()
  assert.equal((await store.find([JULIET.full])).get(JULIET.full)?.at, NOON + 2)

  lasts.saveBehind(JULIET, farewell('for ever'), NOON + 3, fail)
  await lasts.remove(JULIET)
  await behind.stop()
  assert.equal((await store.find([JULIET.full])).size, 0)
  assert.deepEqual(failures, [])
})

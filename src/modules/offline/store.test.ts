import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openEmpty } from '../../../test/support/storage-backends.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import type { Storage } from '../../core/storage.ts'
import { accountMigrations } from '../../storage/account-store.ts'
import { parseBare, parseJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { el } from '../../xmpp/xml.ts'
import { migrations, OfflineStore, START } from './store.ts'

const JULIET = parseBare('juliet@im.example.com')
const MESSAGE = new Envelope(
  parseJid('romeo@im.example.com/orchard'),
  JULIET,
  Stanza.build('message', { type: 'chat' }, el('body', {}, 'Art thou not Romeo?')),
  SERVER,
)

/** A store that nobody else uses unless told, and how often the storage was asked for pages. */
async function given({ isShared = false } = {}) {
  const storage = await openEmpty()
  await storage.migrate([...accountMigrations, ...migrations])
  let asked = 0
  const counting: Pick<Storage, 'read' | 'write' | 'writeAll'> = {
    read(text, parameters) {
      asked++
      return storage.read(text, parameters)
    },
    write: storage.write.bind(storage),
    writeAll: storage.writeAll.bind(storage),
  }
  return {
    store: new OfflineStore(counting, { isShared }),
    asked: () => asked,
    [Symbol.asyncDispose]: () => storage.close(),
  }
}

test('whoever found nothing does not look again until something is stored', async () => {
  await using scene = await given()
  const { store, asked } = scene
  assert.deepEqual(await store.page(JULIET.full, START, 10), [])
  assert.deepEqual(store.page(JULIET.full, START, 10), [])
  assert.equal(asked(), 1)

  await store.add(JULIET, MESSAGE, 0, 1)
  const [kept] = await store.page(JULIET.full, START, 10)
  assert.ok(kept)
  assert.equal((await store.page(JULIET.full, START, 10)).length, 1)

  await store.remove(kept.seq)
  assert.deepEqual(await store.page(JULIET.full, START, 10), [])
  assert.deepEqual(store.page(JULIET.full, START, 10), [])
  assert.equal(await store.adopt(JULIET, [{ envelope: MESSAGE, at: 0 }]), 1)
  assert.equal((await store.page(JULIET.full, START, 10)).length, 1)
})

test('what is stored while somebody looks is found by whoever looks next', async () => {
  await using scene = await given()
  const { store } = scene
  const looked = store.page(JULIET.full, START, 10)
  const added = store.add(JULIET, MESSAGE, 0, 1)
  const next = store.page(JULIET.full, START, 10)
  assert.deepEqual(await looked, [])
  assert.equal((await next).length, 1)
  await added
  assert.equal((await store.page(JULIET.full, START, 10)).length, 1)
})

test('the end of a queue does not mean that nothing is kept', async () => {
  await using scene = await given()
  const { store } = scene
  await store.add(JULIET, MESSAGE, 0, 1)
  const [kept] = await store.page(JULIET.full, START, 10)
  assert.ok(kept)
  assert.deepEqual(await store.page(JULIET.full, kept, 10), [])
  assert.equal((await store.page(JULIET.full, START, 10)).length, 1)
})

test('where others store, too, everybody looks', async () => {
  await using scene = await given({ isShared: true })
  const { store, asked } = scene
  for (let i = 0; i < 3; i++) assert.deepEqual(await store.page(JULIET.full, START, 10), [])
  assert.equal(asked(), 3)
})

test('a look that fails is not remembered', async () => {
  const { store, ...scene } = await given()
  await scene[Symbol.asyncDispose]()
  await assert.rejects(Promise.resolve(store.page(JULIET.full, START, 10)))
  await assert.rejects(Promise.resolve(store.page(JULIET.full, START, 10)))
})

test('of some accounts those are told for which there is something', async () => {
  await using scene = await given({ isShared: true })
  const { store } = scene
  assert.deepEqual(await store.waiting([JULIET.full]), [])
  await store.add(JULIET, MESSAGE, 0, 1)
  await store.add(JULIET, MESSAGE, 0, 2)
  assert.deepEqual(await store.waiting(['romeo@im.example.com', JULIET.full]), [JULIET.full])
  assert.deepEqual(await store.waiting([]), [])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { memoryRosterStore } from '../../src/modules/roster/memory-store.ts'
import { newItem, type RosterItem } from '../../src/modules/roster/roster.ts'
import { migrations, sqlRosterStore } from '../../src/modules/roster/sql-store.ts'
import type { RosterStore } from '../../src/modules/roster/store.ts'
import { parseBare } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { el } from '../../src/xmpp/xml.ts'
import { backends } from '../support/storage-backends.ts'

const romeo = parseBare('romeo@im.example.com')
const mercutio = parseBare('mercutio@im.example.com')
const contact = (number: number) => parseBare(`contact-${number}@elsewhere.example`)

type Opened = AsyncDisposable & { readonly store: RosterStore }

const stores: Record<string, () => Promise<Opened>> = {
  async memory() {
    return { store: memoryRosterStore(), async [Symbol.asyncDispose]() {} }
  },
}
for (const [name, start] of Object.entries(backends)) {
  stores[name] = async () => {
    const backend = await start()
    const storage = await backend.open()
    await storage.migrate(migrations)
    return {
      store: sqlRosterStore(storage),
      async [Symbol.asyncDispose]() {
        await storage.close()
        await backend[Symbol.asyncDispose]()
      },
    }
  }
}

/** All of it as text, so that stanzas compare. */
async function contentOf(store: RosterStore, owner = romeo) {
  const roster = await store.load(owner)
  const items = [...roster.all()].map((item) => ({
    ...item,
    contact: item.contact.full,
    request: item.request?.toOctets(undefined, undefined),
  }))
  return { version: roster.version, removedAt: roster.removedAt, items }
}

for (const [name, open] of Object.entries(stores)) {
  test(`${name}: an account without roster has an empty one`, async () => {
    await using opened = await open()
    assert.deepEqual(await contentOf(opened.store), { version: 0, removedAt: 0, items: [] })
  })

  test(`${name}: what was saved is loaded, edits of a contact over each other`, async () => {
    await using opened = await open()
    const { store } = opened
    const request = Stanza.build(
      'presence',
      { type: 'subscribe', id: 'a"b' },
      el('status', { xmlns: 'jabber:client' }, 'ẘherefore <&>'),
    )
    const full: RosterItem = {
      contact: contact(1),
      name: 'Ìuliet "J" \u{1F339}',
      groups: ['Friends', "a'b", '\\'],
      state: 'to+in',
      isApproved: true,
      isListed: true,
      request,
      version: 1_700_000_000_001,
    }
    await store.save(romeo, {
      version: 1,
      removedAt: 1,
      put: { ...newItem(contact(1)), version: 1 },
    })
    await store.save(romeo, { version: full.version, removedAt: 1, put: full })
    await store.save(mercutio, { version: 7, removedAt: 7, put: newItem(contact(2)) })
    assert.deepEqual(await contentOf(store), {
      version: full.version,
      removedAt: 1,
      items: [
        {
          ...full,
          contact: contact(1).full,
          request: request.toOctets(undefined, undefined),
        },
      ],
    })
  })

  test(`${name}: contacts and whole rosters are removed`, async () => {
    await using opened = await open()
    const { store } = opened
    for (const owner of [romeo, mercutio]) {
      await store.save(owner, { version: 1, removedAt: 0, put: newItem(contact(1)) })
      await store.save(owner, { version: 2, removedAt: 0, put: newItem(contact(2)) })
    }
    await store.save(romeo, { version: 3, removedAt: 3, remove: contact(1) })
    const left = await contentOf(store)
    assert.equal(left.removedAt, 3)
    assert.deepEqual(
      left.items.map((item) => item.contact),
      [contact(2).full],
    )
    await store.removeAll(romeo)
    assert.deepEqual(await contentOf(store), { version: 0, removedAt: 0, items: [] })
    assert.equal((await contentOf(store, mercutio)).items.length, 2)
  })

  test(`${name}: long rosters come whole, in the order of their last changes`, async () => {
    await using opened = await open()
    const { store } = opened
    const count = 2500
    const saved = Array.from({ length: count }, (_, index) => {
      const version = index + 1
      const put = { ...newItem(contact(index)), isListed: true, version }
      return store.save(romeo, { version, removedAt: 0, put })
    })
    await Promise.all(saved)
    const { items } = await contentOf(store)
    assert.equal(items.length, count)
    assert.ok(items.every((item, index) => item.version === index + 1))
  })
}

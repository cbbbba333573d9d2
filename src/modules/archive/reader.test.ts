import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openEmpty } from '../../../test/support/storage-backends.ts'
import type { Envelope } from '../../core/envelope.ts'
import type { Resource } from '../../core/session.ts'
import { type FullJid, jid } from '../../xmpp/jid.ts'
import { ALL_IDS, ArchiveIds } from './ids.ts'
import { indexMigration } from './index-behind.ts'
import type { ArchiveQuery } from './query.ts'
import { ArchiveReader } from './reader.ts'
import { ArchiveStore, archiveMigration, type Selection, type Window } from './store.ts'

const DOMAIN = 'im.example.com'
const ROMEO = jid('romeo', DOMAIN).toBare()
const JULIET = jid('juliet', DOMAIN, 'balcony')

const ALL: ArchiveQuery = {
  ...ALL_IDS,
  within: ALL_IDS,
  queryId: undefined,
  peer: undefined,
  ids: undefined,
  search: undefined,
  withGroupchat: true,
  page: {},
  isFlipped: false,
  named: [],
}

/** Something happens behind the first look into the archive. */
class WatchedStore extends ArchiveStore {
  onLook: (() => Promise<void>) | undefined

  override async window(selection: Selection, window: Window) {
    const found = await super.window(selection, window)
    const happens = this.onLook
    this.onLook = undefined
    await happens?.()
    return found
  }
}

for (const page of [ALL.page, { ...ALL.page, before: '' }]) {
  const end = page.before === undefined ? 'oldest' : 'newest'
  test(`a page from the ${end} has nothing behind which another node may write still`, async () => {
    const storage = await openEmpty()
    await using _ = { [Symbol.asyncDispose]: () => storage.close() }
    await storage.migrate([archiveMigration, indexMigration])
    const store = new WatchedStore(storage, undefined)
    const insert = (xml: string, at: number) => {
      const id = new ArchiveIds(() => at).next()
      const message = { owner: ROMEO.bare, id, peer: JULIET, isGroupchat: false, xml, text: xml }
      return store.insert([message])
    }
    const now = Date.now()
    await insert('<one/>', now - 1)
    store.onLook = async () => {
      await insert('<of-another-node/>', now - 2)
      await insert('<newer/>', Date.now() + 5)
    }
    const settings = { pageSize: 50, maxPageSize: 50, replacesOffline: false, now: Date.now }
    const reader = new ArchiveReader(store, { ...settings, settlesIn: 60 })
    const got: string[] = []
    const deliver = ({ octets }: Envelope) => got.push(octets) > 0
    const resource = { jid: jid('romeo', DOMAIN, 'orchard') as FullJid, deliver }

    const fin = await reader.answer(ROMEO, { ...ALL, page }, resource as unknown as Resource)

    const names = got.map((octets) => /<(one|of-another-node|newer)\/>/.exec(octets)?.[1])
    assert.deepEqual(names, ['of-another-node', 'one'])
    assert.equal(fin.attr('complete'), 'true')
  })
}

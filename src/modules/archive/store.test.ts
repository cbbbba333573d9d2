import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { openEmpty } from '../../../test/support/storage-backends.ts'
import { type Jid, jid } from '../../xmpp/jid.ts'
import { FullText } from './full-text.ts'
import { ALL_IDS, ArchiveIds, boundAt } from './ids.ts'
import { indexMigration } from './index-behind.ts'
import {
  type ArchivedMessage,
  ArchiveStore,
  archiveMigration,
  type Found,
  removeArchivesOf,
  type Window,
} from './store.ts'

const DOMAIN = 'im.example.com'
const ROMEO = jid('romeo', DOMAIN)
const BENVOLIO = jid('benvolio', DOMAIN).full
const juliet = jid('juliet', DOMAIN, 'balcony')
const nurse = jid('nurse', DOMAIN, 'house')
const NOON = Date.UTC(2026, 7, 1, 12)

async function open({ withFullText = false } = {}) {
  const storage = await openEmpty()
  await storage.migrate([archiveMigration, indexMigration])
  const fullText = withFullText ? await FullText.open(storage) : undefined
  const store = new ArchiveStore(storage, fullText)
  const clock = { now: NOON }
  const ids = new ArchiveIds(() => clock.now)
  const message = (peer: Jid, xml: string, owner = ROMEO.bare): ArchivedMessage => ({
    owner,
    id: ids.next(),
    peer,
    isGroupchat: false,
    xml,
    text: xml,
  })
  return { storage, store, clock, message, [Symbol.asyncDispose]: () => storage.close() }
}

const all = { owner: ROMEO.bare, ...ALL_IDS, withGroupchat: false }
const oldest: Window = { from: 'oldest', limit: 1000, maxBytes: 1_000_000 }
const newest: Window = { ...oldest, from: 'newest' }
const texts = (found: readonly Found[]) => found.map(({ xml }) => xml)

test('what is inserted twice is there once, as it was', async () => {
  await using archive = await open()
  const { store, message } = archive
  const messages = Array.from({ length: 75 }, (_, n) => message(juliet, `m${n}`))
  await store.insert(messages)
  await store.insert(messages.map((one) => ({ ...one, xml: 'another' })))
  assert.deepEqual(
    texts(await store.window(all, oldest)),
    messages.map(({ xml }) => xml),
  )
  await store.insert(messages.map((one) => ({ ...one, xml: 'a third' })))
  assert.equal(await store.count(all, 1000), 75)
  // Not even out of sight.
  const rows = await archive.storage.read<{ xml: string }>('select xml from archive', [])
  assert.deepEqual(new Set(rows.map(({ xml }) => xml)), new Set(messages.map(({ xml }) => xml)))
  assert.equal(rows.length, 75)
})

test('a message in the archives of both has the other as contact in each', async () => {
  await using archive = await open()
  const { storage, store, message } = archive
  const romeo = jid('romeo', DOMAIN, 'orchard')
  const both = (xml: string, isGroupchat = false) => {
    const received = { ...message(juliet, xml), isGroupchat }
    return [received, { ...received, owner: juliet.bare, peer: romeo }]
  }
  const inserted = [
    ...Array.from({ length: 23 }, (_, n) => both(`m${n}`, n % 2 === 0)).flat(),
    message(nurse, 'of one'),
    ...both('one and another').map((one, n) => ({ ...one, xml: String(n) })),
    ...both('the last'),
  ]
  await store.insert(inserted)
  await store.insert(inserted)
  const ofRomeo = { ...all, owner: juliet.bare, peer: romeo, withGroupchat: true }
  assert.equal((await store.window(ofRomeo, oldest)).length, 25)
  const rows = await storage.read(
    'select owner, id, peer, resource, is_groupchat, xml from archive order by id, owner desc',
    [],
  )
  assert.deepEqual(
    rows.map((row) => ({ ...row })),
    inserted.map(({ owner, id, peer, isGroupchat, xml }) => ({
      owner,
      id,
      peer: peer.bare,
      resource: peer.resource,
      is_groupchat: isGroupchat ? 1 : 0,
      xml,
    })),
  )
  const [newest] = await storage.read<{ id: string }>(
    'select id from archive order by seq desc limit 1',
    [],
  )
  assert.equal(newest?.id, inserted.at(-1)?.id)
})

test('archives of an earlier release are read, written and removed', async () => {
  for (const isUpgraded of [true, false]) {
    await using storage = await openEmpty()
    await storage.migrate([archiveMigration])
    const ids = new ArchiveIds(() => NOON)
    const early = Array.from({ length: 10_000 }, () => ids.next())
    await Promise.all(
      early.map((id) =>
        storage.write(
          `insert into archive (owner, id, peer, resource, is_groupchat, xml)
            values (?, ?, ?, 'balcony', 0, 'early')`,
          [ROMEO.bare, id, juliet.bare],
        ),
      ),
    )
    if (isUpgraded) {
      await storage.migrate([archiveMigration, indexMigration])
      const store = new ArchiveStore(storage)
      const late = { owner: ROMEO.bare, id: ids.next(), peer: juliet, isGroupchat: false }
      await store.insert([{ ...late, xml: 'late' }])
      assert.equal(await store.count({ ...all, peer: juliet }, 20_000), 10_001)
      assert.deepEqual(texts(await store.window(all, { ...newest, limit: 2 })), ['late', 'early'])
      await store.remove(ROMEO.bare, early[0] ?? '')
    }
    let removed = 0
    for await (const rows of removeArchivesOf(storage, 'other.example.com')) removed += rows
    assert.equal(removed, 0)
    for await (const rows of removeArchivesOf(storage, DOMAIN)) removed += rows
    assert.equal(removed, 10_000)
    assert.deepEqual(await storage.read('select seq from archive', []), [])
  }
})

test('what one store has written, another on the same database finds', async () => {
  await using archive = await open()
  const { storage, store, message } = archive
  const other = new ArchiveStore(storage)
  assert.equal(await other.ends(ROMEO.bare), undefined)
  const [one, two] = [message(juliet, '1'), message(juliet, '2')]
  await store.insert([one, two])
  await store.replace(one.owner, one.id, 'one')
  assert.deepEqual(texts(await other.window(all, oldest)), ['one', '2'])
  await store.insert([message(juliet, '3')])
  assert.deepEqual(texts(await other.window(all, oldest)), ['one', '2', '3'])
})

test('a page ends with the message that fills it', async () => {
  await using archive = await open()
  const { store, message } = archive
  const long = 'é'.repeat(500)
  await store.insert(['1', '2', '3', '4'].map((n) => message(juliet, n + long)))
  const window = { ...oldest, maxBytes: 1_500 }
  assert.deepEqual(texts(await store.window(all, window)), [`1${long}`, `2${long}`])
  const back = await store.window(all, { ...window, from: 'newest' })
  assert.deepEqual(texts(back), [`4${long}`, `3${long}`])
  // Never nothing, or nobody would come past a long one.
  assert.equal((await store.window(all, { ...window, maxBytes: 1 })).length, 1)
})

test('a contact is found in a large archive, from either end, among messages of others', async () => {
  await using archive = await open()
  const { store, message } = archive
  const rows = Array.from({ length: 45_000 }, (_, n) =>
    message(n % 15_000 === 7 ? nurse : juliet, String(n)),
  )
  await store.insert(rows)
  const ofNurse = { ...all, peer: nurse.toBare() }
  assert.deepEqual(texts(await store.window(ofNurse, oldest)), ['7', '15007', '30007'])
  assert.deepEqual(texts(await store.window(ofNurse, newest)), ['30007', '15007', '7'])
  const two = { ...newest, limit: 2 }
  assert.deepEqual(texts(await store.window(ofNurse, two)), ['30007', '15007'])
  const elsewhere = { ...all, peer: jid('nurse', DOMAIN, 'street') }
  assert.deepEqual(await store.window(elsewhere, oldest), [])
  assert.equal(await store.count(ofNurse, 100), 3)
  assert.equal(await store.count(all, 100_000), 45_000)
  assert.equal(await store.count(all, 21_000), 21_000)
  const inner = { ...all, after: rows[19_999]?.id ?? '', before: rows[40_000]?.id ?? '' }
  assert.equal(await store.count(inner, 100_000), 20_000)
})

test('a message is found by a text in it behind any number of others that have it, too', async () => {
  await using archive = await open()
  const { store, message } = archive
  const rows = ['said', ...Array.from({ length: 45 }, (_, n) => `about said ${n}`), 'taken back']
  const kept = rows.map((text) => message(juliet, text))
  await store.insert(kept)
  const found: string[] = []
  for await (const { xml } of store.mentions(ROMEO.bare, juliet, kept.at(-1)?.id ?? '', 'said')) {
    found.push(xml)
  }
  assert.deepEqual(found, rows.slice(0, -1).reverse())
})

test('what is old goes, of all or of one, and the rest stays', async () => {
  await using archive = await open()
  const { store, clock, message } = archive
  const hour = 3_600_000
  for (const age of [3, 2, 1]) {
    clock.now = NOON - age * hour
    await store.insert(Array.from({ length: 700 }, () => message(juliet, `r${age}`)))
    await store.insert([message(nurse, `p${age}`, `paris@${DOMAIN}`)])
  }
  const paris = { ...all, owner: `paris@${DOMAIN}` }
  assert.equal(await store.removeOlder(boundAt(NOON - 2.5 * hour)), 701)
  assert.equal(await store.removeOf(ROMEO.toBare(), boundAt(NOON - 1.5 * hour)), 700)
  assert.equal(await store.count(all, 10_000), 700)
  assert.deepEqual(texts(await store.window(paris, oldest)), ['p2', 'p1'])
  assert.equal(await store.removeOf(ROMEO.toBare()), 700)
  assert.equal(await store.ends(ROMEO.bare), undefined)
})

test('what a clock in advance has dated keeps nothing older from being removed', async () => {
  await using archive = await open()
  const { store, message } = archive
  const early = new ArchiveIds(() => NOON + 3_600_000)
  await store.insert([{ ...message(juliet, 'of tomorrow'), id: early.next() }])
  await store.insert(Array.from({ length: 1200 }, (_, n) => message(juliet, `m${n}`)))
  assert.equal(await store.removeOlder(boundAt(NOON + 1)), 1200)
  assert.deepEqual(texts(await store.window(all, oldest)), ['of tomorrow'])
})

test('what came from elsewhere behind newer messages goes in its time, too', async () => {
  await using archive = await open()
  const { store, clock, message } = archive
  const hour = 3_600_000
  await store.insert(Array.from({ length: 1200 }, (_, n) => message(nurse, `m${n}`, BENVOLIO)))
  const earlier = new ArchiveIds(() => NOON - 2 * hour)
  const old = Array.from({ length: 700 }, (_, n) => ({
    ...message(juliet, `old${n}`),
    id: earlier.next(),
  }))
  await store.insert(old)
  clock.now += hour
  await store.insert([message(juliet, 'new')])
  const removed: number[] = []
  const count = await store.removeOlder(boundAt(NOON - hour), (done) => void removed.push(done))
  assert.equal(count, 700)
  assert.equal(removed.at(-1), 700)
  assert.deepEqual(texts(await store.window(all, oldest)), ['new'])
  assert.equal(await store.count({ ...all, owner: BENVOLIO }, 10_000), 1200)
})

test('words are found in the order of the archive, whatever came from elsewhere when', async () => {
  await using archive = await open({ withFullText: true })
  const { store, message } = archive
  await store.insert(['3 rose', '4 rose'].map((text) => message(juliet, text)))
  const earlier = new ArchiveIds(() => NOON - 3_600_000)
  const old = (text: string) => ({ ...message(juliet, text), id: earlier.next() })
  await store.insert(['1 rose', '2 rose'].map(old))
  await store.insert([message(juliet, '5 rose')])
  for (const from of ['oldest', 'newest'] as const) {
    const found: string[] = []
    let bounds = {}
    for (;;) {
      const page = await store.window(
        { ...all, ...bounds, search: 'rose' },
        { ...oldest, from, limit: 1 },
      )
      const last = page.at(-1)
      if (last === undefined) break
      found.push(...texts(page))
      bounds = from === 'oldest' ? { after: last.id } : { before: last.id }
    }
    if (from === 'newest') found.reverse()
    assert.deepEqual(found, ['1 rose', '2 rose', '3 rose', '4 rose', '5 rose'], from)
  }
})

test('words are found until their message goes or is replaced', async () => {
  await using archive = await open({ withFullText: true })
  const { store, clock, message } = archive
  const found = async (search: string) => texts(await store.window({ ...all, search }, newest))
  const first = message(juliet, 'a rose by any other name')
  await store.insert([first])
  clock.now += 1000
  const bound = boundAt(clock.now)
  const second = message(nurse, 'a rose is a rose')
  await store.insert([second, message(nurse, 'a rose', `paris@${DOMAIN}`)])
  // Tried again after a failure.
  await store.insert([second])
  assert.deepEqual(await found('rose'), ['a rose is a rose', 'a rose by any other name'])
  assert.deepEqual(await found('name rose'), ['a rose by any other name'])
  const page = { ...all, search: 'rose', after: first.id }
  assert.deepEqual(texts(await store.window(page, oldest)), ['a rose is a rose'])

  await store.replace(second.owner, second.id, 'nothing')
  assert.deepEqual(await found('rose'), ['a rose by any other name'])
  await store.removeOlder(bound)
  assert.deepEqual(await found('rose'), [])
})

test('a message of more words than an index takes is kept, and found by the first of them', async () => {
  await using archive = await open({ withFullText: true })
  const { store, message } = archive
  const word = (n: number) => `${'愛'.repeat(95)}${n}`
  const text = Array.from({ length: 20_000 }, (_, n) => word(n)).join(' ')
  await store.insert([{ ...message(juliet, 'long'), text }])
  assert.deepEqual(texts(await store.window({ ...all, search: word(7) }, oldest)), ['long'])
})

test('an index that comes later has what was there, one that went has nothing', async () => {
  await using archive = await open()
  const { storage, store, message } = archive
  const xml = (n: number) => `<message xmlns='jabber:client'><body>sonnet ${n}</body></message>`
  await store.insert(Array.from({ length: 450 }, (_, n) => message(juliet, xml(n))))

  const index = await FullText.open(storage)
  const indexed = new ArchiveStore(storage, index)
  await indexed.insert([{ ...message(juliet, 'new'), text: 'a new sonnet' }])
  let looks = 0
  await index.catchUp(() => ++looks > 1)
  const count = (search: string) => indexed.count({ ...all, search }, 1000)
  assert.equal(await count('sonnet'), 201)
  // Goes on where it was.
  await (await FullText.open(storage)).catchUp(() => false)
  assert.equal(await count('sonnet'), 451)
  assert.equal(await count('sonnet 449'), 1)

  await FullText.remove(storage)
  await FullText.remove(storage)
  await store.removeOf(ROMEO.toBare())
  assert.equal(await store.count(all, 1000), 0)
})

test('pages neither skip nor repeat while new messages arrive, whichever way one goes', async () => {
  await using archive = await open()
  const { store, message } = archive
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        before: fc.integer({ min: 0, max: 40 }),
        /** How many come after each page. */
        arrivals: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 20 }),
        limit: fc.integer({ min: 1, max: 7 }),
        from: fc.constantFrom('oldest' as const, 'newest' as const),
        ofPeer: fc.boolean(),
      }),
      async ({ before, arrivals, limit, from, ofPeer }) => {
        await store.removeOf(ROMEO.toBare())
        const kept: ArchivedMessage[] = []
        const arrive = async (count: number) => {
          for (let n = 0; n < count; n++) {
            const one = message(kept.length % 3 === 0 ? nurse : juliet, `${kept.length}`)
            kept.push(one)
            await store.insert([one])
          }
        }
        await arrive(before)
        const wanted = () => kept.filter(({ peer }) => !ofPeer || peer === nurse)
        const atStart = wanted().map(({ id }) => id)
        const selection = { ...all, ...(ofPeer && { peer: nurse.toBare() }) }
        const seen: string[] = []
        let bounds = {}
        const queue = [...arrivals]
        for (;;) {
          const page = await store.window({ ...selection, ...bounds }, { ...oldest, from, limit })
          const last = page.at(-1)
          if (last === undefined) break
          seen.push(...page.map(({ id }) => id))
          bounds = from === 'oldest' ? { after: last.id } : { before: last.id }
          await arrive(queue.shift() ?? 0)
        }
        const expected = from === 'oldest' ? wanted().map(({ id }) => id) : atStart.reverse()
        assert.deepEqual(seen, expected)
      },
    ),
    { numRuns: 60 },
  )
})

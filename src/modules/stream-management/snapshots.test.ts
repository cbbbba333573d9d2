import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openEmpty } from '../../../test/support/storage-backends.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { silentLogger } from '../../core/log.ts'
import { Places } from '../../core/places.ts'
import { openSqlite } from '../../storage/sqlite.ts'
import { jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { Eventually } from './eventually.ts'
import { KeptMessages } from './kept-messages.ts'
import { migrations, type Queued, Snapshots } from './snapshots.ts'

const ROMEO = jid('romeo', 'im.example.com', 'orchard')
const JULIET = jid('juliet', 'im.example.com', 'balcony')

const STATE = {
  jid: ROMEO.full,
  sessionId: 'session',
  info: { connection: 'tls', address: '', mechanism: '', isAnonymous: false, openedAt: 0 },
  lang: undefined,
  shared: {},
  priority: 0,
  presence: undefined,
  handled: 0,
  acknowledged: 0,
  patience: 1_000,
} as const

const queued = (id: string): Queued => [
  new Envelope(JULIET, ROMEO, Stanza.build('message', { id }), SERVER),
  1,
]

for (const { name, seqs, ids, isWhole } of [
  { name: 'a queue comes back as it was', seqs: [2, 3], ids: ['0', '1', '2', '3'], isWhole: true },
  { name: 'nothing comes before what the disk lacks', seqs: [3], ids: ['0', '1'], isWhole: false },
]) {
  test(name, async (context) => {
    const storage = await openSqlite(':memory:')
    context.after(() => storage.close())
    await storage.migrate(migrations)
    const snapshots = new Snapshots(storage, () => ({ node: 'one', epoch: 1 }))
    const queue = [queued('0'), queued('1')]
    await snapshots.save({ id: 'a', expiresAt: 5, state: STATE, queue })
    for (const seq of seqs) await snapshots.append('a', seq, queued(`${seq}`))
    const next = new Snapshots(storage, () => ({ node: 'one', epoch: 2 }))
    const damaged = () => assert.fail('it is damaged')
    let count = 0
    for await (const snapshot of next.takeAll({ node: 'one', epoch: 1 }, damaged)) {
      const found = snapshot.queue.map(([{ stanza }]) => stanza.id)
      assert.deepEqual([snapshot.isWhole, found], [isWhole, ids])
      count++
    }
    assert.equal(count, 1)
  })
}

test('what is kept of a queue comes along with its session, or both stay', async (context) => {
  const storage = await openEmpty()
  context.after(() => storage.close())
  await storage.migrate(migrations)
  const run = (node: string) => {
    const self = () => ({ node, epoch: 1 })
    const clock = { now: () => 1 }
    const eventually = new Eventually(silentLogger)
    const places = new Places(clock.now)
    const parts = { storage, self, eventually, places, clock, log: silentLogger }
    return { from: self(), snapshots: new Snapshots(storage, self), kept: new KeptMessages(parts) }
  }
  const [one, two, three] = [run('one'), run('two'), run('three')]
  const owners = async () => {
    const read = (table: string) =>
      storage.read<{ node: string }>(`select node from ${table} order by node`, [])
    const all = [...(await read('sm_session')), ...(await read('sm_kept'))]
    return all.map(({ node }) => node)
  }
  const [message, at] = queued('kept')
  const mine = one.kept.keep(message)
  const number = mine.notes.kept as number
  await one.kept.secure([number])
  await one.snapshots.save({ id: 'a', expiresAt: 5, state: STATE, queue: [[mine, at]] })

  const moves = two.kept.movesWith('a', one.from, await two.snapshots.keptOf('a'))
  const along = moves.map(({ statement }) => statement)
  const broken = { sql: 'update nothing set a = 1', parameters: [] }
  await assert.rejects(two.snapshots.takeWith('a', one.from, [...along, broken]))
  assert.deepEqual(await owners(), ['one', 'one'])

  const taken = await two.snapshots.takeWith('a', one.from, along)
  assert.deepEqual(taken?.changes, [1])
  assert.deepEqual(await owners(), ['two', 'two'])

  // Whoever comes too late gets neither.
  const late = three.kept.movesWith('a', two.from, [moves[0]?.own ?? -1])
  const none = await three.snapshots.takeWith(
    'a',
    one.from,
    late.map(({ statement }) => statement),
  )
  assert.equal(none, undefined)
  assert.deepEqual(await owners(), ['two', 'two'])
  for (const { kept } of [one, two, three]) await kept.stop()
})

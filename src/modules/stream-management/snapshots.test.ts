import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { openSqlite } from '../../storage/sqlite.ts'
import { jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
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

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { startCore } from '../../../test/support/core.ts'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { silentLogger } from '../../core/log.ts'
import { Settlement } from '../../core/settlement.ts'
import { jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { Eventually } from './eventually.ts'
import { KeptMessages } from './kept-messages.ts'
import { Restoration } from './restoration.ts'
import { migrations, Snapshots } from './snapshots.ts'
import { Streams } from './streams.ts'

const JULIET = jid('juliet', 'im.example.com', 'balcony')
const ROMEO = jid('romeo', 'elsewhere.example')

test('who waits for a node to take over what was lost does not keep it from that', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] })
  await using core = await startCore()
  const { storage, places, hooks, router, routes } = core
  await storage.migrate(migrations)
  const keptBy = (node: string) => {
    const self = () => ({ node, epoch: 1 })
    const clock = { now: () => core.now }
    const eventually = new Eventually(silentLogger)
    return new KeptMessages({ storage, self, eventually, places, clock, log: silentLogger })
  }
  const lost = keptBy('lost')
  const numbers = ['one', 'two', 'three'].map((id) => {
    const stanza = Stanza.build('message', { type: 'chat', id })
    const notes = id === 'three' ? {} : { handed: id }
    const envelope = new Envelope(JULIET, ROMEO, stanza, SERVER, notes, new Settlement())
    return lost.keep(envelope).notes.kept as number
  })
  assert.equal(await lost.secure(numbers), true)
  await lost.stop()

  const kept = keptBy('own')
  const restoration = new Restoration({
    context: {
      hooks,
      router,
      routes,
      sessions: core.sessionManager,
      restoreSession: () => assert.fail('there are no sessions'),
      clock: { now: () => core.now },
      log: silentLogger,
    },
    streams: new Streams(),
    snapshots: new Snapshots(storage, () => ({ node: 'own', epoch: 1 })),
    kept,
    partsOf: () => assert.fail('there are no sessions'),
    forget: () => {},
  })
  const answers = new Map([
    ['one', Promise.withResolvers<boolean>()],
    ['two', Promise.withResolvers<boolean>()],
  ])
  let isOver = false
  const over = restoration
    .takeOver({
      node: 'lost',
      epoch: 1,
      unregister: async () => {},
      found: () => false,
      giveBack: (handed) => answers.get(handed)?.promise ?? Promise.resolve(false),
    })
    .finally(() => {
      isOver = true
    })
  while (!isOver) {
    await setImmediate()
    context.mock.timers.tick(100)
  }
  await over
  const sent = () => core.sentAway.map(({ stanza }) => stanza.id)
  const left = async () => (await storage.read('select id from sm_kept', [])).length
  assert.deepEqual(sent(), ['three'])
  // What nobody answers for yet stays; it goes to whoever is to have it once that is known.
  assert.equal(await left(), 3)
  answers.get('one')?.resolve(true)
  answers.get('two')?.resolve(false)
  while ((await left()) > 2) await setImmediate()
  assert.deepEqual(sent(), ['three', 'two'])
  await kept.stop()
})

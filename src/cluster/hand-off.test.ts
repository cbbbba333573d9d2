import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Process, Scheduler } from '../../test/simulation/scheduler.ts'
import { Envelope, SERVER } from '../core/envelope.ts'
import { silentLogger } from '../core/log.ts'
import { Settlement } from '../core/settlement.ts'
import { SharedDelivery } from '../core/shared-delivery.ts'
import { parseJid } from '../xmpp/jid.ts'
import { Stanza } from '../xmpp/stanza.ts'
import { HandOff } from './hand-off.ts'
import type { Taker } from './intake.ts'
import { Link } from './link.ts'
import { readMessage } from './message.ts'
import { RemoteResource } from './remote-resource.ts'

const RUNS = [
  { node: 'one', epoch: 1 },
  { node: 'two', epoch: 2 },
] as const
const JULIET = parseJid('juliet@im.example.com')

/** Two nodes with a line that loses nothing. What their sessions get is never settled there. */
class Pair {
  readonly scheduler = new Scheduler()
  readonly handOffs: readonly [HandOff, HandOff]
  /** What each was given for its sessions, and to decide about anew. */
  readonly given: readonly [Envelope[], Envelope[]] = [[], []]
  readonly again: readonly [Envelope[], Envelope[]] = [[], []]
  /** Of what others answer for the copies that each had. */
  readonly keptElsewhere: readonly [Envelope[], Envelope[]] = [[], []]
  /** And what had to go elsewhere. */
  readonly unreachable: readonly [Envelope[], Envelope[]] = [[], []]
  isConnected = true
  decide: (envelope: Envelope) => void = () => {}
  decideOn: (envelope: Envelope) => boolean | Promise<boolean> = () => false
  /** Which of them take nothing more. */
  readonly closing: [boolean, boolean] = [false, false]

  constructor() {
    const { clock } = new Process(this.scheduler)
    const links: Link[] = []
    const end = (self: 0 | 1): HandOff => {
      const other = self === 0 ? 1 : 0
      const link = new Link({
        self: RUNS[self],
        peer: RUNS[other],
        clock,
        log: silentLogger,
        isConnected: () => this.isConnected,
        send: (message) => {
          const read = readMessage(message)
          assert.ok(read !== undefined)
          this.scheduler.in(1, () => links[other]?.receive(read.header, read.entries))
        },
        take: (entry, number) => handOff.take(entry, number),
        onAcknowledged: (upTo) => handOff.onAcknowledged(upTo),
        written: () => 0,
        seen: () => undefined,
      })
      links[self] = link
      const taker: Taker = {
        toSession: (_, envelope) => {
          envelope.settlement?.begin()
          this.given[self].push(envelope)
          return this.decideOn(envelope)
        },
        passedOn: () => undefined,
        toComponent: () => undefined,
        toNode: () => {},
        again: (envelope) => {
          this.again[self].push(envelope)
          this.decide(envelope)
        },
        keptElsewhere: (envelope) => void this.keptElsewhere[self].push(envelope),
        unreachable: (envelope) => void this.unreachable[self].push(envelope),
      }
      const handOff: HandOff = new HandOff({
        link,
        clock,
        taker,
        patience: 5_000,
        isClosing: () => this.closing[self],
      })
      return handOff
    }
    this.handOffs = [end(0), end(1)]
  }

  /** A session of node two, as node one sees it; or the other way round. */
  session(resource: string, of: 0 | 1 = 1): RemoteResource {
    const full = JULIET.toBare().withResource(resource)
    const info = {
      connection: 'tls',
      address: '',
      mechanism: '',
      isAnonymous: false,
      openedAt: 0,
    } as const
    const row = { jid: full.full, id: resource, ...RUNS[of], priority: 0, info }
    return new RemoteResource(full, row, this.handOffs[of === 0 ? 1 : 0], async () => {})
  }

  async run(): Promise<void> {
    await this.scheduler.run(this.scheduler.now + 1_000)
  }
}

/** A message that is given to several resources, with what its sender waits for. */
function message(holders: number, to = JULIET) {
  const settlement = new Settlement()
  const delivery = new SharedDelivery(holders)
  const stanza = Stanza.build('message', { type: 'chat' })
  const from = parseJid('romeo@im.example.com/orchard')
  const envelope = new Envelope(from, to, stanza, SERVER, {}, settlement, delivery)
  return { envelope, settlement, delivery }
}

/** Two resources of the other node have it, which is lost before it is settled there. */
async function lostWith(
  pair: Pair,
  envelope: Envelope,
  meanwhile: (a: Envelope, b: Envelope) => void,
  before = () => {},
) {
  for (const resource of ['a', 'b']) pair.session(resource).deliver(envelope)
  await pair.run()
  const [a, b] = pair.given[1] as [Envelope, Envelope]
  meanwhile(a, b)
  await pair.run()
  before()
  pair.handOffs[0].lose()
  pair.handOffs[0].settleRemains(new Set())
  return pair.again[0].length
}

test('what no client has acknowledged is decided about again when its node is lost, once', async () => {
  const { envelope, settlement } = message(2)
  assert.equal(await lostWith(new Pair(), envelope, () => {}), 1)
  assert.ok(settlement.isSettled)
})

test('what a client has acknowledged is not', async () => {
  const { envelope, settlement } = message(2)
  const times = await lostWith(new Pair(), envelope, (a) => a.delivery?.acknowledge())
  assert.equal(times, 0)
  assert.ok(settlement.isSettled)
})

test('nor is what one of them gave back before another acknowledged it', async () => {
  const { envelope, settlement } = message(2)
  const times = await lostWith(new Pair(), envelope, (a, b) => {
    a.delivery?.giveBack(a)
    b.delivery?.acknowledge()
  })
  assert.equal(times, 0)
  assert.ok(settlement.isSettled)
})

test('whoever waits until all is safe need not wait for what came back or has arrived', async () => {
  const pair = new Pair()
  const { envelope } = message(2)
  let isSafe = false
  await lostWith(
    pair,
    envelope,
    (a, b) => {
      void pair.handOffs[0].safe?.then(() => {
        isSafe = true
        assert.equal(pair.again[0].length, 0)
      })
      a.delivery?.giveBack(a)
      b.delivery?.acknowledge()
    },
    () => assert.ok(isSafe),
  )
})

test('what all of them gave back is decided about then, and not once more', async () => {
  const { envelope, settlement } = message(2)
  const pair = new Pair()
  const times = await lostWith(pair, envelope, (a, b) => {
    a.delivery?.giveBack(a)
    b.delivery?.giveBack(b)
    assert.equal(pair.again[0].length, 0)
  })
  assert.equal(times, 1)
  assert.ok(settlement.isSettled)
})

test('whoever gives something back for a lost node waits until that is safe', async () => {
  const { envelope, settlement } = message(1)
  const pair = new Pair()
  const written = Promise.withResolvers<void>()
  pair.session('a').deliver(envelope)
  await pair.run()
  // Deciding about it begins a write.
  pair.decide = (again) => again.settlement?.waitFor(written.promise)
  const done: string[] = []
  const number = 1
  const twice = [1, 2].map(async (time) => {
    await pair.handOffs[0].returned(number)
    done.push(`returned ${time}`)
  })
  await pair.run()
  assert.deepEqual(done, [])
  assert.equal(pair.again[0].length, 1)
  written.resolve()
  await Promise.all(twice)
  assert.deepEqual(done, ['returned 1', 'returned 2'])
  // Its node has not said that it is done with it, nor needs to.
  assert.ok(settlement.isSettled)
})

/** Node two has it, with a copy of its own, and gives it back; what node one does with it has not been `written` yet. */
async function giveBack(pair: Pair) {
  const written = Promise.withResolvers<void>()
  pair.decide = (again) => again.settlement?.waitFor(written.promise)
  pair.session('a').deliver(message(1).envelope)
  await pair.run()
  const [taken] = pair.given[1] as [Envelope]
  taken.settlement?.finish()
  const held = taken.noted({ kept: 1 })
  assert.equal(held.delivery?.giveBack(held), false)
  return { held: held.shared(undefined), written }
}

test('what comes behind something that is given back does not wait until that is safe', async () => {
  const pair = new Pair()
  const { held, written } = await giveBack(pair)
  // Its fate may be settled here alone, where that is waited for.
  const behind = pair.session('b', 0)
  behind.deliver(plain('behind'))
  await pair.run()
  assert.equal(pair.again[0].length, 1)
  assert.deepEqual(idsOf(pair.given[0]), ['behind'])
  assert.equal(behind.undecided, undefined)
  assert.deepEqual(pair.keptElsewhere[1], [])
  assert.notEqual(pair.handOffs[1].safe, undefined)
  written.resolve()
  await pair.run()
  assert.deepEqual(pair.keptElsewhere[1], [held])
  assert.equal(pair.handOffs[1].safe, undefined)
  assert.equal(pair.again[1].length, 0)
})

test('what was given back and cannot be made safe is decided about where there is a copy', async () => {
  const pair = new Pair()
  const { held, written } = await giveBack(pair)
  await pair.run()
  written.reject(new Error('disk full'))
  await pair.run()
  assert.deepEqual(pair.again[1], [held])
  assert.deepEqual(pair.keptElsewhere[1], [])
  assert.equal(pair.handOffs[1].safe, undefined)
})

test('so is what was given back to a node that is lost before it is safe, but not if that is away', async () => {
  const pair = new Pair()
  const { held } = await giveBack(pair)
  pair.isConnected = false
  await pair.scheduler.run(pair.scheduler.now + 10_000)
  pair.handOffs[1].expire()
  assert.deepEqual(pair.unreachable[1], [])
  pair.isConnected = true
  pair.session('b', 0).deliver(plain('behind'))
  await pair.run()
  assert.equal(pair.again[0].length, 1)
  pair.handOffs[1].lose()
  await pair.handOffs[1].settleRemains(new Set())
  assert.deepEqual(pair.again[1], [held])
})

test('what is handed over for one account is decided about in order, whatever that waits for', async () => {
  const pair = new Pair()
  const decisions = [Promise.withResolvers<boolean>(), Promise.withResolvers<boolean>()]
  pair.decideOn = () => decisions[pair.given[1].length - 1]?.promise ?? false
  for (let i = 0; i < 3; i++) pair.session('a').deliver(message(1).envelope)
  await pair.run()
  assert.equal(pair.given[1].length, 1)
  decisions[0]?.resolve(false)
  await pair.run()
  assert.equal(pair.given[1].length, 2)
  assert.notEqual(pair.handOffs[1].decidedAll, undefined)
  decisions[1]?.resolve(false)
  await pair.run()
  assert.equal(pair.given[1].length, 3)
  assert.equal(pair.handOffs[1].decidedAll, undefined)
})

test('a node that takes nothing more leaves what comes to whoever has it', async () => {
  const pair = new Pair()
  const [before, after] = [message(1), message(1)]
  pair.session('a').deliver(before.envelope)
  await pair.run()
  const [taken] = pair.given[1] as [Envelope]
  pair.closing[1] = true
  pair.session('a').deliver(after.envelope)
  taken.settlement?.finish()
  taken.delivery?.acknowledge()
  await pair.run()
  assert.equal(pair.given[1].length, 1)
  assert.equal(before.settlement.isSettled, true)
  assert.equal(after.settlement.isSettled, false)
  const { safe } = pair.handOffs[0]
  assert.notEqual(safe, undefined)
  pair.handOffs[0].lose()
  pair.handOffs[0].settleRemains(new Set())
  await safe
  assert.deepEqual(
    pair.again[0].map(({ settlement }) => settlement),
    [after.settlement],
  )
})

test('what was settled is not decided about again, though what came before it was not', async () => {
  const pair = new Pair()
  const alone = (to = JULIET) => {
    const { envelope, settlement } = message(1, to)
    return { envelope: envelope.shared(undefined), settlement }
  }
  const [stuck, settled] = [alone(), alone(parseJid('nurse@im.example.com'))]
  pair.decideOn = ({ to }) => (to.bare === JULIET.bare ? new Promise(() => {}) : false)
  pair.session('a').deliver(stuck.envelope)
  pair.session('a').deliver(settled.envelope)
  await pair.run()
  pair.given[1][1]?.settlement?.finish()
  await pair.run()
  assert.equal(settled.settlement.isSettled, true)
  pair.handOffs[0].lose()
  await pair.handOffs[0].settleRemains(new Set())
  assert.deepEqual(
    pair.again[0].map(({ to }) => to.bare),
    [JULIET.bare],
  )
})

/** Nobody waits for its fate, and nobody else has it. */
function plain(id: string): Envelope {
  const stanza = Stanza.build('message', { id })
  return new Envelope(parseJid('romeo@im.example.com/orchard'), JULIET, stanza, SERVER)
}

function idsOf(envelopes: readonly Envelope[]): (string | undefined)[] {
  return envelopes.map(({ stanza }) => stanza.id)
}

test('what nobody waits for comes back as well when its node is lost, in its place', async () => {
  const pair = new Pair()
  pair.session('a').deliver(plain('taken'))
  await pair.run()
  assert.deepEqual(idsOf(pair.given[1]), ['taken'])
  assert.equal(pair.handOffs[0].safe, undefined)
  const waitedFor = message(1).envelope.shared(undefined)
  pair.session('a').deliver(plain('first'))
  pair.session('a').deliver(waitedFor)
  pair.session('a').deliver(plain('third'))
  const { safe } = pair.handOffs[0]
  assert.notEqual(safe, undefined)
  pair.handOffs[0].lose()
  pair.session('a').deliver(plain('afterwards'))
  await pair.handOffs[0].settleRemains(new Set())
  await safe
  assert.deepEqual(idsOf(pair.again[0]), ['first', undefined, 'third', 'afterwards'])
})

test('what nobody waits for goes elsewhere, too, when its node is out of reach for too long', async () => {
  const pair = new Pair()
  pair.session('a').deliver(plain('sent'))
  await pair.run()
  pair.session('a').deliver(plain('before'))
  pair.session('a').deliver(message(1).envelope.shared(undefined))
  pair.isConnected = false
  pair.session('a').deliver(plain('behind'))
  await pair.run()
  pair.handOffs[0].expire()
  assert.deepEqual(pair.unreachable[0], [])
  await pair.scheduler.run(pair.scheduler.now + 4_000)
  pair.handOffs[0].expire()
  pair.handOffs[0].expire()
  assert.deepEqual(idsOf(pair.unreachable[0]), ['before', undefined, 'behind'])
  // Until the node is back, what comes goes elsewhere at once.
  assert.equal(pair.session('a').deliver(plain('late')), false)
  pair.isConnected = true
  pair.session('a').deliver(plain('again'))
  await pair.run()
  assert.deepEqual(idsOf(pair.given[1]), ['sent', 'again'])
  assert.equal(pair.handOffs[0].safe, undefined)
})

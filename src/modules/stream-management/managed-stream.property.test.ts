import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { Hooks } from '../../core/hooks.ts'
import { silentLogger } from '../../core/log.ts'
import { answered } from '../../core/outcome.ts'
import type { SessionInfo, SharedState, StreamSession } from '../../core/session.ts'
import { Settlement } from '../../core/settlement.ts'
import { type FullJid, jid } from '../../xmpp/jid.ts'
import type { Octets } from '../../xmpp/octets.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { WRAP } from '../../xmpp/stream-management.ts'
import { ManagedStream } from './managed-stream.ts'

const ROMEO = jid('romeo', 'im.example.com', 'orchard') as FullJid
const JULIET = jid('juliet', 'im.example.com', 'balcony') as FullJid

const message = (id: number, settlement?: Settlement) => {
  const stanza = Stanza.build('message', { id: `${id}` })
  return new Envelope(JULIET, ROMEO, stanza, SERVER, undefined, settlement)
}

/** The session of a client that is the test. */
class FakeSession implements StreamSession {
  readonly jid = ROMEO
  readonly id = 'session'
  readonly domainType = 'default'
  readonly lang = undefined
  readonly receiving = undefined
  readonly isOpening = false
  readonly info: SessionInfo = {
    connection: 'tcp',
    address: '127.0.0.1',
    mechanism: 'PLAIN',
    isAnonymous: false,
    openedAt: 0,
  }
  readonly lastActivity = 0
  readonly lastAction = 0
  readonly shared: SharedState = {}
  readonly presence = undefined
  readonly priority = undefined
  acknowledges = false
  onSettled: StreamSession['onSettled']
  beforeFlush: StreamSession['beforeFlush']
  isClosed = false
  isConnected = true
  /** On its way to the client, oldest first. */
  wire: Octets[] = []
  holds = 0
  disconnections = 0

  write(octets: Octets) {
    if (this.isConnected && octets !== '') this.wire.push(octets)
  }
  disconnect() {
    this.isConnected = false
    this.disconnections++
    return undefined
  }
  end() {
    this.isClosed = true
    return Promise.resolve()
  }
  hold() {
    this.holds++
    return { through: () => true, release: () => void this.holds-- }
  }
  close = () => this.end()
  suspend = () => this.end()
  waitFor() {}
  acknowledged() {}
  presend() {}
  share() {}
  setPresence() {}
  deliver = () => true
}

/** A connection, and a client on it that counts as XEP-0198 says. */
class History {
  readonly session = new FakeSession()
  readonly stream: ManagedStream
  #nextId = 0
  /** What was delivered, and what the client has got, of which it has acknowledged some. */
  readonly delivered: number[] = []
  readonly got: number[] = []
  #acknowledged = 0
  /** Where the client's count of what it has got began. */
  readonly #start: number
  /** What the client sent, in order, and where its count began. */
  #sent: Settlement[] = []
  readonly #sentStart: number

  constructor(start: number, sentStart: number) {
    this.#start = start
    this.#sentStart = sentStart
    const limits = { maxStanzas: 1_000, maxBytes: 1e6, ackTimeout: 60_000 }
    const nothing = () => Promise.resolve()
    this.stream = new ManagedStream(
      this.session,
      { id: 'sm', patience: 1_000, acknowledged: start, handled: sentStart },
      {
        limits,
        snapshots: { save: nothing, append: nothing, forget: nothing },
        kept: { secure: async () => true, answerAlone: async () => {} },
        unacknowledgedMessage: new Hooks(silentLogger).at('unacknowledged_message'),
        clock: { now: () => 0 },
        log: silentLogger,
      },
    )
  }

  deliver(): void {
    const envelope = message(this.#nextId)
    this.delivered.push(this.#nextId++)
    this.stream.sent(envelope)
    this.session.write(envelope.octets)
  }

  /** The client reads so much of what is on the wire. */
  read(count: number): void {
    for (const octets of this.session.wire.splice(0, count)) {
      const id = /^<message.* id='(\d+)'/.exec(octets)?.[1]
      if (id !== undefined) this.got.push(Number(id))
    }
  }

  get h(): number {
    return (this.#start + this.got.length) % WRAP
  }

  acknowledge(): void {
    if (!this.session.isConnected) return
    this.stream.acknowledge(this.h)
    this.#acknowledged = this.got.length
  }

  /** A lie, which must change nothing. */
  boast(by: number): void {
    if (!this.session.isConnected) return
    const most = this.delivered.length - this.#acknowledged
    const h = (this.#start + this.#acknowledged + most + by) % WRAP
    assert.throws(() => this.stream.acknowledge(h), /acknowledged/)
  }

  cut(): void {
    if (!this.session.isConnected) return
    this.session.isConnected = false
    this.session.wire = []
    assert.equal(this.stream.detach(), true)
  }

  resume(): void {
    this.cut()
    // It is waited until it is certain what is safe.
    for (let i = 0; i < this.#sent.length; i++) this.settle(i, true)
    assert.equal(this.stream.unacknowledged.covers(this.h), true)
    this.session.isConnected = true
    this.stream.resume(this.h)
    this.#acknowledged = this.got.length
    const told = Number(/ h='(\d+)'/.exec(this.session.wire[0] ?? '')?.[1])
    assert.equal(told, this.handled)
    // What was not handled the client will send again.
    this.#sent = this.#sent.slice(0, this.#settledCount)
  }

  send(isPending: boolean): void {
    if (!this.session.isConnected) return
    const settlement = new Settlement()
    if (isPending) settlement.begin()
    this.#sent.push(settlement)
    this.session.onSettled?.(message(0, settlement), answered('test'))
  }

  /** The write of one stanza comes to its end. */
  settle(index: number, isGood: boolean): void {
    const settlement = this.#sent[index]
    if (settlement === undefined || settlement.done === undefined) return
    if (isGood) return settlement.finish()
    const before = this.session.disconnections
    settlement.fail(new Error('the disk is full'))
    this.session.wire = []
    if (this.session.disconnections > before) this.stream.detach()
  }

  get #settledCount(): number {
    const first = this.#sent.findIndex((settlement) => !settlement.isSettled)
    return first < 0 ? this.#sent.length : first
  }

  get handled(): number {
    return (this.#sentStart + this.#settledCount) % WRAP
  }

  check(): void {
    assert.equal(this.stream.handled.h, this.handled)
    assert.equal(this.stream.unacknowledged.size, this.delivered.length - this.#acknowledged)
    assert.deepEqual(this.got, this.delivered.slice(0, this.got.length))
    assert.equal(this.session.isClosed, false)
  }

  /** The session ends: what is given back is what was not acknowledged. */
  end(): void {
    const back = this.stream.giveBack().map(({ stanza }) => Number(stanza.id))
    assert.deepEqual(back, this.delivered.slice(this.#acknowledged))
  }
}

type Step =
  | { readonly kind: 'deliver' | 'acknowledge' | 'cut' | 'resume' | 'flush' | 'ask' }
  | { readonly kind: 'read' | 'boast'; readonly count: number }
  | { readonly kind: 'send'; readonly isPending: boolean }
  | { readonly kind: 'settle'; readonly index: number; readonly isGood: boolean }

function take(history: History, step: Step): void {
  switch (step.kind) {
    case 'read':
      return history.read(step.count)
    case 'boast':
      return history.boast(step.count)
    case 'send':
      return history.send(step.isPending)
    case 'settle':
      return history.settle(step.index, step.isGood)
    case 'flush':
      return history.session.beforeFlush?.()
    case 'ask':
      return history.session.isConnected ? history.stream.answerRequest() : undefined
    default:
      return history[step.kind]()
  }
}

const few = fc.integer({ min: 1, max: 5 })
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ kind: 'deliver' } as const) },
  { weight: 4, arbitrary: few.map((count) => ({ kind: 'read', count }) as const) },
  ...(['acknowledge', 'cut', 'resume', 'flush', 'ask'] as const).map((kind) =>
    fc.constant({ kind }),
  ),
  few.map((count) => ({ kind: 'boast', count }) as const),
  fc.boolean().map((isPending) => ({ kind: 'send', isPending }) as const),
  fc.record({
    kind: fc.constant('settle' as const),
    index: fc.nat(8),
    isGood: fc.boolean(),
  }),
)
/** Also just before the counters wrap. */
const start = fc.oneof(fc.constant(0), fc.integer({ min: WRAP - 6, max: WRAP - 1 }))

test('nothing is lost, doubled or reordered, and the counts are right, whatever happens', () => {
  fc.assert(
    fc.property(start, start, fc.array(steps, { maxLength: 60 }), (sent, received, all) => {
      const history = new History(sent, received)
      for (const step of all) {
        take(history, step)
        history.check()
      }
      history.end()
    }),
    { numRuns: 1_000 },
  )
})

test('after 2^32 - 1 comes 0', () => {
  const history = new History(WRAP - 1, WRAP - 1)
  assert.equal(history.stream.unacknowledged.sent, WRAP - 1)
  history.deliver()
  assert.equal(history.stream.unacknowledged.sent, 0)
  history.read(1)
  history.acknowledge()
  history.send(false)
  assert.equal(history.stream.handled.h, 0)
  history.check()
})

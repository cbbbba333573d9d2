import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { Envelope, SERVER } from '../../core/envelope.ts'
import { Hooks } from '../../core/hooks.ts'
import { silentLogger } from '../../core/log.ts'
import { answered } from '../../core/outcome.ts'
import type { AuthenticatedStream, StreamSession } from '../../core/session.ts'
import { Settlement } from '../../core/settlement.ts'
import { type FullJid, jid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { SM_NS } from '../../xmpp/stream-management.ts'
import { el } from '../../xmpp/xml.ts'
import { ManagedStream } from './managed-stream.ts'
import { resume } from './resumption.ts'
import type { Snapshot } from './snapshots.ts'
import { Streams } from './streams.ts'

const ROMEO = jid('romeo', 'im.example.com', 'orchard') as FullJid
const JULIET = jid('juliet', 'im.example.com', 'balcony') as FullJid
const DISK_AWAY = new Error('the disk is away')
const COMES_BACK = el('resume', { xmlns: SM_NS, previd: 'sm', h: '0' })

const message = (settlement?: Settlement) =>
  new Envelope(JULIET, ROMEO, Stanza.build('message', {}), SERVER, undefined, settlement)

/** What a session looks like on the disk: so much was handled, so much is in its queue. */
type Row = { readonly handled: number; readonly queued: number }

type Work = {
  readonly kind: 'save' | 'append' | 'forget'
  readonly apply: (row: Row | undefined) => Row | undefined
  readonly over: PromiseWithResolvers<void>
}

/** A disk that takes one thing after the other, when the test wants it to. */
class Disk {
  row: Row | undefined
  readonly waiting: Work[] = []

  save = ({ state, queue }: Omit<Snapshot, 'isWhole'>) =>
    this.#ask('save', () => ({ handled: state.handled, queued: queue.length }))
  append = () => this.#ask('append', (row) => row && { ...row, queued: row.queued + 1 })
  forget = () => this.#ask('forget', () => undefined)

  #ask(kind: Work['kind'], apply: Work['apply']): Promise<void> {
    const over = Promise.withResolvers<void>()
    this.waiting.push({ kind, apply, over })
    return over.promise
  }

  /** What has failed may have been done. */
  work(isDone: boolean, isGood: boolean): void {
    const work = this.waiting.shift()
    if (work === undefined) return
    if (isDone) this.row = work.apply(this.row)
    if (isGood) work.over.resolve()
    else work.over.reject(DISK_AWAY)
  }
}

/** A session, its client, and another node that wants to have it. */
class History {
  readonly disk = new Disk()
  readonly #streams = new Streams()
  readonly #session: StreamSession
  readonly #stream: ManagedStream
  #open: Settlement[] = []
  readonly #underWay = new Set<Promise<unknown>>()
  #failure: unknown

  constructor() {
    const session = {
      jid: ROMEO,
      id: 'session',
      info: { isAnonymous: false },
      isConnected: true,
      isClosed: false,
      receiving: undefined,
      onSettled: undefined as StreamSession['onSettled'],
      shared: {},
      write() {},
      waitFor() {},
      acknowledged() {},
      hold: () => ({ release() {} }),
      disconnect: async () => {
        session.isConnected = false
        await setImmediate()
        this.#stream.detach()
      },
      end: () => assert.fail('it ends'),
    }
    this.#session = session as unknown as StreamSession
    this.#stream = new ManagedStream(
      this.#session,
      { id: 'sm', patience: 1_000 },
      {
        limits: { maxStanzas: 1_000, maxBytes: 1e6, ackTimeout: 60_000 },
        snapshots: this.disk,
        kept: { secure: async () => true, answerAlone: async () => {} },
        unacknowledgedMessage: new Hooks(silentLogger).at('unacknowledged_message'),
        clock: { now: () => 0 },
        log: silentLogger,
      },
    )
    this.#streams.add(this.#stream)
  }

  get #expected(): Row {
    const { handled, unacknowledged } = this.#stream
    return { handled: handled.settled, queued: unacknowledged.size }
  }

  #set(isConnected: boolean): void {
    Object.assign(this.#session, { isConnected })
  }

  #begin(work: Promise<unknown>): void {
    this.#underWay.add(work)
    const over = () => this.#underWay.delete(work)
    work.then(over, (error) => {
      this.#failure ??= error
      over()
    })
  }

  /** The client's connection is lost. */
  cut(): void {
    if (!this.#session.isConnected) return
    this.#set(false)
    this.#stream.detach()
  }

  /** The client sends something, which may take a while. */
  send(isOpen: boolean): void {
    if (!this.#session.isConnected) return
    const settlement = new Settlement()
    if (isOpen) {
      settlement.begin()
      this.#open.push(settlement)
    }
    this.#session.onSettled?.(message(settlement), answered('test'))
  }

  settle(): void {
    this.#open.shift()?.finish()
  }

  deliver(): void {
    this.#stream.sent(message())
  }

  /** The client comes back here, on a connection that is there still when its turn comes, or not. */
  comeBack(lasts: boolean): void {
    const stream = {
      account: ROMEO.toBare(),
      write() {},
      fail: () => assert.fail('what the client has got is not more than it was sent'),
      giveTo: () => {
        if (!lasts || this.#session.isConnected || this.#session.isClosed) return false
        this.#set(true)
        this.check()
        return true
      },
    }
    const work = resume(this.#streams, stream as unknown as AuthenticatedStream, COMES_BACK)
    this.#begin(
      work.catch((error) => {
        // Its stream ends in an error.
        if (error !== DISK_AWAY) throw error
      }),
    )
  }

  /** The client has come back elsewhere. */
  handOver(): void {
    if (this.#session.isClosed) return
    const letGo = () => {
      assert.deepEqual(this.disk.row, this.#expected)
      assert.equal(this.disk.waiting.length, 0)
      Object.assign(this.#session, { isClosed: true })
      this.#streams.letGo(this.#stream)
    }
    const drop = this.#session.isConnected ? this.#session.disconnect() : undefined
    this.#begin(Promise.resolve(drop).then(() => this.#stream.handOver(letGo)))
  }

  look(): void {
    if (!this.#session.isClosed) this.#stream.look(0)
  }

  /** While it has a connection, the disk has nothing that would be out of date, and gets nothing. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure
    const { isConnected, isClosed } = this.#session
    const kinds = this.disk.waiting.map(({ kind }) => kind)
    if (isConnected) {
      assert.equal(this.disk.row, undefined)
      assert.equal(kinds.includes('save'), false)
    }
    // It is another node's.
    if (isClosed) assert.deepEqual(kinds, [])
  }

  /** In the end everything is settled, and the disk works. */
  async end(): Promise<void> {
    for (let turns = 0; turns < 20 || this.#underWay.size > 0; turns++) {
      assert.ok(turns < 1_000, 'something never ends')
      this.settle()
      this.disk.work(true, true)
      await setImmediate()
      this.check()
    }
    this.look()
    await setImmediate()
    while (this.disk.waiting.length > 0) {
      this.disk.work(true, true)
      await setImmediate()
    }
    this.check()
    if (!this.#session.isConnected) assert.deepEqual(this.disk.row, this.#expected)
  }
}

type Step =
  | { readonly kind: 'cut' | 'settle' | 'deliver' | 'handOver' | 'look' | 'turn' }
  | { readonly kind: 'send'; readonly isOpen: boolean }
  | { readonly kind: 'comeBack'; readonly lasts: boolean }
  | { readonly kind: 'work'; readonly isDone: boolean; readonly isGood: boolean }

async function take(history: History, step: Step): Promise<void> {
  switch (step.kind) {
    case 'send':
      return history.send(step.isOpen)
    case 'comeBack':
      return history.comeBack(step.lasts)
    case 'work':
      return history.disk.work(step.isDone || step.isGood, step.isGood)
    case 'turn':
      return await setImmediate()
    default:
      return history[step.kind]()
  }
}

const mostly = (value: boolean) =>
  fc.oneof(
    { weight: 4, arbitrary: fc.constant(value) },
    { weight: 1, arbitrary: fc.constant(!value) },
  )
const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ kind: 'turn' } as const) },
  ...(['cut', 'settle', 'deliver', 'handOver', 'look'] as const).map((kind) =>
    fc.constant({ kind }),
  ),
  fc.boolean().map((isOpen) => ({ kind: 'send', isOpen }) as const),
  { weight: 2, arbitrary: mostly(true).map((lasts) => ({ kind: 'comeBack', lasts }) as const) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('work' as const),
      isDone: fc.boolean(),
      isGood: mostly(true),
    }),
  },
)

test('a session with a connection is on no disk, however many want to have it; without one it is, as it is', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { maxLength: 80, size: 'max' }), async (all) => {
      const history = new History()
      for (const step of all) {
        await take(history, step)
        history.check()
      }
      await history.end()
    }),
    { numRuns: 1_000 },
  )
})

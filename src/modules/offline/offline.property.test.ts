import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DOMAIN, startCore } from '../../../test/support/core.ts'
import type { RecordingSession } from '../../../test/support/recording-session.ts'
import type { Envelope } from '../../core/envelope.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { el } from '../../xmpp/xml.ts'
import { offline } from './index.ts'

/**
 * Histories of one account: messages come, resources connect, go away and come back, acknowledge,
 * and die. The model is what was sent: whatever happens, it arrives.
 */
type Step =
  | { readonly kind: 'send'; readonly sender: number }
  | { readonly kind: 'connect'; readonly resource: number; readonly acknowledges: boolean }
  | { readonly kind: 'acknowledge'; readonly resource: number; readonly count: number }
  | { readonly kind: 'crash' | 'away' | 'back'; readonly resource: number }
  | { readonly kind: 'pause'; readonly rounds: number }

const JULIET = `juliet@${DOMAIN}`
const available = Stanza.build('presence')

class History implements AsyncDisposable {
  readonly core: Awaited<ReturnType<typeof startCore>>
  readonly sessions = new Map<number, RecordingSession>()
  /** All there ever were. */
  readonly all: RecordingSession[] = []
  readonly #sent = new Map<number, number>()

  constructor(core: Awaited<ReturnType<typeof startCore>>) {
    this.core = core
  }

  static async start(): Promise<History> {
    const modules = [[offline, { batch: 2 }]] as const
    return new History(await startCore({ accounts: ['juliet'], modules }))
  }

  get sent(): string[] {
    return [...this.#sent].flatMap(([sender, count]) =>
      Array.from({ length: count }, (_, index) => `${sender}:${index + 1}`),
    )
  }

  async run(steps: readonly Step[]): Promise<void> {
    for (const step of steps) await this.#take(step)
  }

  async #take(step: Step): Promise<void> {
    if (step.kind === 'pause') return this.pause(step.rounds)
    if (step.kind === 'send') return this.#send(step.sender)
    const session = this.sessions.get(step.resource)
    if (step.kind === 'connect') {
      if (session === undefined) await this.connect(step.resource, step.acknowledges)
    } else if (session === undefined) return
    else if (step.kind === 'acknowledge') session.acknowledge(step.count)
    else if (step.kind === 'away') session.setPresence(undefined, undefined)
    else if (step.kind === 'back') await this.#comeOnline(session)
    else {
      this.sessions.delete(step.resource)
      await session.end('lost')
    }
  }

  async #send(sender: number): Promise<void> {
    const number = (this.#sent.get(sender) ?? 0) + 1
    this.#sent.set(sender, number)
    const stanza = Stanza.build('message', { type: 'chat', id: `${sender}:${number}` }, el('body'))
    await this.core.send(`sender${sender}@elsewhere.example`, JULIET, stanza)
  }

  async connect(resource: number, acknowledges: boolean): Promise<RecordingSession> {
    const options = { priority: undefined, acknowledges }
    const session = await this.core.connect('juliet', `r${resource}`, options)
    this.sessions.set(resource, session)
    this.all.push(session)
    await this.#comeOnline(session)
    return session
  }

  async #comeOnline(session: RecordingSession): Promise<void> {
    if (session.priority !== undefined) return
    session.setPresence(0, available)
    const point = this.core.hooks.at('resend_offline_messages', session.domainType)
    await point.run(session.jid, { session })
  }

  async pause(rounds: number): Promise<void> {
    for (let round = 0; round < rounds; round++) {
      await this.core.storage.read('select 1 as one', [])
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Every resource dies; then one comes that takes what is left. */
  async end(): Promise<void> {
    for (const session of this.sessions.values()) await session.end('lost')
    this.sessions.clear()
    await this.connect(99, false)
    await this.pause(30 + this.sent.length)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.core[Symbol.asyncDispose]()
  }
}

const idOf = ({ stanza }: Envelope) => stanza.id as string

const resource = fc.nat({ max: 2 })
const send = fc.record({ kind: fc.constant('send' as const), sender: fc.nat({ max: 1 }) })
const connect = (of: fc.Arbitrary<number>, acknowledges: fc.Arbitrary<boolean>) =>
  fc.record({ kind: fc.constant('connect' as const), resource: of, acknowledges })
const acknowledge = (of: fc.Arbitrary<number>) =>
  fc.record({
    kind: fc.constant('acknowledge' as const),
    resource: of,
    count: fc.integer({ min: 1, max: 4 }),
  })
const fate = <K extends 'crash' | 'away' | 'back'>(of: fc.Arbitrary<number>, ...kinds: K[]) =>
  fc.record({ kind: fc.constantFrom(...kinds), resource: of })
const pause = fc.record({
  kind: fc.constant('pause' as const),
  rounds: fc.integer({ min: 1, max: 3 }),
})
const history = (...steps: fc.Arbitrary<Step>[]) =>
  fc.array(fc.oneof(send, ...steps), { maxLength: 40 })

const RUNS = { numRuns: 40, seed: 20260801 }

test('nothing is lost: what was sent is acknowledged by somebody in the end', async () => {
  const steps = history(
    connect(resource, fc.boolean()),
    acknowledge(resource),
    fate(resource, 'crash', 'away', 'back'),
    pause,
  )
  const property = fc.asyncProperty(steps, async (taken) => {
    await using played = await History.start()
    await played.run(taken)
    await played.end()
    const arrived = new Set(played.all.flatMap((session) => session.confirmed.map(idOf)))
    assert.deepEqual([...arrived].sort(), played.sent.sort())
    const left = await played.core.storage.read('select seq from offline_message', [])
    assert.deepEqual(left, [])
  })
  await fc.assert(property, RUNS)
})

test('nothing comes twice from the store while nobody dies', async () => {
  const steps = history(
    connect(resource, fc.constant(false)),
    fate(resource, 'away', 'back'),
    pause,
  )
  const property = fc.asyncProperty(steps, async (taken) => {
    await using played = await History.start()
    await played.run(taken)
    await played.pause(20)
    const delivered = played.all.flatMap((session) => session.received)
    const stored = delivered.filter(({ notes }) => notes.offline !== undefined).map(idOf)
    assert.equal(new Set(stored).size, stored.length)
  })
  await fc.assert(property, RUNS)
})

test("a resource gets each sender's messages in order, each once", async () => {
  const only = fc.constant(0)
  const steps = history(connect(only, fc.boolean()), acknowledge(only), fate(only, 'crash'), pause)
  const property = fc.asyncProperty(steps, async (taken) => {
    await using played = await History.start()
    await played.run(taken)
    await played.end()
    for (const { received } of played.all) {
      for (const sender of [0, 1]) {
        const numbers = received
          .map((envelope) => idOf(envelope).split(':').map(Number))
          .filter(([from]) => from === sender)
          .map(([, number]) => number as number)
        assert.deepEqual(
          numbers,
          [...new Set(numbers)].sort((a, b) => a - b),
        )
      }
    }
  })
  await fc.assert(property, RUNS)
})

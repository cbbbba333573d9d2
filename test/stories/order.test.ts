import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { StreamError } from '../../src/xmpp/stream-error.ts'
import type { Client } from '../support/client.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

const HOOKS = [
  'user_send_packet',
  'user_send_message',
  'filter_packet',
  'filter_local_packet',
  'sm_message_decided',
  'user_receive_packet',
  'user_receive_message',
  'xmpp_presend_element',
] as const

const SENDERS = ['romeo', 'mercutio']
const RECIPIENTS = ['juliet', 'nurse']

/** After so long without what has to come, the test fails; nothing else depends on it. */
const PATIENCE_MS = 10_000

type Step =
  | { readonly does: 'rest'; readonly turns: number }
  | { readonly does: 'send'; readonly from: number; readonly to: number; readonly size: number }
  | { readonly does: 'pause' | 'go on' | 'lose'; readonly to: number }

const step = fc.oneof(
  {
    weight: 12,
    arbitrary: fc.record({
      does: fc.constant('send' as const),
      from: fc.nat(SENDERS.length - 1),
      to: fc.nat(RECIPIENTS.length - 1),
      // Some fill what the kernel keeps for a client that does not read.
      size: fc.oneof({ weight: 4, arbitrary: fc.constant(10) }, fc.constant(200_000)),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      does: fc.constantFrom('pause' as const, 'go on' as const),
      to: fc.nat(RECIPIENTS.length - 1),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ does: fc.constant('rest' as const), turns: fc.nat(10) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      does: fc.constant('lose' as const),
      to: fc.nat(RECIPIENTS.length - 1),
    }),
  },
)

/** The same numbers from 0 to 1 for the same seed. */
function numbers(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Handlers that answer at once, soon, or later, as it comes. */
function dawdle(server: TestServer, names: readonly (typeof HOOKS)[number][], seed: number): void {
  const next = numbers(seed)
  for (const name of names) {
    server.server.hooks.on(name, (envelope) => {
      const delay = next()
      if (delay < 0.5) return envelope
      if (delay < 0.8) return Promise.resolve(envelope)
      return setImmediate(envelope)
    })
  }
}

async function play(server: TestServer, steps: readonly Step[]): Promise<void> {
  const senders = await Promise.all(SENDERS.map((name) => server.connect(name)))
  const recipients: Client[][] = []
  for (const name of RECIPIENTS) {
    const clients = []
    for (const priority of [3, 2, 1]) {
      clients.push(await server.connect(name, `priority ${priority}`, { priority }))
    }
    for (const client of clients) await client.roundTrip()
    for (const client of clients) client.forgets()
    recipients.push(clients)
  }
  const sent = new Map<string, number>()
  const lost = [0, 0]
  for (const action of steps) {
    if (action.does === 'rest') {
      for (let i = 0; i < action.turns; i++) await setImmediate()
      continue
    }
    const clients = recipients[action.to] as Client[]
    const current = clients[lost[action.to] as number] as Client
    if (action.does === 'send') {
      const pair = `${SENDERS[action.from]} ${RECIPIENTS[action.to]}`
      const number = sent.get(pair) ?? 0
      sent.set(pair, number + 1)
      const body = `${number} ${'x'.repeat(action.size)}`
      ;(senders[action.from] as Client).send(chat(current.bareJid, body))
    } else if (action.does === 'pause') {
      current.stopsReading()
    } else if (action.does === 'go on') {
      current.readsOn()
    } else if ((lost[action.to] as number) < 2) {
      lost[action.to] = (lost[action.to] as number) + 1
      void server.sessionOf(current).close(new StreamError('reset'))
      // It gets what it was sent before.
      current.readsOn()
    }
  }
  for (const client of recipients.flat()) client.readsOn()
  for (const sender of senders) await sender.roundTrip()
  for (const [pair, count] of sent) await checkPair(pair, count, recipients)
}

/** All of it came, nothing twice, and in order: over all resources, as one followed the other. */
async function checkPair(
  pair: string,
  count: number,
  recipients: readonly Client[][],
): Promise<void> {
  const [from, to] = pair.split(' ') as [string, string]
  const clients = recipients[RECIPIENTS.indexOf(to)] as Client[]
  const got: number[] = []
  const isFrom = (jid: string | undefined) => jid?.startsWith(`${from}@`) === true
  for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
    got.length = 0
    for (const client of clients) {
      for (const message of client.inbox({ name: 'message' })) {
        if (isFrom(message.attr('from'))) {
          got.push(Number.parseInt(message.child('body')?.text ?? '', 10))
        }
      }
    }
    if (got.length >= count) break
    await setImmediate()
  }
  assert.deepEqual(
    got,
    Array.from({ length: count }, (_, index) => index),
    pair,
  )
}

test('whatever handlers and readers do, each pair keeps its order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.subarray([...HOOKS]),
      fc.nat(),
      fc.array(step, { minLength: 1, maxLength: 120, size: 'max' }),
      async (names, seed, steps) => {
        await using server = await startServer()
        dawdle(server, names, seed)
        await play(server, steps)
      },
    ),
    { numRuns: 25, interruptAfterTimeLimit: 60_000, endOnFailure: true },
  )
})

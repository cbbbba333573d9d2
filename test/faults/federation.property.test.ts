import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import fc from 'fast-check'
import type { Client } from '../support/client.ts'
import { Internet } from '../support/federation.ts'
import { Relay } from '../support/relay.ts'
import type { TestServer } from '../support/server.ts'
import { chat } from '../support/stanzas.ts'

const RUNS = 12

/** What happens to two servers, whose users write to one another. */
type Step =
  | { readonly does: 'write'; readonly who: number; readonly count: number; readonly size: number }
  | { readonly does: 'cut'; readonly way: number }
  | { readonly does: 'cut both' }
  | { readonly does: 'rest'; readonly ms: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 16,
    arbitrary: fc.record({
      does: fc.constant('write' as const),
      who: fc.nat(1),
      count: fc.integer({ min: 1, max: 40 }),
      // Some fill what the kernel keeps.
      size: fc.oneof({ weight: 9, arbitrary: fc.constant(10) }, fc.constant(20_000)),
    }),
  },
  { weight: 2, arbitrary: fc.record({ does: fc.constant('cut' as const), way: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('cut both' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant('rest' as const), ms: fc.nat(30) }),
  },
)

const plan = fc.record({
  /** One connection for both directions, where they can agree on it. */
  bidi: fc.boolean(),
  /** By a certificate, or by dialback. */
  isExternal: fc.boolean(),
  steps: fc.array(step, { minLength: 20, maxLength: 60 }),
})

const DOMAINS = ['capulet.example', 'montague.example'] as const

async function relayTo(internet: Internet, server: TestServer): Promise<Relay> {
  const [listener] = server.server.serverListeners
  assert(listener !== undefined)
  const relay = await Relay.start(listener.address)
  internet.locateAt(server.domain, relay.address.host, relay.address.port)
  return relay
}

async function receivesAll(client: Client, count: number): Promise<void> {
  for (let number = 0; number < count; number++) {
    const message = await client.receives({ name: 'message' })
    assert.equal(message.attr('type'), 'chat')
    assert.equal(message.child('body')?.text.trim(), String(number))
  }
  await client.receivesNothing()
}

test('whatever breaks, everything arrives once and in order', { timeout: 120_000 }, async () => {
  const property = fc.asyncProperty(plan, async ({ bidi, isExternal, steps }) => {
    await using internet = await Internet.start()
    const start = (domain: string) =>
      internet.server(domain, {
        s2s: { bidi, queue_size: '64MiB' },
        ...(!isExternal && { certificate: internet.certify(domain, { usages: ['serverAuth'] }) }),
      })
    const [capulet, montague] = [await start(DOMAINS[0]), await start(DOMAINS[1])]
    await using one = await relayTo(internet, capulet)
    await using other = await relayTo(internet, montague)
    const relays = [one, other]
    const clients = [
      await capulet.connect('juliet', 'balcony'),
      await montague.connect('romeo', 'orchard'),
    ]
    const written = [0, 0]
    for (const step of steps) {
      switch (step.does) {
        case 'write': {
          const [from, to] = [clients[step.who], clients[1 - step.who]]
          for (let i = 0; i < step.count; i++) {
            const body = String(written[step.who]).padEnd(step.size)
            await from?.sends(chat(to?.fullJid, body))
            written[step.who] = (written[step.who] ?? 0) + 1
          }
          break
        }
        case 'cut':
          relays[step.way]?.cut()
          break
        case 'cut both':
          for (const relay of relays) relay.cut()
          break
        case 'rest':
          await setTimeout(step.ms)
      }
    }
    await receivesAll(clients[1] as Client, written[0] ?? 0)
    await receivesAll(clients[0] as Client, written[1] ?? 0)
  })
  await fc.assert(property, { numRuns: RUNS, endOnFailure: true })
})

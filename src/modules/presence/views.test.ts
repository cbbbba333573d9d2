import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Core, startCore } from '../../../test/support/core.ts'
import { presence, sendPresence } from '../../../test/support/presence.ts'
import type { RecordingSession } from '../../../test/support/recording-session.ts'
import type { SubscriptionType } from '../../core/hook-map.ts'
import { el } from '../../xmpp/xml.ts'
import { roster } from '../roster/index.ts'
import { presence as presenceModule } from './index.ts'

/**
 * What clients know of each other from the presence they got is what is the case: whatever accounts
 * do, each available resource sees its own account's resources, those of the contacts who let it,
 * and nobody else's.
 */

const ACCOUNTS = ['romeo', 'juliet', 'tybalt'] as const
const RESOURCES = ['a', 'b'] as const

const account = fc.constantFrom(...ACCOUNTS)
const resource = fc.constantFrom(...RESOURCES)
const pair = fc
  .shuffledSubarray([...ACCOUNTS], { minLength: 2, maxLength: 2 })
  .map(([first, second]) => ({ account: first as string, contact: second as string }))
const status = fc.constantFrom('here', 'away', 'busy')

type Command =
  | { readonly do: 'appear'; account: string; resource: string; status: string }
  | { readonly do: 'leave' | 'vanish' | 'replace'; account: string; resource: string }
  | { readonly do: SubscriptionType; account: string; contact: string }
  | { readonly do: 'remove' | 'befriend'; account: string; contact: string }

const command: fc.Arbitrary<Command> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('appear' as const), account, resource, status }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('leave' as const, 'vanish' as const, 'replace' as const),
      account,
      resource,
    }),
  },
  {
    weight: 6,
    arbitrary: fc
      .tuple(
        fc.constantFrom<SubscriptionType | 'remove' | 'befriend'>(
          'befriend',
          'befriend',
          'befriend',
          'remove',
          'subscribe',
          'subscribed',
          'unsubscribe',
          'unsubscribed',
        ),
        pair,
      )
      .map(([what, between]) => ({ do: what, ...between })),
  },
)

const bare = (localpart: string) => `${localpart}@im.example.com`

class World {
  readonly core: Core
  readonly sessions = new Map<string, RecordingSession>()
  /** Acts for accounts without being seen: connected, never available. */
  readonly #hands = new Map<string, RecordingSession>()

  constructor(core: Core) {
    this.core = core
  }

  async run(step: Command): Promise<void> {
    switch (step.do) {
      case 'appear': {
        const session = await this.#session(step.account, step.resource)
        if (session.priority === undefined) session.received.splice(0)
        return await sendPresence(this.core, session, presence(undefined, { status: step.status }))
      }
      case 'leave': {
        const session = await this.#session(step.account, step.resource)
        return await sendPresence(this.core, session, presence('unavailable'))
      }
      case 'vanish': {
        const key = `${step.account}/${step.resource}`
        const session = this.sessions.get(key)
        this.sessions.delete(key)
        return await session?.end('lost')
      }
      case 'replace':
        return await this.#replace(step.account, step.resource)
      case 'befriend':
        // The contact sees the account afterwards.
        await this.run({ ...step, do: 'subscribe', account: step.contact, contact: step.account })
        return await this.run({ ...step, do: 'subscribed' })
      case 'remove': {
        const item = el('item', { jid: bare(step.contact), subscription: 'remove' })
        const query = el('query', { xmlns: 'jabber:iq:roster' }, item)
        await this.core.ask(await this.#hand(step.account), bare(step.account), 'set', query)
        return
      }
      default: {
        const hand = await this.#hand(step.account)
        return await sendPresence(this.core, hand, presence(step.do), bare(step.contact))
      }
    }
  }

  /** Each available session's view, by the full JIDs it believes available, with their status. */
  async check(): Promise<void> {
    for (const session of this.sessions.values()) {
      if (session.priority === undefined) continue
      const actual = new Map<string, string | undefined>()
      for (const other of this.sessions.values()) {
        const isSeen =
          other.jid.bare === session.jid.bare ||
          (await this.#sees(session.jid.bare, other.jid.bare))
        if (isSeen && other.presence !== undefined) {
          actual.set(other.jid.full, other.presence.child('status')?.text)
        }
      }
      assert.deepEqual(viewOf(session), actual, `what ${session.jid} knows`)
    }
  }

  async #sees(owner: string, contact: string): Promise<boolean> {
    const [row] = await this.core.storage.read<{ state: string }>(
      'select state from roster_item where owner = ? and contact = ?',
      [owner, contact],
    )
    return row !== undefined && /^(to|both)/.test(row.state)
  }

  async #session(localpart: string, name: string): Promise<RecordingSession> {
    const key = `${localpart}/${name}`
    let session = this.sessions.get(key)
    if (session === undefined) {
      session = await this.core.connect(localpart, name, { priority: undefined })
      this.sessions.set(key, session)
    }
    return session
  }

  async #hand(localpart: string): Promise<RecordingSession> {
    let hand = this.#hands.get(localpart)
    if (hand === undefined) {
      hand = await this.core.connect(localpart, 'hand', { priority: undefined })
      this.#hands.set(localpart, hand)
    }
    return hand
  }

  /** A new connection takes the place of the old one and says at once what that had said. */
  async #replace(localpart: string, name: string): Promise<void> {
    const key = `${localpart}/${name}`
    const old = this.sessions.get(key)
    if (old === undefined) return
    const last = old.presence
    let ended: Promise<void> | undefined
    old.close = () => {
      ended = old.end('replaced')
      return ended
    }
    this.sessions.delete(key)
    const heir = await this.#session(localpart, name)
    await ended
    if (last !== undefined) await sendPresence(this.core, heir, last)
  }
}

function viewOf({ received }: RecordingSession): Map<string, string | undefined> {
  const view = new Map<string, string | undefined>()
  for (const { from, stanza } of received) {
    if (stanza.kind !== 'presence') continue
    if (stanza.type === undefined) view.set(from.full, stanza.child('status')?.text)
    if (stanza.type === 'unavailable') view.delete(from.full)
  }
  return view
}

test('everybody knows who is there among those whom they may see', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 30, maxLength: 40 }), async (commands) => {
      await using core = await startCore({
        accounts: ACCOUNTS,
        modules: [[roster], [presenceModule]],
      })
      const world = new World(core)
      for (const step of commands) {
        await world.run(step)
        await world.check()
      }
    }),
    { numRuns: 30 },
  )
})

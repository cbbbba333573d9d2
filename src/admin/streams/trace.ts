import { z } from 'zod'
import { addressScope } from '../../core/config-types.ts'
import type { TraceSource } from '../../core/trace-item.ts'
import { Feed } from '../feed.ts'
import { Followers } from '../followers.ts'
import { defineStream } from '../stream-command.ts'
import { toJson, traced } from './trace-item.ts'
import { traceText } from './trace-text.ts'

/** What can be followed on the route of stanzas: on this node, or on all of a cluster. */
export type AdminTraces = TraceSource

/** Items that wait for whoever reads them. */
const MAX_WAITING = 1_000
/** How many may follow at once: each costs time for every stanza. */
const MAX_FOLLOWERS = 16

const missed = z.strictObject({
  missed: z.int().describe('How many were left out here, because the reader is slow.'),
})

const followers = new Followers(MAX_FOLLOWERS)

export const trace = defineStream({
  name: 'trace',
  description: 'Follow the stanzas of an account or a domain: each step, and their fate',
  permission: 'messages:read',
  permissionFor: ({ body }) => (body ? 'messages:content' : 'messages:read'),
  args: z.strictObject({
    jid: addressScope().describe('A domain, an account or one of its resources.'),
    body: z.boolean().optional().describe('Show what is in the stanzas. Secrets stay hidden.'),
  }),
  positional: ['jid'],
  examples: ['alice@localhost', 'localhost --json', 'alice@localhost/phone --body'],
  item: z.union([traced, missed]),
  text: (item, paint) =>
    'missed' in item
      ? paint('yellow', `${item.missed} more, left out: they came faster than they could be shown`)
      : traceText(item, paint),
  async open({ traces }, { jid, body = false }, signal) {
    followers.join(traces, signal)
    const feed = new Feed<z.input<typeof traced> | z.input<typeof missed>>(
      MAX_WAITING,
      (count) => ({ missed: count }),
    )
    const filter = { jid, withBodies: body }
    const unfollow = traces.follow(filter, (item) => feed.push(toJson(item)))
    const end = () => {
      unfollow()
      feed.end()
    }
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
    return feed
  },
})

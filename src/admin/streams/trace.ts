import { z } from 'zod'
import { addressScope } from '../../core/config-types.ts'
import type { TraceItem, TraceSource } from '../../core/trace-item.ts'
import { CommandError } from '../command.ts'
import { Feed } from '../feed.ts'
import { defineStream } from '../stream-command.ts'
import { traceText } from './trace-text.ts'

/** What can be followed on the route of stanzas: on this node, or on all of a cluster. */
export type AdminTraces = TraceSource

/** Items that wait for whoever reads them. */
const MAX_WAITING = 1_000
/** How many may follow at once: each costs time for every stanza. */
const MAX_FOLLOWERS = 16

const text = z.string().nullable()

const step = z.strictObject({
  number: z.int(),
  within: z.int().nullable().describe('Number of the step that it is part of.'),
  place: z.string().describe('A stage, a hook, or "filter" and "route" of a routing module.'),
  by: text.describe('The module whose handler it is, or the routing module.'),
  session: text,
  at_ms: z.number().describe('Since the stanza began.'),
  took_ms: z.number(),
  verdict: z.string(),
  detail: text.describe('Why: a condition, a reason, an answer.'),
})

const traced = z.strictObject({
  trace: z.string().describe('Everything that one stanza caused has the same.'),
  span: z.string().describe('This stanza.'),
  parent: text.describe('The stanza that caused it.'),
  node: text.describe('The node of the cluster.'),
  is_continued: z.boolean().describe('Whether it was told of before.'),
  began_at: z.iso.datetime(),
  took_ms: z.number(),
  stanza: z.strictObject({
    kind: z.string(),
    type: text,
    id: text,
    from: z.string(),
    to: z.string(),
    origin: z.string(),
    children: z.array(z.string()),
    size: z.int(),
    xml: z.string().optional(),
  }),
  steps: z.array(step),
  outcome: z
    .strictObject({
      fate: z.string(),
      by: z.string(),
      reason: text,
      sessions: z.array(z.string()),
    })
    .nullable()
    .describe('Null while its fate is not decided, or when it was told before.'),
})

const missed = z.strictObject({
  missed: z.int().describe('How many were left out here, because the reader is slow.'),
})

export type TracedItem = z.output<typeof traced>

const followers = new WeakMap<AdminTraces, number>()

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
    const others = followers.get(traces) ?? 0
    if (others >= MAX_FOLLOWERS) {
      throw new CommandError('unavailable', `${others} others follow stanzas already`)
    }
    const feed = new Feed<z.input<typeof traced> | z.input<typeof missed>>(
      MAX_WAITING,
      (count) => ({ missed: count }),
    )
    const filter = { jid, withBodies: body }
    const unfollow = traces.follow(filter, (item) => feed.push(toJson(item)))
    followers.set(traces, others + 1)
    const end = () => {
      followers.set(traces, (followers.get(traces) ?? 1) - 1)
      unfollow()
      feed.end()
    }
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
    return feed
  },
})

function toJson({ isContinued, began, took, steps, ...item }: TraceItem): TracedItem {
  return {
    ...item,
    is_continued: isContinued,
    began_at: new Date(began).toISOString(),
    took_ms: rounded(took),
    steps: steps.map(({ at, took, ...rest }) => ({
      ...rest,
      at_ms: rounded(at),
      took_ms: rounded(took),
    })),
    stanza: { ...item.stanza, children: [...item.stanza.children] },
    outcome: item.outcome && { ...item.outcome, sessions: [...item.outcome.sessions] },
  }
}

/** To microseconds. */
function rounded(ms: number): number {
  return Math.round(ms * 1_000) / 1_000
}

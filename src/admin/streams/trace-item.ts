/** What is told of a stanza, as JSON. */
import { z } from 'zod'
import type { TraceItem } from '../../core/trace-item.ts'

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

export const traced = z.strictObject({
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

export type TracedItem = z.output<typeof traced>

export function toJson({ isContinued, began, took, steps, ...item }: TraceItem): TracedItem {
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

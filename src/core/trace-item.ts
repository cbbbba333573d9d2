import type { Fate } from './outcome.ts'

/**
 * What a stage, a handler or a routing module did with a stanza.
 * - `passed`: nothing; `changed`: passed on another one; `decided`: answered what it was asked;
 * - `stopped`, `dropped`, `refused`: the stanza goes no further here, the last with an error to its
 *   sender; `failed`: it threw;
 * - `settled`: decided the stanza's fate; `taken`, `gone`: a session took it over, or is no more;
 * - `queued`, `written`: to a client; `waiting`: still at it;
 * - in a dry run, `would`: what it would do; `unasked`: it would run, and what it does is not known.
 */
export type StepVerdict =
  | 'passed'
  | 'changed'
  | 'decided'
  | 'stopped'
  | 'dropped'
  | 'refused'
  | 'failed'
  | 'settled'
  | 'taken'
  | 'gone'
  | 'queued'
  | 'written'
  | 'waiting'
  | 'would'
  | 'unasked'

/** Times are in milliseconds. */
export type TraceStep = {
  /** Ascends in the order in which steps began, over all parts of a trace. */
  readonly number: number
  /** The step it is part of. */
  readonly within: number | null
  /** A stage, a hook, or `filter` and `route` of a routing module. */
  readonly place: string
  /** Whose handler or which routing module; null for a stage. */
  readonly by: string | null
  /** The session in which it happened. */
  readonly session: string | null
  /** Since the stanza began. */
  readonly at: number
  readonly took: number
  readonly verdict: StepVerdict
  /** Why: a condition, a reason, an answer. */
  readonly detail: string | null
}

export type TracedOutcome = {
  readonly fate: Fate
  readonly by: string
  readonly reason: string | null
  readonly sessions: readonly string[]
}

export type TracedStanza = {
  readonly kind: string
  readonly type: string | null
  readonly id: string | null
  readonly from: string
  readonly to: string
  /** Where it entered: `c2s`, `s2s`, `component`, `server`, `admin`. */
  readonly origin: string
  /** Children: name, then namespace where it is not that of stanzas. */
  readonly children: readonly string[]
  /** Of the payload, in octets. */
  readonly size: number
  /** The payload, secrets left out; only for who asked for it. */
  readonly xml?: string
}

/** A stanza that somebody follows, or what happened to it since the last part of its trace. */
export type TraceItem = {
  /** 32 hexadecimal digits: the story, which begins with a stanza that came in. */
  readonly trace: string
  /** 16 hexadecimal digits: this stanza. */
  readonly span: string
  /** The stanza that caused this one. */
  readonly parent: string | null
  /** The node of the cluster that tells it. */
  readonly node: string | null
  /** Whether it was told of before, here or by another node. */
  readonly isContinued: boolean
  /** When it began, milliseconds since the epoch. */
  readonly began: number
  /** Until its fate was decided, or until now. */
  readonly took: number
  readonly stanza: TracedStanza
  /** In the order in which they began. */
  readonly steps: readonly TraceStep[]
  /** Null while its fate is not decided, or was told before. */
  readonly outcome: TracedOutcome | null
}

/** Which stanzas to follow. Plain, so that it can be told to other nodes. */
export type TraceFilter = {
  /** Those from or to this address: a domain, an account or a resource. All when absent. */
  readonly jid?: string
  /** Their payloads, too. */
  readonly withBodies?: boolean
}

/** Where traces come from: this node, or all of a cluster. */
export interface TraceSource {
  /** Calls `take` with each item from now on, until the returned function is called. */
  follow(filter: TraceFilter, take: (item: TraceItem) => void): () => void
}

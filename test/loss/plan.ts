import { Random } from './random.ts'

/** How a socket dies: closed, reset, in the middle of a stanza, or without the server's knowledge. */
export const CUTS = ['close', 'reset', 'half-sent', 'dead'] as const
export type Cut = (typeof CUTS)[number]
export const SEVERANCES = ['silent', 'broken'] as const
export type Severance = (typeof SEVERANCES)[number]

/**
 * What happens to servers. `node` is one by its place, the first one unless told; times are in
 * milliseconds.
 */
export type Fault =
  | { readonly what: 'kill' | 'terminate'; readonly away: number; readonly node?: number }
  /** The disk is locked by another process, or takes no more. */
  | { readonly what: 'lock' | 'fill'; readonly lasting: number }
  /** The process does nothing. */
  | { readonly what: 'pause'; readonly lasting: number; readonly node: number }
  /** Between a node and NATS all is lost, in silence or with the connections. */
  | {
      readonly what: 'sever'
      readonly how: Severance
      readonly lasting: number
      readonly node: number
    }
  /** Its clients are sent elsewhere, then it stops. */
  | { readonly what: 'drain'; readonly away: number; readonly node: number }
  /** Killed; the second is one of the servers of NATS. */
  | { readonly what: 'kill database'; readonly away: number }
  | { readonly what: 'kill nats'; readonly away: number; readonly node: number }

/** What happens to clients. `who` is one by its place, senders first; times are in milliseconds. */
export type Event =
  | { readonly what: 'cut'; readonly who: number; readonly how: Cut; readonly away: number }
  /** Another connection resumes the session while the first is open still. */
  | { readonly what: 'takeover'; readonly who: number }
  /** Another session of the same resource. */
  | { readonly what: 'replace'; readonly who: number }
  /** The client closes its stream, and comes back with another session. */
  | { readonly what: 'leave'; readonly who: number; readonly away: number }
  /** The client sends what is not well-formed, so the server closes the stream. */
  | { readonly what: 'offend'; readonly who: number; readonly away: number }
  | { readonly what: 'stall'; readonly who: number; readonly lasting: number }
  /** The client goes to another node, and resumes its session there, or begins another. */
  | { readonly what: 'resume at' | 'replace at'; readonly who: number; readonly node: number }

/** It happens once `at` messages have been sent. */
export type Happening = { readonly at: number } & (Fault | Event)

/** When a recipient acknowledges: with each chunk, when asked, or a while after that. */
export const ACK_HABITS = ['eager', 'asked', 'tardy'] as const
export type AckHabit = (typeof ACK_HABITS)[number]

/** A whole trial, made from a seed; the machine's timing is all that it leaves open. */
export type Plan = {
  readonly seed: number
  readonly messages: number
  readonly senders: number
  readonly recipients: number
  /** Messages per second of all senders together; 0: as fast as it goes. */
  readonly pace: number
  readonly archive: boolean
  /** What a sender may have sent without an acknowledgement. */
  readonly window: number
  /** Of each recipient. */
  readonly habits: readonly AckHabit[]
  /** Settings of modules. */
  readonly settings: {
    readonly resumeTimeout: number
    readonly maxUnacknowledged: number
    readonly offlineBatch: number
  }
  /** Several servers instead of one. */
  readonly cluster?: ClusterPlan
  readonly happenings: readonly Happening[]
}

export type ClusterPlan = {
  readonly nodes: number
  /** How many servers NATS has, each with all of the registry. */
  readonly nats: number
  /** Milliseconds. */
  readonly lease: number
  /** Of each node: how far its clock is ahead, in seconds. */
  readonly clocks: readonly number[]
}

export type Wanted = {
  readonly seed: number
  readonly messages: number
  readonly kills: number
  readonly senders: number
  readonly recipients: number
  /** How long the sending takes, in seconds, not counting what holds it up; 0: as long as it takes. */
  readonly seconds: number
  readonly archive: boolean
}

/** Of a hundred happenings that are no kills. */
const SHARES = [
  [40, 'cut'],
  [12, 'takeover'],
  [12, 'replace'],
  [14, 'leave'],
  [6, 'offend'],
  [6, 'stall'],
  [4, 'terminate'],
  [3, 'lock'],
  [3, 'fill'],
] as const

type What = (typeof SHARES)[number][1]

/** Other happenings for each kill. */
const PER_KILL = 10
/** Beyond it resources are taken for lost, milliseconds. */
const RESUME_TIMEOUTS = [1_000, 2_000, 60_000]
const LONGEST_AWAY = 3_000

export function makePlan(wanted: Wanted): Plan {
  const { messages, kills } = wanted
  const random = new Random(wanted.seed)
  const others = Math.max(kills, 1) * PER_KILL
  const happenings = [
    ...Array.from({ length: kills }, () => kill(random, messages)),
    ...Array.from({ length: others }, () => happening(random, wanted)),
  ]
  return planWith(random, wanted, happenings)
}

export function planWith(
  random: Random,
  { seed, messages, senders, recipients, seconds, archive }: Omit<Wanted, 'kills'>,
  happenings: readonly Happening[],
): Plan {
  return {
    seed,
    messages,
    senders,
    recipients,
    pace: seconds === 0 ? 0 : Math.ceil(messages / seconds),
    archive,
    window: random.pick([20, 100, 300]),
    habits: Array.from({ length: recipients }, () => random.pick(ACK_HABITS)),
    settings: {
      resumeTimeout: random.pick(RESUME_TIMEOUTS),
      maxUnacknowledged: random.pick([30, 200, 1_000]),
      offlineBatch: random.pick([20, 100, 500]),
    },
    happenings: happenings.toSorted((a, b) => a.at - b.at),
  }
}

function kill(random: Random, messages: number): Happening {
  return { at: random.whole(1, messages), what: 'kill', away: random.skewed(500) }
}

export function happening(
  random: Random,
  { messages, senders, recipients }: Pick<Wanted, 'messages' | 'senders' | 'recipients'>,
  shares: readonly (readonly [number, What])[] = SHARES,
): Happening {
  const at = random.whole(1, messages)
  const who = random.whole(0, senders + recipients - 1)
  const away = random.skewed(LONGEST_AWAY)
  const what = pickShare(random, shares)
  switch (what) {
    case 'cut':
      return { at, what, who, how: random.pick(CUTS), away }
    case 'takeover':
    case 'replace':
      return { at, what, who }
    case 'leave':
    case 'offend':
      return { at, what, who, away }
    case 'stall':
      return { at, what, who: senders + (who % recipients), lasting: random.whole(100, 2_000) }
    case 'terminate':
      return { at, what, away: random.skewed(500) }
    case 'lock':
      return { at, what, lasting: random.whole(50, 7_000) }
    case 'fill':
      return { at, what, lasting: random.whole(50, 2_000) }
  }
}

/** The shares are of a hundred. */
export function pickShare<T>(random: Random, shares: readonly (readonly [number, T])[]): T {
  let left = random.whole(0, 99)
  for (const [share, what] of shares) {
    left -= share
    if (left < 0) return what
  }
  throw new Error('the shares are less than a hundred')
}

/** The first half of it; `undefined`: it is short already. */
export function shortened(plan: Plan): Plan | undefined {
  if (plan.messages <= 100) return undefined
  const messages = Math.ceil(plan.messages / 2)
  return { ...plan, messages, happenings: plan.happenings.filter(({ at }) => at <= messages) }
}

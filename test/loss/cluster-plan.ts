import {
  type Fault,
  type Happening,
  happening,
  type Plan,
  pickShare,
  planWith,
  SEVERANCES,
  type Wanted,
} from './plan.ts'
import { Random } from './random.ts'

/** Of a hundred happenings of clients. */
const SHARES = [
  [45, 'cut'],
  [14, 'takeover'],
  [13, 'replace'],
  [16, 'leave'],
  [6, 'offend'],
  [6, 'stall'],
] as const

/** Of a hundred faults. */
const FAULTS = [
  [26, 'kill'],
  [14, 'pause'],
  [18, 'sever'],
  [12, 'drain'],
  [6, 'terminate'],
  [12, 'kill nats'],
  [12, 'kill database'],
] as const

/** What clients do, and moves to other nodes, for each fault. */
const PER_FAULT = 6
const MOVES_PER_FAULT = 4
/** A node not heard of for so long is lost, milliseconds: busy machines have to be borne. */
const LEASE = 3_000
/** How far a clock is off, at most, seconds. */
const SKEW = 300

export type ClusterWanted = Omit<Wanted, 'kills'> & {
  readonly nodes: number
  readonly faults: number
  /** Servers of NATS; 1 or 3, as the seed has it, unless told. */
  readonly nats?: number | undefined
  /** Whether the nodes' clocks differ. */
  readonly hasSkew: boolean
}

export function makeClusterPlan(wanted: ClusterWanted): Plan {
  const { seed, messages, senders, recipients, nodes, faults, hasSkew } = wanted
  const random = new Random(seed)
  const nats = wanted.nats ?? random.pick([1, 1, 3])
  const times = <T>(count: number, make: () => T) => Array.from({ length: count }, make)
  const at = () => random.whole(1, messages)
  const happenings: Happening[] = [
    ...times(faults, () => ({ at: at(), ...fault(random, { nodes, nats }) })),
    ...times(Math.max(faults, 1) * PER_FAULT, () => happening(random, wanted, SHARES)),
    ...times(Math.max(faults, 1) * MOVES_PER_FAULT, () => ({
      at: at(),
      what: random.pick(['resume at', 'replace at'] as const),
      who: random.whole(0, senders + recipients - 1),
      node: random.whole(0, nodes - 1),
    })),
  ]
  const clocks = times(nodes, () => (hasSkew ? random.whole(-SKEW, SKEW) : 0))
  return { ...planWith(random, wanted, happenings), cluster: { nodes, nats, lease: LEASE, clocks } }
}

function fault(random: Random, { nodes, nats }: { nodes: number; nats: number }): Fault {
  const node = random.whole(0, nodes - 1)
  const away = random.skewed(3_000)
  /** Shorter than the lease, or longer. */
  const lasting = random.pick([random.whole(200, LEASE / 2), random.whole(LEASE * 1.5, LEASE * 3)])
  const what = pickShare(random, FAULTS)
  switch (what) {
    case 'kill':
    case 'terminate':
    case 'drain':
      return { what, node, away }
    case 'pause':
      return { what, node, lasting }
    case 'sever':
      return { what, node, how: random.pick(SEVERANCES), lasting }
    case 'kill nats':
      return { what, node: random.whole(0, nats - 1), away }
    case 'kill database':
      return { what, away }
  }
}

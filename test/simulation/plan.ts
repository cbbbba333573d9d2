import { Random } from '../loss/random.ts'

/** Of a client: which account, and which of its resources. */
export type ClientName = string

/** What happens to nodes and clients; `ms` says for how long. */
export type Happening = { readonly at: number } & (
  | { readonly what: 'open'; readonly client: ClientName; readonly node: string }
  | { readonly what: 'close' | 'vanish' | 'detach'; readonly client: ClientName }
  | { readonly what: 'resume'; readonly client: ClientName; readonly node: string }
  | { readonly what: 'priority'; readonly client: ClientName; readonly priority: number }
  | {
      readonly what: 'send'
      readonly client: ClientName
      /** A bare or full JID. */
      readonly to: string
      readonly count: number
    }
  | { readonly what: 'slow'; readonly client: ClientName; readonly ms: number }
  | {
      readonly what: 'crash' | 'leave' | 'pause' | 'cut' | 'usurp'
      readonly node: string
      readonly ms: number
    }
  | { readonly what: 'part'; readonly node: string; readonly other: string; readonly ms: number }
  | { readonly what: 'down'; readonly ms: number }
  | { readonly what: 'loss'; readonly percent: number; readonly ms: number }
  | { readonly what: 'delay'; readonly most: number; readonly ms: number }
  | { readonly what: 'purge' | 'reset' }
)

export type Plan = {
  readonly seed: number
  readonly nodes: readonly string[]
  readonly clients: readonly ClientName[]
  /** In the order of time. */
  readonly happenings: readonly Happening[]
}

export const CHAOS = 12_000
const ACCOUNTS = ['romeo', 'juliet', 'nurse']
const NODES = ['one', 'two', 'three', 'four']

export function accountOf(client: ClientName): string {
  return client.slice(0, client.indexOf('/'))
}

/** The same for the same seed. `hasResumption`: whether clients lose connections, and come back. */
export function makePlan(seed: number, hasResumption = true): Plan {
  const random = new Random(seed)
  const nodes = NODES.slice(0, random.pick([2, 2, 3, 3, 4]))
  const accounts = ACCOUNTS.slice(0, random.whole(2, 3))
  const clients = accounts.flatMap((account) =>
    random.whole(0, 1) === 0 ? [`${account}/a`] : [`${account}/a`, `${account}/b`],
  )
  const happenings: Happening[] = clients.map((client) => ({
    at: random.whole(0, 500),
    what: 'open',
    client,
    node: random.pick(nodes),
  }))
  const time = () => random.whole(100, CHAOS)
  for (let i = random.whole(3, 25); i > 0; i--) {
    const to = random.pick(clients)
    const client = random.pick(clients.filter((one) => accountOf(one) !== accountOf(to)))
    const isBare = random.whole(0, 1) === 0
    const count = random.whole(1, 5)
    happenings.push({ at: time(), what: 'send', client, to: isBare ? accountOf(to) : to, count })
  }
  for (let i = random.skewed(12); i > 0; i--) {
    happenings.push(clientHappening(random, time(), random.pick(clients), random.pick(nodes)))
  }
  for (let i = random.whole(0, 4); i > 0; i--) {
    happenings.push(nodeHappening(random, time(), nodes))
  }
  // Behind all else, so that the rest of a plan does not depend on it.
  for (let i = hasResumption ? random.skewed(6) : 0; i > 0; i--) {
    happenings.push(...resumption(random, time(), random.pick(clients), random.pick(nodes)))
  }
  return { seed, nodes, clients, happenings: happenings.sort((a, b) => a.at - b.at) }
}

/** A client loses its connection, and comes back for its session. */
function resumption(random: Random, at: number, client: string, node: string): Happening[] {
  const back = at + random.skewed(3_000)
  const all: Happening[] = [
    { at, what: 'detach', client },
    { at: back, what: 'resume', client, node },
  ]
  // The registry loses all it has just when the session is on its way from node to node.
  if (random.whole(0, 5) > 0) return all
  return [...all, { at: Math.max(0, back + random.whole(-400, 100)), what: 'reset' }]
}

function clientHappening(random: Random, at: number, client: string, node: string): Happening {
  switch (random.whole(0, 6)) {
    case 0:
      return { at, what: 'close', client }
    case 1:
      return { at, what: 'vanish', client }
    case 2:
      return { at, what: 'slow', client, ms: random.whole(100, 3_000) }
    case 3:
      return { at, what: 'priority', client, priority: random.whole(-1, 1) }
    default:
      return { at, what: 'open', client, node }
  }
}

function nodeHappening(random: Random, at: number, nodes: readonly string[]): Happening {
  const node = random.pick(nodes)
  const ms = random.whole(100, 8_000)
  const other = random.pick(nodes.filter((one) => one !== node))
  switch (random.whole(0, 13)) {
    case 0:
    case 1:
    case 2:
      return { at, what: 'crash', node, ms }
    case 3:
      return { at, what: 'leave', node, ms }
    case 4:
    case 5:
      return { at, what: 'pause', node, ms }
    case 6:
    case 7:
      return { at, what: 'cut', node, ms }
    case 8:
      return { at, what: 'part', node, other, ms }
    case 9:
      return { at, what: 'down', ms }
    case 10:
      return { at, what: 'loss', percent: random.whole(1, 40), ms }
    case 11:
      return { at, what: 'delay', most: random.whole(10, 1_000), ms }
    case 12:
      return { at, what: 'usurp', node, ms: 0 }
    default:
      return { at, what: random.whole(0, 1) === 0 ? 'purge' : 'reset' }
  }
}

/** What clients and contacts see when a node of two leaves, planned or not. */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { callCommand } from '../src/admin/control-client.ts'
import type { PostgresServer } from '../test/support/postgres.ts'
import { comesTrue, type Heard, logInAll, Member, type MemberOptions } from './crowd.ts'
import type { Figures } from './generator.ts'
import { PASSWORD } from './targets/target.ts'

type OnHeard = NonNullable<MemberOptions['onHeard']>
type Node = { readonly child: ChildProcess; readonly port: number; readonly directory: string }

export type Departure = {
  readonly sessions: number
  readonly leaving: Node
  readonly staying: Node
  readonly postgres: PostgresServer
  readonly schema: string
}

/** How many clients of the node that stays there are. */
const OTHERS = 500
/** Messages a second to those of the node that leaves, all together. */
const RATE = 1_000
const TICK = 10
/** How long to wait for what should come, seconds. */
const PATIENCE = 60

const socketOf = ({ directory }: Node) => join(directory, 'data', 'meerkat.sock')
const nameOf = (index: number) => `user${index}`
const seconds = (from: number) => Number(((performance.now() - from) / 1_000).toFixed(2))

/** Clients of the node that stays. */
function othersOf({ sessions, staying }: Departure, onHeard: OnHeard): Member[] {
  const options = { port: staying.port, hasStreamManagement: false, onHeard }
  return Array.from(
    { length: OTHERS },
    (_, index) => new Member({ name: nameOf(sessions + index), ...options }),
  )
}

/** One account by the command, the others as copies of it: a password costs a tenth of a second. */
async function register({ sessions, staying, postgres, schema }: Departure): Promise<void> {
  const last = sessions + OTHERS - 1
  const first = `${nameOf(0)}@localhost`
  await callCommand(socketOf(staying), 'account register', { jid: first, password: PASSWORD })
  const copies = `generate_series(1, ${last}) i where localpart = '${nameOf(0)}'`
  await postgres.run(
    `insert into ${schema}.account (domain, localpart, created_at, is_disabled)` +
      ` select domain, 'user' || i, created_at, 0 from ${schema}.account, ${copies}`,
  )
  await postgres.run(
    `insert into ${schema}.account_key` +
      ' (domain, localpart, hash, salt, iterations, stored_key, server_key)' +
      " select domain, 'user' || i, hash, salt, iterations, stored_key, server_key" +
      ` from ${schema}.account_key, ${copies}`,
  )
}

/** Each of those who leave, and one of the others, are in one another's rosters. */
async function befriend({ sessions, postgres, schema }: Departure): Promise<void> {
  const all = `generate_series(0, ${sessions + OTHERS - 1}) i`
  await postgres.run(
    `insert into ${schema}.roster (owner, version, removed_at)` +
      ` select 'user' || i || '@localhost', 1, 0 from ${all}`,
  )
  const leaving = `generate_series(0, ${sessions - 1}) i`
  const own = "'user' || i || '@localhost'"
  const contact = `'user' || (${sessions} + i % ${OTHERS}) || '@localhost'`
  for (const [one, other] of [
    [own, contact],
    [contact, own],
  ]) {
    await postgres.run(
      `insert into ${schema}.roster_item (owner, contact, name, contact_groups, state,` +
        ' is_approved, is_listed, request, version)' +
        ` select ${one}, ${other}, '', '[]', 'both', 0, 1, null, 1 from ${leaving}`,
    )
  }
}

/** What comes in order to each recipient, and what does not. */
class Deliveries {
  readonly #sent: number[]
  readonly #got: number[]
  repeated = 0
  missed = 0
  bounced = 0

  constructor(recipients: number) {
    this.#sent = Array.from({ length: recipients }, () => 0)
    this.#got = Array.from({ length: recipients }, () => 0)
  }

  next(recipient: number): string {
    const number = (this.#sent[recipient] as number) + 1
    this.#sent[recipient] = number
    return `${recipient}-${number}`
  }

  hear({ id = '', type }: Heard): void {
    if (type === 'error') this.bounced++
    const [recipient, number] = id.split('-').map(Number) as [number, number]
    const expected = (this.#got[recipient] as number) + 1
    if (number < expected) this.repeated++
    else this.missed += number - expected
    this.#got[recipient] = Math.max(number, expected - 1)
  }

  get sent(): number {
    return this.#sent.reduce((sum, count) => sum + count, 0)
  }

  get isComplete(): boolean {
    return this.#sent.every((count, recipient) => this.#got[recipient] === count)
  }
}

/**
 * A drain: how long until the command is done, and until the last client has resumed at the other node, while
 * others write to all of them.
 */
export async function drain(departure: Departure): Promise<Figures> {
  const { sessions, leaving, staying } = departure
  await register(departure)
  const deliveries = new Deliveries(sessions)
  const onHeard = (heard: Heard) => {
    if (heard.kind === 'message') deliveries.hear(heard)
  }
  const members = Array.from(
    { length: sessions },
    (_, index) =>
      new Member({
        name: nameOf(index),
        port: leaving.port,
        elsewhere: staying.port,
        hasStreamManagement: true,
        onHeard,
      }),
  )
  const senders = othersOf(departure, onHeard)
  await logInAll([...members, ...senders])
  let next = 0
  const ticking = setInterval(() => {
    for (let i = 0; i < (RATE * TICK) / 1_000; i++) {
      const recipient = next++ % sessions
      const to = `${nameOf(recipient)}@localhost`
      senders[recipient % OTHERS]?.send(
        `<message to='${to}' type='chat' id='${deliveries.next(recipient)}'><body>moving</body></message>`,
      )
    }
  }, TICK)
  await delay(1_000)
  const begin = performance.now()
  const answer = (await callCommand(socketOf(leaving), 'drain', {})) as { resumable: number }
  const answered = seconds(begin)
  const isOver = (member: Member) =>
    member.resumedAfter !== undefined || member.failure !== undefined
  await comesTrue(() => members.every(isOver), PATIENCE)
  const resumed = seconds(begin)
  await delay(1_000)
  clearInterval(ticking)
  const isComplete = await comesTrue(() => deliveries.isComplete, PATIENCE)
  const gaps = members.flatMap(({ resumedAfter }) => resumedAfter ?? []).sort((a, b) => a - b)
  const failures = members.flatMap(({ failure }) => failure ?? [])
  for (const member of [...members, ...senders]) member.leave()
  return {
    sessions,
    resumable: answer.resumable,
    answered_s: answered,
    all_resumed_s: resumed,
    resumed: gaps.length,
    away_p50_ms: Math.round(gaps[Math.floor(gaps.length / 2)] ?? 0),
    away_max_ms: Math.round(gaps.at(-1) ?? 0),
    failed: failures.length,
    first_failure: failures[0] ?? '',
    messages: deliveries.sent,
    lost: isComplete ? 0 : 'some',
    missed: deliveries.missed,
    repeated: deliveries.repeated,
    bounced: deliveries.bounced,
  }
}

/**
 * A node is killed: how long until each contact was told that somebody is gone, and until nobody has a session
 * of it any more.
 */
export async function death(departure: Departure): Promise<Figures> {
  const { sessions, leaving, staying } = departure
  await register(departure)
  await befriend(departure)
  const present = new Set<string>()
  const toldAfter: number[] = []
  let begin = 0
  const onHeard = ({ kind, type, from }: Heard) => {
    if (kind !== 'presence') return
    if (type === undefined) present.add(from)
    else if (type === 'unavailable' && present.delete(from)) {
      toldAfter.push(performance.now() - begin)
    }
  }
  const hasStreamManagement = false
  const members = Array.from(
    { length: sessions },
    (_, index) => new Member({ name: nameOf(index), port: leaving.port, hasStreamManagement }),
  )
  const contacts = othersOf(departure, (heard, by) => {
    // One's own presence comes back, too.
    if (heard.from !== by.name) onHeard(heard)
  })
  await logInAll([...contacts, ...members])
  const areAllThere = await comesTrue(() => present.size === sessions, PATIENCE)
  begin = performance.now()
  leaving.child.kill('SIGKILL')
  const areAllTold = await comesTrue(() => present.size === 0, PATIENCE)
  const areAllGone = await comesTrue(async () => {
    const { sessions } = (await callCommand(socketOf(staying), 'status', {})) as {
      sessions: number
    }
    return sessions === OTHERS
  }, PATIENCE)
  const gone = seconds(begin)
  const first = toldAfter[0] ?? 0
  const last = toldAfter.at(-1) ?? 0
  for (const member of [...members, ...contacts]) member.leave()
  return {
    sessions,
    contacts: OTHERS,
    were_known: areAllThere ? 'all' : present.size,
    told: toldAfter.length,
    first_told_s: Number((first / 1_000).toFixed(2)),
    last_told_s: areAllTold ? Number((last / 1_000).toFixed(2)) : 'never',
    all_gone_s: areAllGone ? gone : 'never',
  }
}

import { sql } from 'kysely'
import type { NodeRun } from '../../core/cluster.ts'
import type { Envelope } from '../../core/envelope.ts'
import { domainOf } from '../../core/owned-data.ts'
import type { SessionInfo, SharedState } from '../../core/session.ts'
import type { Migration, Schema, Statement, Storage } from '../../core/storage.ts'
import { fromStored, toStored } from './stored-envelope.ts'

declare module '../../core/storage.ts' {
  interface Schema {
    /**
     * Sessions without a connection, to be resumed. `expires_at` in milliseconds since 1970; `node` and
     * `epoch`: the run that has it.
     */
    sm_session: { id: string; expires_at: number; state: string; node: string; epoch: number }
    /** What they have not acknowledged, by `seq`; `at` says when it was sent. */
    sm_queue: { session: string; seq: number; at: number; stanza: string; notes: string }
  }
}

export const migrations: readonly Migration[] = [
  {
    name: 'stream_management/0001-create',
    async up(db, types) {
      await db.schema
        .createTable('sm_session')
        .addColumn('id', types.text, (column) => column.primaryKey())
        .addColumn('expires_at', 'bigint', (column) => column.notNull())
        .addColumn('state', types.text, (column) => column.notNull())
        .execute()
      await db.schema
        .createTable('sm_queue')
        .addColumn('session', types.text, (column) => column.notNull())
        .addColumn('seq', 'bigint', (column) => column.notNull())
        .addColumn('at', 'bigint', (column) => column.notNull())
        .addColumn('stanza', types.text, (column) => column.notNull())
        .addColumn('notes', types.text, (column) => column.notNull())
        .addPrimaryKeyConstraint('sm_queue_pk', ['session', 'seq'])
        .execute()
      await db.schema
        .createTable('sm_kept')
        .addColumn('id', 'bigint', (column) => column.primaryKey())
        .addColumn('account', types.text, (column) => column.notNull())
        .addColumn('stanza', types.text, (column) => column.notNull())
        .addColumn('notes', types.text, (column) => column.notNull())
        .execute()
      await db.schema.createIndex('sm_kept_account').on('sm_kept').columns(['account']).execute()
    },
  },
  {
    name: 'stream_management/0002-nodes',
    async up(db, types) {
      await db.schema
        .alterTable('sm_session')
        .addColumn('node', types.text, (column) => column.notNull().defaultTo('local'))
        .execute()
      await db.schema
        .alterTable('sm_session')
        .addColumn('epoch', 'bigint', (column) => column.notNull().defaultTo(0))
        .execute()
      await db.schema.alterTable('sm_kept').renameTo('sm_kept_of_one').execute()
      await db.schema.dropIndex('sm_kept_account').execute()
      await db.schema
        .createTable('sm_kept')
        .addColumn('node', types.text, (column) => column.notNull())
        .addColumn('epoch', 'bigint', (column) => column.notNull())
        .addColumn('id', 'bigint', (column) => column.notNull())
        .addColumn('account', types.text, (column) => column.notNull())
        .addColumn('stanza', types.text, (column) => column.notNull())
        .addColumn('notes', types.text, (column) => column.notNull())
        .addPrimaryKeyConstraint('sm_kept_of_node', ['node', 'epoch', 'id'])
        .execute()
      await db.schema.createIndex('sm_kept_account').on('sm_kept').columns(['account']).execute()
      await sql`insert into sm_kept (node, epoch, id, account, stanza, notes)
        select 'local', 0, id, account, stanza, notes from sm_kept_of_one`.execute(db)
      await db.schema.dropTable('sm_kept_of_one').execute()
    },
  },
]

/** All of a session but its queue; JSON in the table. */
export type SessionState = {
  readonly jid: string
  readonly sessionId: string
  readonly info: SessionInfo
  readonly lang: string | undefined
  readonly shared: SharedState
  readonly priority: number | undefined
  /** The whole stanza. */
  readonly presence: string | undefined
  /** Stanzas of the client that were handled, not wrapped. */
  readonly handled: number
  /** Stanzas that the client has acknowledged, wrapped. */
  readonly acknowledged: number
  /** Ids of what the client has acknowledged last (`Notes.id`). */
  readonly had?: readonly string[]
  /** For how long it may be resumed after it lost its connection, in milliseconds. */
  readonly patience: number
}

export type Queued = readonly [envelope: Envelope, at: number]

export type Snapshot = {
  readonly id: string
  readonly expiresAt: number
  readonly state: SessionState
  readonly queue: readonly Queued[]
  /** False: the disk did not take all of the queue, and has something behind what is missing. */
  readonly isWhole: boolean
}

const SAVE = 'insert into sm_session (id, expires_at, state, node, epoch) values (?, ?, ?, ?, ?)'
const APPEND = 'insert into sm_queue (session, seq, at, stanza, notes) values (?, ?, ?, ?, ?)'
const FORGET = 'delete from sm_session where id = ?'
const FORGET_QUEUE = 'delete from sm_queue where session = ?'
const PAGE = `select id, expires_at, state, node, epoch from sm_session
  where node = ? and epoch <= ? and id > ? order by id limit ?`
const TAKE = `update sm_session set node = ?, epoch = ? where id = ? and node = ? and epoch <= ?
  returning id, expires_at, state`
const QUEUE = 'select seq, at, stanza, notes from sm_queue where session = ? order by seq'
const RUNS = 'select node, max(epoch) as epoch from sm_session group by node'
const PAGE_SIZE = 200

type Row = { readonly id: string; readonly expires_at: number; readonly state: string }
type OwnedRow = Row & NodeRun

/**
 * Sessions without a connection as they are on the disk, so that they can be resumed after a restart, or
 * on another node. Of those that have one nothing is kept: their counters change with each stanza.
 */
export class Snapshots {
  readonly #storage: Storage
  readonly #self: () => NodeRun

  constructor(storage: Storage, self: () => NodeRun) {
    this.#storage = storage
    this.#self = self
  }

  /** In place of what was kept of it before. */
  async save({ id, expiresAt, state, queue }: Omit<Snapshot, 'isWhole'>): Promise<void> {
    const { node, epoch } = this.#self()
    await this.#storage.writeAll([
      ...forgetting(id),
      { sql: SAVE, parameters: [id, expiresAt, JSON.stringify(state), node, epoch] },
      ...queue.map((queued, seq) => appending(id, seq, queued)),
    ])
  }

  /** One more in a session's queue, at its place. */
  async append(id: string, seq: number, queued: Queued): Promise<void> {
    const { sql, parameters } = appending(id, seq, queued)
    await this.#storage.write(sql, parameters)
  }

  async forget(id: string): Promise<void> {
    await this.#storage.writeAll(forgetting(id))
  }

  /** Whose sessions the disk has: the last run of each node. */
  runs(): Promise<readonly NodeRun[]> {
    return this.#storage.read<NodeRun>(RUNS, [])
  }

  /**
   * Takes over one session of another run, or of one before it. `undefined`: it has none such (any
   * more).
   */
  async take(id: string, from: NodeRun): Promise<Snapshot | undefined> {
    const { node, epoch } = this.#self()
    const parameters = [node, epoch, id, from.node, from.epoch]
    const { rows } = await this.#storage.write<Row>(TAKE, parameters)
    return rows[0] === undefined ? undefined : this.#snapshot(rows[0])
  }

  /** Under which numbers messages of its queue are kept. */
  async keptOf(id: string): Promise<number[]> {
    const rows = await this.#storage.read<QueueRow>(QUEUE, [id])
    return rows.flatMap((row) => fromStored(row).notes.kept ?? [])
  }

  /**
   * As `take`, and in the same step what comes along with it: that is not to be left behind by whoever dies
   * between the two. `changes` are the rows changed by each of `along`.
   */
  async takeWith(
    id: string,
    from: NodeRun,
    along: readonly Statement[],
  ): Promise<{ readonly snapshot: Snapshot; readonly changes: readonly number[] } | undefined> {
    const { node, epoch } = this.#self()
    const [taken, ...others] = await this.#storage.writeAll([
      { sql: TAKE, parameters: [node, epoch, id, from.node, from.epoch] },
      ...along,
    ])
    const row = taken?.rows[0] as Row | undefined
    if (row === undefined) return undefined
    const snapshot = await this.#snapshot(row)
    return { snapshot, changes: others.map(({ changes }) => changes) }
  }

  /**
   * Takes over all sessions of a run and those before it. Damaged ones are given to `onDamage`, and left
   * out.
   */
  async *takeAll(
    from: NodeRun,
    onDamage: (id: string, error: unknown) => void,
  ): AsyncGenerator<Snapshot> {
    let after = ''
    while (true) {
      const parameters = [from.node, from.epoch, after, PAGE_SIZE]
      const rows = await this.#storage.read<OwnedRow>(PAGE, parameters)
      for (const { id, node, epoch } of rows) {
        after = id
        try {
          const snapshot = await this.take(id, { node, epoch })
          if (snapshot !== undefined) yield snapshot
        } catch (error) {
          onDamage(id, error)
        }
      }
      if (rows.length < PAGE_SIZE) return
    }
  }

  async #snapshot(row: Row): Promise<Snapshot> {
    const rows = await this.#storage.read<QueueRow>(QUEUE, [row.id])
    const gap = rows.findIndex(({ seq }, index) => seq !== index)
    const isWhole = gap === -1
    // What stands behind a gap would be resent without what came before it.
    const queue = isWhole ? rows : rows.slice(0, gap)
    return {
      isWhole,
      id: row.id,
      expiresAt: row.expires_at,
      state: JSON.parse(row.state) as SessionState,
      queue: queue.map((queued) => [fromStored(queued), queued.at]),
    }
  }
}

type QueueRow = Omit<Schema['sm_queue'], 'session'>

function forgetting(id: string): Statement[] {
  return [
    { sql: FORGET, parameters: [id] },
    { sql: FORGET_QUEUE, parameters: [id] },
  ]
}

function appending(id: string, seq: number, [envelope, at]: Queued): Statement {
  const { stanza, notes } = toStored(envelope)
  return { sql: APPEND, parameters: [id, seq, at, stanza, notes] }
}

/** Sessions of a domain that nobody resumes any more. */
export async function* removeSnapshots(storage: Storage, domain: string): AsyncIterable<number> {
  let last = ''
  for (;;) {
    const page = await storage.read<{ id: string; state: string }>(
      'select id, state from sm_session where id > ? order by id limit 200',
      [last],
    )
    for (const { id, state } of page) {
      const { jid } = JSON.parse(state) as { readonly jid: string }
      last = id
      if (domainOf(jid.split('/', 1)[0] as string) !== domain) continue
      const removed = await storage.writeAll([
        { sql: 'delete from sm_queue where session = ?', parameters: [id] },
        { sql: 'delete from sm_session where id = ?', parameters: [id] },
      ])
      yield removed.reduce((sum, { changes }) => sum + changes, 0)
    }
    if (page.length < 200) return
  }
}

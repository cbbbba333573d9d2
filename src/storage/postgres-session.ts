import pg from 'pg'
import type { NodeRun } from '../core/cluster.ts'
import { ShutOut } from '../core/fences.ts'
import { StorageError } from '../core/storage.ts'
import { PostgresFailure } from './postgres-errors.ts'
import { type Command, type Outcome, Pipeline, PreparedStatements } from './postgres-pipeline.ts'
import type { PostgresHost } from './postgres-url.ts'

export interface SessionSettings {
  /** How long to wait for a connection, in milliseconds. */
  readonly connectTimeoutMs: number
  /** How long a statement may wait for a lock that another connection holds. */
  readonly lockTimeoutMs: number
  /** How long a statement may take. */
  readonly statementTimeoutMs: number
  /** How long the server lets a transaction stand idle, in case we have been stopped in it. */
  readonly idleTransactionMs: number
  /** Nobody else may use the database, or all who do not want that. */
  readonly isExclusive: boolean
  /** After so long without an answer we ask whether the connection still leads anywhere. */
  readonly silenceMs: number
}

/** 14: the oldest that PostgreSQL itself maintains. */
const OLDEST_VERSION = 140_000

/** Whoever has the database in use holds this lock; alone, or together with others. */
const USE = "hashtext('meerkat in use'), hashtext(current_schema())"

/** The two numbers of the lock that the writing connection of a node's run holds; `name` is SQL. */
export const runLock = (name: string): readonly [string, string] => [
  `hashtext('meerkat run ' || cast(${name} as text))`,
  'hashtext(current_schema())',
]

const TAKE_RUN_LOCK = `select pg_advisory_lock_shared(${runLock('$1')})`
const IS_SHUT_OUT = 'select 1 from node_fence where node = $1 and epoch >= $2'

/** How long the server waits for one of its processes to end, milliseconds. */
export const END_TIMEOUT = 5_000
const END_BACKEND = `select pg_terminate_backend(pid, ${END_TIMEOUT}) as has_ended from pg_stat_activity
  where pid = $1 and backend_start::text = $2`

const SET_UP = `select
  set_config('synchronous_commit', case current_setting('synchronous_commit')
    when 'remote_apply' then 'remote_apply' else 'on' end, false),
  set_config('standard_conforming_strings', 'on', false),
  set_config('bytea_output', 'hex', false),
  set_config('lock_timeout', $1, false),
  set_config('statement_timeout', $2, false),
  set_config('idle_in_transaction_session_timeout', $3, false),
  case $4 when 'shared' then pg_try_advisory_lock_shared(${USE})
    when 'exclusive' then pg_try_advisory_lock(${USE}) else true end as is_admitted,
  current_setting('server_encoding') as encoding,
  current_setting('server_version_num')::integer as version,
  current_setting('fsync') as fsync,
  (select backend_start::text from pg_stat_activity where pid = pg_backend_pid()) as started,
  pg_is_in_recovery() or current_setting('default_transaction_read_only') = 'on' as is_read_only`

/** Between its statements a backend is idle: what we wait for then is lost on the way. */
const IS_SERVED = `select count(*)::integer as count from pg_stat_activity
  where pid = $1 and backend_start::text = $2 and state = 'active'`

type Condition = {
  readonly is_admitted: boolean
  readonly encoding: string
  readonly version: number
  readonly fsync: string
  readonly started: string
  readonly is_read_only: boolean
}

/** Who wants to connect: the writer of a node's run, once that has joined the others. */
export type Role = 'reader' | 'writer' | NodeRun

/**
 * One connection. A write that it carries out is on the server's disk, and on those standbys' that
 * the server waits for, whatever the server's defaults are (`synchronous_commit`).
 */
export class PostgresSession {
  readonly host: PostgresHost
  readonly #settings: SessionSettings
  readonly #client: pg.Client
  readonly #statements = new PreparedStatements()
  readonly #lost = Promise.withResolvers<unknown>()
  #isLost = false
  #pipeline: Pipeline | undefined
  #silence: NodeJS.Timeout | undefined
  /** When the backend was; with its number it tells it from all others. */
  #started = ''
  /** The server loses what is committed when it crashes; only its administrator can want that. */
  isVolatile = false
  isReadOnly = false

  private constructor(host: PostgresHost, settings: SessionSettings) {
    this.host = host
    this.#settings = settings
    this.#client = newClient(host, settings)
    this.#client.on('error', (error) => this.#lose(error))
    this.#client.on('end', () => this.#lose(new Error('the connection was closed')))
    // @types/pg does not know it; `pg-cursor` and its like rest on it.
    const { connection } = this.#client as unknown as { readonly connection: pg.Connection }
    connection.on('noData', () => this.#pipeline?.described())
    connection.on('bindComplete', () => this.#pipeline?.bindComplete())
  }

  /**
   * Looks the host up anew. Rejects with what `pg` says, or a `StorageError`.
   *
   * @param earlier in whose place it comes, and which was lost
   */
  static async open(
    host: PostgresHost,
    settings: SessionSettings,
    role: Role,
    earlier?: PostgresSession,
  ): Promise<PostgresSession> {
    const session = new PostgresSession(host, settings)
    try {
      await session.#client.connect()
      await session.#setUp(role)
      if (earlier !== undefined) await session.#end(earlier)
      return session
    } catch (error) {
      session.destroy()
      throw error
    }
  }

  /** Resolves with the reason once the connection is of no more use. */
  get lost(): Promise<unknown> {
    return this.#lost.promise
  }

  get isLost(): boolean {
    return this.#isLost
  }

  /**
   * Carries them out as one transaction. One call after another.
   *
   * @param bound called once every statement, all of them queries, has taken its snapshot
   */
  run(commands: readonly Command[], bound?: () => void): Promise<Outcome> {
    return new Promise((resolve) => {
      if (this.#isLost) {
        const failure = new PostgresFailure(new Error('the connection was lost'))
        return resolve({ failure, failedAt: 0 })
      }
      const pipeline = new Pipeline(commands, this.#statements, {
        bound,
        progressed: () => this.#silence?.refresh(),
        done: (outcome) => {
          clearTimeout(this.#silence)
          this.#silence = undefined
          this.#pipeline = undefined
          if ('failure' in outcome && outcome.failure.isLost) this.#lose(outcome.failure.error)
          resolve(outcome)
        },
      })
      this.#pipeline = pipeline
      this.#silence = setTimeout(() => void this.#doubt(), this.#settings.silenceMs)
      this.#client.query(pipeline)
    })
  }

  /** Says goodbye. */
  async end(): Promise<void> {
    this.#isLost = true
    await this.#client.end().catch(() => {})
  }

  /** Gives up whatever is under way. */
  destroy(): void {
    this.#lose(new Error('the connection was given up'))
    const { connection } = this.#client as unknown as { readonly connection: pg.Connection }
    connection.stream.destroy()
  }

  #lose(reason: unknown): void {
    this.#isLost = true
    clearTimeout(this.#silence)
    this.#lost.resolve(reason)
  }

  async #setUp(role: Role): Promise<void> {
    const { lockTimeoutMs, statementTimeoutMs, idleTransactionMs, isExclusive } = this.#settings
    const use = isExclusive ? 'exclusive' : 'shared'
    const timeouts = [lockTimeoutMs, statementTimeoutMs, idleTransactionMs].map(String)
    const parameters = [...timeouts, role === 'reader' ? 'none' : use]
    const { rows } = await this.#client.query<Condition>(SET_UP, parameters)
    const [condition] = rows
    if (condition === undefined) throw new Error('the server does not answer')
    const { is_admitted, encoding, version, fsync, started, is_read_only } = condition
    this.#started = started
    if (encoding !== 'UTF8') {
      const message = `its encoding is ${encoding}: create it with "encoding 'UTF8' template template0"`
      throw new StorageError('incompatible', message)
    }
    if (version < OLDEST_VERSION) {
      throw new StorageError('incompatible', 'the server is older than PostgreSQL 14')
    }
    if (!is_admitted) {
      const message = isExclusive ? 'a server is using it' : 'data is being copied to or from it'
      throw new StorageError('busy', message)
    }
    this.isVolatile = fsync !== 'on'
    this.isReadOnly = is_read_only
    if (typeof role === 'object') await this.#enter(role)
  }

  /** In this order: see `PostgresFences`. */
  async #enter(run: NodeRun): Promise<void> {
    const { node, epoch } = run
    await this.#client.query(TAKE_RUN_LOCK, [`${node} ${epoch}`])
    const { rows } = await this.#client.query(IS_SHUT_OUT, [node, epoch])
    if (rows.length > 0) throw new ShutOut(run)
  }

  /**
   * Nothing was heard for a while. Is the server slow, or is nobody there any more? A machine that
   * vanished does not say so; whoever has its address now does not know us.
   */
  async #doubt(): Promise<void> {
    const pipeline = this.#pipeline
    const isServed = await this.#isServed()
    if (pipeline === undefined || this.#pipeline !== pipeline) return
    if (isServed) this.#silence?.refresh()
    else this.destroy()
  }

  /** Which process of the server it is, or was. */
  get #backend(): [processId: number, startedAt: string] {
    const { processID } = this.#client as unknown as { readonly processID: number }
    return [processID, this.#started]
  }

  /** What a lost connection was to do, the server may be about to do still: that is not to come after newer things. */
  async #end(earlier: PostgresSession): Promise<void> {
    const { rows } = await this.#client.query<{ has_ended: boolean }>(END_BACKEND, earlier.#backend)
    if (rows.every(({ has_ended }) => has_ended)) return
    throw new StorageError('busy', 'the connection that was lost does not end')
  }

  async #isServed(): Promise<boolean> {
    const client = newClient(this.host, this.#settings)
    client.on('error', () => {})
    try {
      await client.connect()
      const { rows } = await client.query<{ count: number }>(IS_SERVED, this.#backend)
      return rows[0]?.count === 1
    } catch {
      return false
    } finally {
      await client.end().catch(() => {})
    }
  }
}

function newClient(host: PostgresHost, settings: SessionSettings): pg.Client {
  return new pg.Client({
    connectionString: host.connectionString,
    connectionTimeoutMillis: settings.connectTimeoutMs,
    keepAlive: true,
    application_name: 'meerkat',
  })
}

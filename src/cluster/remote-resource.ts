import type { NodeRun } from '../core/cluster.ts'
import type { Envelope } from '../core/envelope.ts'
import type { Resource, SessionInfo, SharedState } from '../core/session.ts'
import type { FullJid } from '../xmpp/jid.ts'
import type { StreamError } from '../xmpp/stream-error.ts'
import type { HandOff } from './hand-off.ts'

/** What all nodes know of a session. */
export type SessionRow = {
  readonly jid: string
  readonly id: string
  readonly node: string
  readonly epoch: number
  readonly priority?: number
  readonly shared?: SharedState
  readonly info: SessionInfo
}

let slots = 0

/** A session whose connection is on another node. */
export class RemoteResource implements Resource {
  readonly jid: FullJid
  readonly id: string
  readonly owner: NodeRun
  /** Where what is written for it is remembered; others may have the same. */
  readonly slot = slots++
  readonly #handOff: HandOff
  readonly #close: (resource: RemoteResource, error?: StreamError) => Promise<void>
  priority: number | undefined
  shared: SharedState = {}
  info: SessionInfo
  /** Number of the last entry that was for it. */
  lastEntry = 0

  constructor(
    jid: FullJid,
    row: SessionRow,
    handOff: HandOff,
    close: (resource: RemoteResource, error?: StreamError) => Promise<void>,
  ) {
    this.jid = jid
    this.id = row.id
    this.owner = { node: row.node, epoch: row.epoch }
    this.#handOff = handOff
    this.#close = close
    this.info = row.info
    this.update(row)
  }

  update(row: SessionRow): void {
    this.priority = row.priority
    this.shared = { ...row.shared, clusterNode: row.node }
    this.info = row.info
  }

  /** As `update` was told it. */
  get row(): SessionRow {
    const { jid, id, owner, priority, info } = this
    const { clusterNode: _, ...shared } = this.shared
    return {
      jid: jid.full,
      id,
      ...owner,
      ...(priority !== undefined && { priority }),
      shared,
      info,
    }
  }

  /** False: too much waits for its node. What it takes comes back to the route if its node is lost. */
  deliver(envelope: Envelope): boolean {
    return this.#handOff.deliver(this, envelope)
  }

  close(error?: StreamError): Promise<void> {
    return this.#close(this, error)
  }

  /** Resolves when its node has dealt with all that it was handed; `undefined` if it has. */
  get undecided(): Promise<void> | undefined {
    return this.#handOff.decided(this.lastEntry)
  }
}

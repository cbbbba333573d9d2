import type { NodeRun } from '../core/cluster.ts'
import { systemTimers, type Timers } from '../core/timers.ts'

/**
 * What a cluster stands on. Two implementations: NATS (`nats-*.ts`) and the processes of one machine
 * (`machine-*.ts`); tests simulate a third.
 */

/** Carries messages between nodes: each at most once, in the order of sending, or not at all. */
export interface Transport {
  /** False: what is sent now is lost. */
  readonly isConnected: boolean
  /** Bytes, one per character (U+0000 to U+00FF). */
  send(node: string, message: string): void
  /** To all other nodes. */
  broadcast(message: string): void
  onMessage: (message: string) => void
  /** What was sent before may have been lost. */
  onReconnected: () => void
  close(): Promise<void>
}

/** `value` is absent: the key was removed. */
export type Change = {
  readonly key: string
  readonly value: string | undefined
  readonly revision: number
  /** The registry has it no more, and nobody is known to have removed it. */
  readonly isLost?: true
}

/**
 * A small table that all nodes agree on. Each change gets a revision, greater than all before it,
 * whatever its key; keys are changed on condition that they were not changed meanwhile. All nodes see
 * all changes in the same order, perhaps not each state that a key was in.
 *
 * Keys: `[-A-Za-z0-9_./=]`, at most 200 characters.
 */
export interface Registry {
  readonly isConnected: boolean
  /**
   * `expected` is the revision of the key's last change as the writer knows it, 0 for a key that is
   * not there. Resolves to the new revision. Rejects with `RegistryConflict` when it was another, with
   * anything else when it is not known whether it was written.
   */
  put(key: string, value: string, expected: number): Promise<number>
  /** Likewise. */
  remove(key: string, expected: number): Promise<number>
  get(key: string): Promise<Change | undefined>
  /**
   * Calls `onChange` for every key there is, then for each change. Resolves when all has been seen
   * that was there at the call. A registry may lose what it has: then each key that was seen or written
   * here is told as lost.
   */
  watch(onChange: (change: Change) => void): Promise<void>
  close(): Promise<void>
}

export class RegistryConflict extends Error {
  override readonly name = 'RegistryConflict'

  constructor(key: string) {
    super(`${key} was changed meanwhile`)
  }
}

/** Time as a node sees it, a parameter so that it can be simulated. */
export interface Clock extends Timers {
  /** Milliseconds, never going back. */
  now(): number
  /** Milliseconds since 1970; may be set. */
  wallTime(): number
  /** Calls `work` at the end of this turn of the event loop. */
  soon(work: () => void): void
}

export const systemClock: Clock = {
  ...systemTimers,
  now: () => performance.now(),
  wallTime: Date.now,
  soon: (work) => void setImmediate(work),
}

/** A run as text. */
export function keyOf({ node, epoch }: NodeRun): string {
  return `${node}:${epoch}`
}

export function runOf(key: string): NodeRun {
  const colon = key.lastIndexOf(':')
  return { node: key.slice(0, colon), epoch: Number(key.slice(colon + 1)) }
}

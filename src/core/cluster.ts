import type { Component } from './components.ts'
import type { Envelope } from './envelope.ts'
import type { Maybe } from './maybe.ts'
import type { Session } from './session.ts'

/**
 * What nodes ask one another: by topic what is asked and what is answered, both plain values of JSON.
 * Modules add their own by declaration merging.
 */
export interface Topics {
  /** Whether a node is there, and takes what it is sent. */
  ping: { readonly question: null; readonly answer: null }
}

export type Topic = keyof Topics
export type Question<T extends Topic> = Topics[T]['question']
export type Answer<T extends Topic> = Topics[T]['answer']

/** `from` is the node that asks. What is thrown is told to it as `ClusterError` `failed`. */
export type TopicHandler<T extends Topic> = (
  question: Question<T>,
  from: string,
) => Maybe<Answer<T>>

/**
 * - `lost`: the node is not there any more, so it has forgotten what it had;
 * - `failed`: it answers with an error;
 * - `unknown`: it knows no such topic.
 */
export type ClusterErrorKind = 'lost' | 'failed' | 'unknown'

export class ClusterError extends Error {
  override readonly name = 'ClusterError'
  readonly kind: ClusterErrorKind

  constructor(kind: ClusterErrorKind, message: string) {
    super(message)
    this.kind = kind
  }
}

/** A node that has not done what it was told, and why. */
export type Failure = { readonly node: string; readonly reason: string }

/** One start of a node's process: whatever has an older epoch is gone for good. */
export type NodeRun = { readonly node: string; readonly epoch: number }

export type NodeState = 'alive' | 'leaving' | 'gone'

export type NodeStatus = NodeRun & {
  readonly state: NodeState
  readonly isSelf: boolean
  /** Milliseconds since it was last heard of; 0 for this one. */
  readonly silentFor: number
  readonly version: string
  readonly sessions: number
  /** Entries that wait for its acknowledgement. */
  readonly waiting: number
}

/**
 * The nodes that serve the same domains together, this one among them. No node is special; one
 * alone is a cluster, too.
 */
export interface Cluster {
  /** This node, as it runs now. */
  readonly self: NodeRun
  /** Whether there may be others. */
  readonly isShared: boolean
  readonly nodes: readonly NodeStatus[]

  /**
   * A session of this node is to be known everywhere. Whoever has a session of the same full JID
   * elsewhere loses it. Resolves when that is decided; at once if the others are out of reach.
   */
  opened(session: Session): Maybe<void>
  /** Its priority, or what it shares, is another. */
  changed(session: Session): void
  /** It goes on at another node, which is about to say so. */
  released(session: Session): void
  /** It has ended, and what it had not delivered is decided about. */
  closed(session: Session): Maybe<void>

  componentConnected(component: Component): void
  /** It serves other domains. */
  componentChanged(component: Component): void
  componentGone(component: Component): void

  /** Whether a run is over, and all that it left is taken care of. */
  isTakenCareOf(run: NodeRun): boolean

  /** Hands the answer to a request of another node's own to it. False: there is no such node. */
  forward(node: string, envelope: Envelope): boolean

  /** Answers questions of other nodes, and of this one. Returns the undo. */
  on<T extends Topic>(topic: T, handler: TopicHandler<T>): () => void
  /** Asks one node, in the order of asking. Rejects with `ClusterError`. */
  ask<T extends Topic>(node: string, topic: T, question: Question<T>): Promise<Answer<T>>
  /**
   * Tells all other nodes. Resolves when each has taken it in, or is gone, to those where that failed,
   * which are logged. A promise only if there are others.
   */
  tell<T extends Topic>(topic: T, question: Question<T>): Maybe<readonly Failure[]>

  /**
   * Does `work` while no other node does anything under the same key. Here, too, one after the other.
   */
  exclusively<R>(key: string, work: () => Promise<R>): Promise<R>

  /** A value that all nodes have in common: the first that any of them proposed. */
  agreeOn(name: string, proposal: string): Promise<string>

  /**
   * Joins the others. Resolves when what the last run of this node has left is taken care of (hook
   * `node_remains`); from then on, so is what other nodes leave. For when all modules are loaded, before
   * anything listens.
   */
  start(): Promise<void>

  /** Components and new sessions are to go elsewhere; what is here goes on. */
  drain(): Promise<void>

  /**
   * Nothing is taken from others any more: what they have for this node stays with them until it is gone.
   * Resolves when what was taken is decided about.
   */
  closeIntake(): Promise<void>

  /** Resolves when other nodes answer for what they were handed, as far as they are there. */
  handedOver(): Promise<void>

  /** Others take over what is left here. For when nothing is served any more, before storage closes. */
  leave(): Promise<void>
}

/** Of several runs the last of each node. */
export function lastRuns(runs: readonly NodeRun[]): readonly NodeRun[] {
  const epochs = new Map<string, number>()
  for (const { node, epoch } of runs) epochs.set(node, Math.max(epoch, epochs.get(node) ?? 0))
  return Array.from(epochs, ([node, epoch]) => ({ node, epoch }))
}

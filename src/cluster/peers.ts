import type { NodeRun } from '../core/cluster.ts'
import type { Logger } from '../core/log.ts'
import type { Maybe } from '../core/maybe.ts'
import { HandOff } from './hand-off.ts'
import { HAND_OFF_ENTRIES } from './hand-off-entries.ts'
import type { Taker } from './intake.ts'
import { Link } from './link.ts'
import type { Message } from './message.ts'
import { QUESTION_ENTRIES, type Questions } from './questions.ts'
import type { Revisions } from './revisions.ts'
import { type Clock, keyOf, type Transport } from './transport.ts'

/** A run of another node. */
export type Peer = {
  readonly run: NodeRun
  /** The line to it. */
  readonly link: Link
  /** Stanzas that go over it, both ways. */
  readonly handOff: HandOff
  isLost: boolean
}

type Parts = {
  readonly self: () => NodeRun
  readonly transport: Transport
  readonly clock: Clock
  readonly log: Logger
  readonly taker: Taker
  readonly questions: Questions
  readonly revisions: Revisions
  /** How long stanzas wait for a node out of reach, milliseconds. */
  readonly patience: number
  /** Whether a run is over. */
  readonly isOver: (run: NodeRun) => boolean
  /** A run is over. False: nothing that it left is to be taken care of. */
  readonly onLost: (peer: Peer) => boolean
}

/** Runs of other nodes that this one has to do with, until what they left is taken care of. */
export class Peers {
  readonly #parts: Parts
  readonly #peers = new Map<string, Peer>()
  /** Nothing is taken from other nodes any more. */
  #isClosing = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** One that is over already is lost from the beginning. */
  of(run: NodeRun): Peer {
    const known = this.#peers.get(keyOf(run))
    if (known !== undefined) return known
    const { self, clock, log, transport, taker, questions, revisions, patience } = this.#parts
    const take = (entry: string, number: number): Maybe<unknown> => {
      const kind = entry[0] as string
      if (HAND_OFF_ENTRIES.includes(kind)) return handOff.take(entry, number)
      if (QUESTION_ENTRIES.includes(kind)) questions.take(entry, link)
      else log.warn('cluster_entry_unknown', { from: run.node, kind })
      return undefined
    }
    const link: Link = new Link({
      self: self(),
      peer: run,
      clock,
      log,
      isConnected: () => transport.isConnected,
      send: (message) => transport.send(run.node, message),
      take,
      onAcknowledged: (upTo) => handOff.onAcknowledged(upTo),
      written: () => revisions.written,
      seen: (revision) => revisions.seen(revision),
    })
    const isClosing = () => this.#isClosing
    const handOff: HandOff = new HandOff({ link, clock, taker, patience, isClosing })
    const peer = { run, link, handOff, isLost: false }
    this.#peers.set(keyOf(run), peer)
    if (this.#parts.isOver(run)) this.#lose(peer)
    return peer
  }

  receive(run: NodeRun, { header, entries }: Message): void {
    this.of(run).link.receive(header, entries)
  }

  /** Entries that a run has not acknowledged. */
  waitingFor(run: NodeRun): number {
    return this.#peers.get(keyOf(run))?.link.waiting ?? 0
  }

  /** Called now and then: what has waited too long for a node out of reach goes elsewhere. */
  expire(): void {
    for (const { handOff, isLost } of this.#peers.values()) if (!isLost) handOff.expire()
  }

  /** What was sent may have been lost. */
  resend(): void {
    for (const { link, isLost } of this.#peers.values()) if (!isLost) link.resend()
  }

  get isClosing(): boolean {
    return this.#isClosing
  }

  /** What comes from now on stays with the others. Resolves when all that came before is decided about. */
  async closeIntake(): Promise<void> {
    this.#isClosing = true
    for (const { handOff } of this.#peers.values()) await handOff.decidedAll
    for (const { link } of this.#peers.values()) link.acknowledgeNow()
  }

  /** Resolves when the others, but for one node, have dealt with what they were handed so far. */
  async decided(except: string): Promise<void> {
    const others = this.#peers.values().filter(({ run }) => run.node !== except)
    await Promise.all(Array.from(others, ({ handOff }) => handOff.allDecided))
  }

  /** Resolves when the others answer for all that they were handed. */
  async handedOver(): Promise<void> {
    for (const { handOff, isLost } of this.#peers.values()) if (!isLost) await handOff.safe
  }

  close(): void {
    for (const { link } of this.#peers.values()) link.close()
  }

  /** A run, and the node's runs before, are over. */
  lose({ node, epoch }: NodeRun): void {
    for (const peer of this.#peers.values()) {
      if (peer.run.node === node && peer.run.epoch <= epoch && !peer.isLost) this.#lose(peer)
    }
  }

  /** What a run left is taken care of. */
  forget(run: NodeRun): void {
    this.#peers.delete(keyOf(run))
  }

  #lose(peer: Peer): void {
    peer.isLost = true
    peer.handOff.lose()
    peer.link.close()
    this.#parts.questions.lose(peer.link)
    if (!this.#parts.onLost(peer)) this.forget(peer.run)
  }
}

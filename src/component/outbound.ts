import type { Connection } from '../connection/connection.ts'
import type { Envelope } from '../core/envelope.ts'
import { Outcome } from '../core/outcome.ts'
import { inPortions, weigh } from '../core/portions.ts'
import type { Router } from '../core/router.ts'
import { type StanzaCondition, StanzaError } from '../xmpp/stanza-error.ts'
import { countKind } from '../xmpp/stanza-kind.ts'

const BY = 'component'

/**
 * The way out to a component. What it does not read waits here, up to a limit, and its senders'
 * acknowledgements with it; when the connection is gone, what it had not taken goes back to the
 * senders as errors. What the kernel took may be lost with the connection: the protocol has no
 * acknowledgements.
 */
export class Outbound {
  readonly #connection: Connection
  readonly #router: Router
  readonly #maxQueued: number
  readonly #forwarded: Outcome
  #queue: Envelope[] = []
  /** Octets of `#queue`. */
  #queued = 0
  /** Written, and not known to be taken by the kernel. */
  #unflushed: Envelope[] = []
  /** How many of those somebody waits for already. */
  #awaited = 0
  #isClosed = false

  /** `name` is what outcomes call the component; `maxQueued` is in octets. */
  constructor(connection: Connection, router: Router, name: string, maxQueued: number) {
    this.#connection = connection
    this.#router = router
    this.#maxQueued = maxQueued
    this.#forwarded = new Outcome('forwarded', BY, name)
  }

  send(envelope: Envelope): Outcome {
    if (this.#isClosed) return this.#bounce(envelope, 'service-unavailable')
    if (this.#queue.length === 0 && !this.#connection.isBlocked) {
      this.#write(envelope)
      return this.#forwarded
    }
    const weight = weigh(envelope)
    if (this.#queued + weight > this.#maxQueued) {
      return this.#bounce(envelope, 'remote-server-timeout')
    }
    this.#queue.push(envelope)
    this.#queued += weight
    envelope.settlement?.begin()
    return this.#forwarded
  }

  /** What was written leaves. */
  flushing(): void {
    const count = this.#unflushed.length - this.#awaited
    if (count === 0) return
    this.#awaited += count
    this.#connection.onceFlushed(() => {
      this.#unflushed.splice(0, count)
      this.#awaited -= count
    })
  }

  /** Goes on with what waited, as far as the socket takes it. */
  drain(): void {
    let taken = 0
    while (taken < this.#queue.length && !this.#connection.isBlocked) {
      const envelope = this.#queue[taken++] as Envelope
      this.#queued -= weigh(envelope)
      this.#write(envelope)
      envelope.settlement?.finish()
    }
    this.#queue.splice(0, taken)
  }

  /** Nothing more is taken. What waited goes back; what was written may still arrive. */
  close(): Promise<void> {
    this.#isClosed = true
    this.flushing()
    const waiting = this.#queue
    this.#queue = []
    this.#queued = 0
    return inPortions(waiting, (envelope) => {
      this.#bounce(envelope, 'service-unavailable')
      envelope.settlement?.finish()
    })
  }

  /** The connection is gone, and with it what the kernel had not taken. */
  async lost(): Promise<void> {
    await this.close()
    const written = this.#unflushed
    this.#unflushed = []
    this.#awaited = 0
    await inPortions(written, (envelope) => this.#bounce(envelope, 'service-unavailable'))
  }

  #write(envelope: Envelope): void {
    this.#connection.write(envelope.stanza.toForeignOctets(envelope.from, envelope.to))
    countKind(this.#router.counts.sent.component, envelope.stanza.kind)
    this.#unflushed.push(envelope)
  }

  #bounce(envelope: Envelope, condition: StanzaCondition): Outcome {
    return this.#router.bounce(envelope, new StanzaError(condition), BY)
  }
}

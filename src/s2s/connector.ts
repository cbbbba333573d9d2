import type { Socket } from 'node:net'
import type { Logger } from '../core/log.ts'
import { dial } from './dial.ts'
import type { OutgoingOwner, OutgoingStream } from './outgoing-stream.ts'
import { Redirected, StreamFailure } from './stream-failure.ts'
import type { Target, TargetFinder } from './targets.ts'

type Parts = {
  readonly finder: TargetFinder
  /** Until a peer accepts us, at each target; milliseconds. */
  readonly connectTimeout: number
  readonly log: Logger
  /** A stream on a connected socket, not started. */
  open(socket: Socket, target: Target, owner: OutgoingOwner): OutgoingStream
}

/** Time for one connection, in those that all targets of a domain may take together. */
const MOST_ATTEMPTS = 3

/** From one server to the next, which all have to be the one of the domain (RFC 6120 §4.9.3.19). */
const MOST_REDIRECTS = 3

/** Opens streams to the servers of domains. */
export class Connector {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /**
   * Resolves when the first server that will have us has negotiated; `first` is where one of them said to
   * go. Rejects with why none has.
   */
  async reach(owner: OutgoingOwner, first?: Target): Promise<void> {
    const { finder, connectTimeout, log } = this.#parts
    const last = Date.now() + connectTimeout * MOST_ATTEMPTS
    const targets = [...(await finder.find(owner.remote))]
    if (first !== undefined) targets.unshift(first)
    let redirects = 0
    let failure: unknown
    for (let target = targets.shift(); target !== undefined; target = targets.shift()) {
      // However long DNS took, one of them is tried.
      if (failure !== undefined && Date.now() >= last) break
      try {
        return await this.#try(target, owner)
      } catch (error) {
        failure = error
        log.debug('s2s_target_failed', { ...target, reason: reasonOf(error) })
        if (error instanceof Redirected && redirects++ < MOST_REDIRECTS)
          targets.unshift(error.target)
      }
    }
    throw failure
  }

  async #try(target: Target, owner: OutgoingOwner): Promise<void> {
    const { finder, connectTimeout, open } = this.#parts
    const { host, port } = target
    const addresses = await finder.addressesOf(host)
    const deadline = AbortSignal.timeout(connectTimeout)
    const socket = await dial({ host, port, addresses }, deadline)
    const stream = open(socket, target, owner)
    const late = () => stream.fail(new StreamFailure('no answer'))
    deadline.addEventListener('abort', late, { once: true })
    try {
      stream.start()
      await stream.negotiated
    } finally {
      deadline.removeEventListener('abort', late)
    }
  }
}

/** For the log. */
export function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return reasonOf(error.errors[0])
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message
}

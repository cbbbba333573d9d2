import { StanzaError } from '../xmpp/stanza-error.ts'
import type { Envelope } from './envelope.ts'
import type { Outcome } from './outcome.ts'
import type { Router } from './router.ts'

/** The way to other servers. */
export interface RemoteServers {
  /** Sends to the server of `envelope.to`, or bounces. */
  send(envelope: Envelope): Outcome | Promise<Outcome>
}

/** For the administrator's eyes: how it stands between one domain of ours and one of another server. */
export type LinkStatus = {
  readonly local: string
  readonly remote: string
  readonly state: 'open' | 'connecting' | 'waiting' | 'idle'
  /** We have opened the connection, not the other server. */
  readonly isOurs: boolean
  /** Stanzas go both ways on it. */
  readonly isTwoWay: boolean
  /** Stanzas are acknowledged (XEP-0198). */
  readonly isManaged: boolean
  /** Stanzas that wait for a connection, and their octets. */
  readonly waiting: number
  readonly waitingBytes: number
  /** Stanzas sent whose arrival is not known. */
  readonly unacknowledged: number
}

/** A server that speaks with no other: for it, no other domain exists. */
export class NoRemoteServers implements RemoteServers {
  readonly #router: Router

  constructor(router: Router) {
    this.#router = router
  }

  send(envelope: Envelope): Outcome {
    return this.#router.bounce(envelope, new StanzaError('remote-server-not-found'), 's2s')
  }
}

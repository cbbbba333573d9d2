import { StanzaError } from '../xmpp/stanza-error.ts'
import type { Envelope } from './envelope.ts'
import type { Outcome } from './outcome.ts'
import type { Router } from './router.ts'

/** The way to other servers. */
export interface RemoteServers {
  /** Sends to the server of `envelope.to`, or bounces. */
  send(envelope: Envelope): Outcome | Promise<Outcome>
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

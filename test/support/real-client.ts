import { existsSync } from 'node:fs'
import type { Expected, Received } from './inbox.ts'

/** How a client that others wrote gets to the server on 127.0.0.1. */
export interface ClientOptions {
  /** Bare, or full to ask for a resource. */
  readonly jid: string
  readonly password: string
  readonly port: number
  /**
   * `verified` and `insecure` demand STARTTLS, and `verified` a certificate of `ca` for the
   * domain; `direct` is TLS from the first byte, with such a certificate too.
   */
  readonly tls: 'none' | 'insecure' | 'verified' | 'direct'
  /** A PEM file. */
  readonly ca?: string
  /** Whether to fetch the roster and become available once logged in; true unless told otherwise. */
  readonly isAvailable?: boolean
}

/** What the stories need of any client, whoever wrote it. */
export interface RealClient extends AsyncDisposable {
  /** The full JID that the server bound. */
  readonly jid: string
  /** Sends a chat message and answers its id. */
  sendChat(to: string, body: string): Promise<string>
  /** Subscription requests and their answers. */
  sendSubscription(
    to: string,
    type: 'subscribe' | 'subscribed' | 'unsubscribe' | 'unsubscribed',
  ): Promise<void>
  roster(): Promise<RosterItem[]>
  /** Takes the first stanza that fits, now or once it comes. */
  receives(expected: Expected): Promise<Received>
  /** Everything sent to this client before now has arrived: is there really none that fits? */
  receivesNo(expected: Expected): Promise<void>
  /** Closes the stream and waits until it is closed. */
  close(): Promise<void>
}

export interface RosterItem {
  readonly jid: string
  readonly name: string
  readonly subscription: string
  readonly ask: string
  readonly groups: readonly string[]
}

/** A reason to skip a test, or false: for the option `skip` of `node:test`. */
export function missing(...programs: readonly string[]): string | false {
  const absent = programs.filter((program) => !existsSync(program))
  return absent.length === 0 ? false : `not installed: ${absent.join(', ')}`
}

export function fail(text: string, found: readonly Received[]): never {
  throw new Error(`${text}\n${found.map(({ xml }) => `  ${xml}`).join('\n')}`)
}

import type { Connection } from '../connection/connection.ts'
import type { TlsCertificates } from '../connection/tls.ts'
import type { Accounts } from '../core/accounts.ts'
import type { Hooks } from '../core/hooks.ts'
import type { Logger } from '../core/log.ts'
import type { PasswordGuesses } from '../core/password-guesses.ts'
import type { ParserLimits } from '../xmpp/xml-parser.ts'
import type { SessionEnvironment } from './client-session.ts'
import type { SaslPolicy } from './sasl/offer.ts'

/** One hosted domain as its clients' streams see it. */
export type Host = {
  readonly domain: string
  readonly accounts: Accounts
  readonly session: SessionEnvironment
  /** False once the domain is going: nobody gets a session any more. */
  readonly isServed: boolean
}

export type StreamPolicy = {
  /** `required`: STARTTLS before anything else; `starttls`: offered; `none`: neither. */
  readonly startTls: 'required' | 'offered' | 'none'
  readonly sasl: SaslPolicy
  /** Before the session is bound, and after. */
  readonly preAuthLimits: ParserLimits
  readonly limits: ParserLimits
  /** Octets a client may send before it is authenticated. */
  readonly preAuthBytes: number
}

export type StreamEnvironment = {
  readonly hosts: ReadonlyMap<string, Host>
  /** For clients that name no domain, and for errors before one is known. */
  readonly defaultHost: () => Host
  readonly policy: StreamPolicy
  readonly certificates: TlsCertificates | undefined
  /** Over all connections. */
  readonly guesses: PasswordGuesses
  readonly hooks: Hooks
  readonly log: Logger
  /** A client without a session was granted what it asked for, such as an account. */
  readonly onGranted: (connection: Connection) => void
  /** The negotiation is over: with a session, or without. */
  readonly onEnd: (connection: Connection) => void
}

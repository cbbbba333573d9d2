/**
 * What a server has switched on.
 *
 * - `bare`: roster, presence, offline messages; no client extension in use.
 * - `typical`: what a usual public server runs; clients use stream management and carbons.
 * - `archive`: `typical`, and every message is archived for both sides.
 */
export type Variant = 'bare' | 'typical' | 'archive'

export const VARIANTS: readonly Variant[] = ['bare', 'typical', 'archive']

/** What a server and its clients have switched on. */
export interface Setting {
  readonly variant: Variant
  /** TLS 1.3 by STARTTLS; else none. */
  readonly tls?: boolean
  /** SASL SCRAM-SHA-256, and no plain passwords in the server's store; else SASL PLAIN. */
  readonly scram?: boolean
  /** A component (XEP-0114) serves the domain `COMPONENT.domain`. */
  readonly component?: boolean
}

/** Files in PEM. */
export interface Certificate {
  readonly certificate: string
  readonly key: string
}

export interface Setup extends Omit<Setting, 'tls' | 'component'> {
  /** With TLS, which clients may do without. */
  readonly tls?: Certificate
  /** Where the component connects, on 127.0.0.1. */
  readonly componentPort?: number
  /** On 127.0.0.1, free until the server takes it. */
  readonly port: number
  /** The server's own; empty at the first start, kept over restarts. */
  readonly directory: string
}

/** How to run a server in the foreground. */
export interface Launch {
  readonly command: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** Whether `probe.ts` is loaded, which answers over a channel. */
  readonly hasProbe?: boolean
}

/** Accounts are `user0@localhost`, `user1@localhost` and so on, with one password. */
export const PASSWORD = 'secret'

export const COMPONENT = { domain: 'room.localhost', secret: 'secret' } as const

/**
 * A server to measure. It serves the domain `localhost` over TCP, lets anybody register any number
 * of accounts in-band (XEP-0077) unless it brings `register`, takes SASL PLAIN, and limits no
 * traffic.
 */
export interface Target {
  readonly name: string
  /** `raw` joins connections pairwise and knows no XMPP. */
  readonly protocol: 'xmpp' | 'raw'
  /** Takes part only when it is asked for by name. */
  readonly isExtra?: boolean
  readonly variants: readonly Variant[]
  /** Undefined where it is not installed. */
  version(): string | undefined
  /** Writes the configuration that the returned command reads. */
  launch(setup: Setup): Launch
  /** Creates accounts on the running server, if it has a better way than in-band registration. */
  register?(setup: Pick<Setup, 'directory'>, accounts: number): Promise<void>
}

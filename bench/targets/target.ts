/**
 * What a server has switched on.
 *
 * - `bare`: roster, presence, offline messages; no client extension in use.
 * - `typical`: what a usual public server runs; clients use stream management and carbons.
 * - `archive`: `typical`, and every message is archived for both sides.
 */
export type Variant = 'bare' | 'typical' | 'archive'

export const VARIANTS: readonly Variant[] = ['bare', 'typical', 'archive']

export interface Setup {
  readonly variant: Variant
  /** On 127.0.0.1, free until the server takes it. */
  readonly port: number
  /** The server's own; empty at the first start, kept over restarts. */
  readonly directory: string
}

/** How to run a server in the foreground. */
export interface Launch {
  readonly command: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
}

/** Accounts are `user0@localhost`, `user1@localhost` and so on, with one password. */
export const PASSWORD = 'secret'

/**
 * A server to measure. It serves the domain `localhost` over plain TCP, lets anybody register any
 * number of accounts in-band (XEP-0077) unless it brings `register`, takes SASL PLAIN, and limits
 * no traffic.
 */
export interface Target {
  readonly name: string
  /** `raw` joins connections pairwise and knows no XMPP. */
  readonly protocol: 'xmpp' | 'raw'
  readonly variants: readonly Variant[]
  /** Undefined where it is not installed. */
  version(): string | undefined
  /** Writes the configuration that the returned command reads. */
  launch(setup: Setup): Launch
  /** Creates accounts on the running server, if it has a better way than in-band registration. */
  register?(setup: Pick<Setup, 'directory'>, accounts: number): Promise<void>
}

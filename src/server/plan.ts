import type { Config, LoadedConfig } from '../config.ts'
import type { Federation } from '../s2s/federation.ts'

/** What a server is to be: what it is made of is made from this, at its start and ever after. */
export type Plan = {
  readonly loaded: LoadedConfig
  readonly config: Config
  /** The hosted domains, those of the file first. */
  readonly domains: readonly string[]
  /** Domains whose stanzas go back to their senders. */
  readonly closed: readonly string[]
  /** The type of each hosted domain, and of those that are going as long as they have sessions. */
  readonly types: ReadonlyMap<string, string>
  /** As it will be; set once it is made ready. */
  federation?: Federation | undefined
}

import { Lanes } from '../../core/lanes.ts'
import { scopesOf } from '../../core/privacy.ts'
import { type Jid, parseJid } from '../../xmpp/jid.ts'
import type { AccessListStore, ListName } from './store.ts'

/** Addresses by list, both in memory: every stanza asks. */
export class AccessLists {
  readonly #store: Pick<AccessListStore, 'all'>
  readonly #lanes = new Lanes()
  #blacklist: ReadonlySet<string> = new Set()
  #whitelist: ReadonlySet<string> = new Set()
  /** Of everything on the whitelist. */
  #domainsOfWhitelist: ReadonlySet<string> = new Set()

  constructor(store: Pick<AccessListStore, 'all'>) {
    this.#store = store
  }

  /** Whether everybody may communicate with everybody. */
  get isEmpty(): boolean {
    return this.#blacklist.size === 0 && this.#whitelist.size === 0
  }

  /** By code point. */
  of(list: ListName): readonly string[] {
    return [...(list === 'blacklist' ? this.#blacklist : this.#whitelist)]
  }

  /** What is stored, from now on. */
  async load(): Promise<void> {
    // Of two reads at the same time the earlier could come to its end last.
    await this.#lanes.run('load', () => this.#load())
  }

  async #load(): Promise<void> {
    const rows = await this.#store.all()
    const named = (which: ListName) =>
      new Set(rows.filter(({ list }) => list === which).map(({ address }) => address))
    this.#blacklist = named('blacklist')
    this.#whitelist = named('whitelist')
    this.#domainsOfWhitelist = new Set(
      [...this.#whitelist].map((address) => parseJid(address).domain),
    )
  }

  /**
   * Whether people here may communicate with somebody elsewhere. Of all that names the address, on
   * whichever list, the narrowest decides (XEP-0016 §2.1). A service of our own need not be on the whitelist.
   */
  allows(jid: Jid, isOwnService: boolean): boolean {
    for (const scope of scopesOf(jid)) {
      if (this.#blacklist.has(scope)) return false
      if (this.#whitelist.has(scope)) return true
    }
    return isOwnService || this.#whitelist.size === 0
  }

  /** Whether anybody at all of another server may be allowed. */
  allowsServer(domain: string): boolean {
    if (this.#domainsOfWhitelist.has(domain)) return true
    return this.#whitelist.size === 0 && !this.#blacklist.has(domain)
  }
}

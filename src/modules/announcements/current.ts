import { Lanes } from '../../core/lanes.ts'
import { type Announcement, type AnnouncementStore, KINDS, type Kind } from './store.ts'

/** What is announced, all in memory: every login asks. */
export class CurrentAnnouncements {
  readonly #store: Pick<AnnouncementStore, 'all'>
  readonly #lanes = new Lanes()
  #byKey = new Map<string, Announcement>()

  constructor(store: Pick<AnnouncementStore, 'all'>) {
    this.#store = store
  }

  get isEmpty(): boolean {
    return this.#byKey.size === 0
  }

  of(domain: string, kind: Kind): Announcement | undefined {
    return this.#byKey.get(keyOf(domain, kind))
  }

  /** What is stored, from now on. */
  async load(): Promise<void> {
    // Of two reads at the same time the earlier could come to its end last.
    await this.#lanes.run('load', async () => {
      const all = await this.#store.all()
      this.#byKey = new Map(all.map((each) => [keyOf(each.domain, each.kind), each]))
    })
  }

  forgetDomain(domain: string): void {
    for (const kind of KINDS) this.#byKey.delete(keyOf(domain, kind))
  }
}

function keyOf(domain: string, kind: Kind): string {
  return `${kind} ${domain}`
}

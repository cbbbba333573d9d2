import type { Coherence } from '../../core/coherence.ts'
import type { ContactInfo } from '../../core/hook-map.ts'
import { resultOf } from '../../core/hooks.ts'
import type { ModuleContext } from '../../core/module.ts'
import type { BareJid, Jid } from '../../xmpp/jid.ts'
import { RETRACT_NS } from './eligibility.ts'
import { textOf } from './full-text.ts'
import { ArchiveIds } from './ids.ts'
import { PreferenceStore } from './preference-store.ts'
import type { DefaultMode } from './preferences.ts'
import { Recorder } from './recorder.ts'
import { Retractions } from './retractions.ts'
import { SearchIndex } from './search-index.ts'
import { ArchiveStore } from './store.ts'
import { ArchiveWriter } from './writer.ts'

/** Accounts whose preferences are kept in memory. */
const CACHED_PREFERENCES = 50_000
/** Stands for somebody who is not in the roster. */
const STRANGER: ContactInfo = { subscription: 'none', groups: [] }

type Settings = {
  readonly default: DefaultMode
  readonly groupchat: boolean
  readonly markers: boolean
  readonly max_pending: number
}

/** The archives of all accounts as long as there are any, whatever settings come and go. */
export class Archive {
  readonly store: ArchiveStore
  readonly preferences: PreferenceStore
  readonly recorder: Recorder
  readonly index: SearchIndex
  /** Resolves when ids can be given. */
  readonly opened: Promise<void>
  readonly #writer: ArchiveWriter
  readonly #retractions: Retractions

  constructor(
    { storage, cluster, hooks, routes, clock, log }: ModuleContext<unknown>,
    settingsOf: (domain?: string) => Settings,
    coherence: Coherence,
  ) {
    const ids = new ArchiveIds(() => clock.now())
    this.store = new ArchiveStore(storage)
    const { store } = this
    this.opened = store.newestOfAll().then((newest) => {
      if (newest !== undefined) ids.startAbove(newest)
    })
    this.opened.catch(() => {})
    this.#writer = new ArchiveWriter({
      insert: (messages) => store.insert(messages),
      get maxBytes() {
        return settingsOf().max_pending
      },
      log,
    })
    const written = () => this.written()
    this.index = new SearchIndex({ storage, cluster, store, written, log })
    this.preferences = new PreferenceStore(
      storage,
      (domain) => settingsOf(domain).default,
      CACHED_PREFERENCES,
      coherence,
    )
    this.#retractions = new Retractions({ store, written, log })

    const isContact = (owner: Jid, peer: Jid): boolean | Promise<boolean> => {
      const domainType = routes.find(owner.domain)?.domainType
      const params = { owner: owner.toBare(), contact: peer.toBare() }
      const verdict = hooks.at('roster_get_jid_info', domainType).run(STRANGER, params)
      if (!(verdict instanceof Promise)) return resultOf(verdict, STRANGER) !== STRANGER
      return verdict.then((later) => resultOf(later, STRANGER) !== STRANGER)
    }
    this.recorder = new Recorder({
      ids,
      preferences: this.preferences,
      isContact,
      log,
      eligibleFor: (domain) => settingsOf(domain),
      write: (message, stanza, settlement) => {
        const text = store.fullText === undefined ? undefined : textOf(stanza)
        void this.#writer.add(text === undefined ? message : { ...message, text }, settlement)
        if (stanza.hasNamespace(RETRACT_NS)) this.#retractions.look(message, stanza)
      },
      room: () => this.room,
      discard: (owner, id) => {
        const removed = written().then(() => store.remove(owner, id))
        removed.catch((error) => log.error('archive_not_discarded', { owner, id, error }))
      },
    })
  }

  /** Resolves when the store has caught up with what came; `undefined` if it keeps up. */
  get room(): Promise<void> | undefined {
    return this.#writer.room
  }

  /** What came so far can be read, unless the store takes nothing. */
  async written(): Promise<void> {
    await this.recorder.done()
    await this.#writer.written()
  }

  /** Forgets what is kept of an account in memory, and on the disk. */
  async remove(account: BareJid): Promise<void> {
    await this.written()
    await this.preferences.remove(account)
    await this.store.removeOf(account)
  }

  async close(): Promise<void> {
    await this.index.stop()
    await this.recorder.done()
    await this.#writer.close()
    await this.#retractions.done()
  }
}

import type { Cluster } from '../../core/cluster.ts'
import type { Logger } from '../../core/log.ts'
import type { Storage } from '../../core/storage.ts'
import { FullText } from './full-text.ts'
import type { ArchiveStore } from './store.ts'

declare module '../../core/cluster.ts' {
  interface Topics {
    /** The node that asks has made an index: what others archive is to be in it, too. */
    archive_indexed: { readonly question: null; readonly answer: null }
  }
}

type Parts = {
  readonly storage: Storage
  readonly cluster: Pick<Cluster, 'isShared' | 'tell'>
  readonly store: ArchiveStore
  /** Resolves when what was archived so far is in the store. */
  readonly written: () => Promise<void>
  readonly log: Logger
}

/**
 * The full text index as long as some settings want one. Where nodes share the storage it is theirs
 * together, even if only some of them search: as long as it is there every node keeps it up to date, and
 * none removes it, for others that want it may just not run.
 */
export class SearchIndex {
  readonly #parts: Parts
  /** Settings in use that want it. */
  readonly #wanted = new Set<object>()
  #index: FullText | undefined
  #catchingUp: Promise<void> | undefined
  #isStopped = false

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** From here on all that is archived is indexed. Rejects if there can be no index. */
  async want(settings: object): Promise<void> {
    this.#wanted.add(settings)
    this.#index ??= await FullText.open(this.#parts.storage)
    this.#parts.store.fullText = this.#index
  }

  /** `mayRemove`: the archive goes on with other settings. */
  async unwant(settings: object, mayRemove: boolean): Promise<void> {
    this.#wanted.delete(settings)
    if (mayRemove) await this.follow()
  }

  /** Catches up with what was archived without an index, or removes one that nobody wants. */
  async follow(): Promise<void> {
    const { storage, store, cluster, written } = this.#parts
    if (this.#wanted.size > 0) {
      await cluster.tell('archive_indexed', null)
      return this.#catchUp()
    }
    if (this.#isOthersToo) {
      await this.#find()
      return
    }
    store.fullText = undefined
    this.#index = undefined
    await this.stop()
    await written()
    await FullText.remove(storage)
  }

  /** Another node may have made one; what was archived here meanwhile is to be in it. */
  async look(): Promise<void> {
    if (!this.#isOthersToo || this.#index !== undefined) return
    const index = await this.#find()
    if (index === undefined) return
    await this.#parts.written()
    await index.extend()
    this.#catchUp()
  }

  get #isOthersToo(): boolean {
    const { storage, cluster } = this.#parts
    return storage.isShared && cluster.isShared
  }

  /** From here on all that is archived is in the index, if there is one. */
  async #find(): Promise<FullText | undefined> {
    const { storage, store } = this.#parts
    this.#index ??= await FullText.find(storage)
    store.fullText = this.#index
    return this.#index
  }

  #catchUp(): void {
    const { store, log } = this.#parts
    this.#isStopped = false
    const index = this.#index
    if (index === undefined) return
    this.#catchingUp ??= store
      .indexed()
      .then(() => index.catchUp(() => this.#isStopped))
      .catch((error) => log.error('archive_not_indexed', { error }))
      .then(() => {
        this.#catchingUp = undefined
      })
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#catchingUp
    this.#catchingUp = undefined
  }
}

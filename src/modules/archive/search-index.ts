import type { Logger } from '../../core/log.ts'
import type { Storage } from '../../core/storage.ts'
import { FullText } from './full-text.ts'
import type { ArchiveStore } from './store.ts'

type Parts = {
  readonly storage: Storage
  readonly store: ArchiveStore
  /** Resolves when what was archived so far is in the store. */
  readonly written: () => Promise<void>
  readonly log: Logger
}

/** The full text index as long as some settings want one. */
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
    const { storage, store, written, log } = this.#parts
    if (this.#wanted.size === 0) {
      store.fullText = undefined
      this.#index = undefined
      await this.stop()
      await written()
      await FullText.remove(storage)
      return
    }
    this.#isStopped = false
    this.#catchingUp ??= this.#index
      ?.catchUp(() => this.#isStopped)
      .catch((error) => log.error('archive_not_indexed', { error }))
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#catchingUp
    this.#catchingUp = undefined
  }
}

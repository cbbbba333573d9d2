/**
 * What a stanza's acknowledgement waits for: writes that were submitted on its way and are not yet
 * safe on the disk. Delivery waits for none of them.
 *
 * Made by whoever will acknowledge the stanza (a client's session with stream management); shared by
 * all envelopes made from the first one.
 */
export class Settlement {
  #pending: Promise<unknown> | undefined

  /** The stanza counts as handled once `write` is done, too. A failed write leaves it unhandled. */
  waitFor(write: Promise<unknown>): void {
    this.#pending = this.#pending === undefined ? write : Promise.all([this.#pending, write])
    // Whoever acknowledges may come later to see it fail.
    this.#pending.catch(() => {})
  }

  /** Resolves when all is safe; `undefined` if nothing is waited for. Rejects if a write failed. */
  get done(): Promise<unknown> | undefined {
    return this.#pending
  }
}

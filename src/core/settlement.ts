export interface SettlementListener {
  /** All is safe. */
  onSettled(settlement: Settlement): void
  /** Something is not, and will not be. */
  onUnsettled(settlement: Settlement, error: unknown): void
}

/**
 * What a stanza's acknowledgement waits for: writes that were begun on its way and are not yet safe
 * on the disk. Delivery waits for none of them.
 *
 * Made by whoever will acknowledge the stanza (a client's session with stream management); shared by
 * all envelopes made from the first one.
 */
export class Settlement {
  #open = 0
  #failure: { readonly error: unknown } | undefined
  #listener: SettlementListener | undefined
  #done: PromiseWithResolvers<void> | undefined
  /** For whoever counts what is not settled yet: how much it is, octets. */
  weight: number | undefined

  /** The stanza counts as handled once `write` is done, too. A failed write leaves it unhandled. */
  waitFor(write: Promise<unknown>): void {
    this.begin()
    write.then(
      () => this.finish(),
      (error) => this.fail(error),
    )
  }

  /** As `waitFor`, where there is no promise: `finish` or `fail` must follow. */
  begin(): void {
    this.#open++
  }

  finish(): void {
    this.#open--
    if (!this.isSettled) return
    // Whoever gives the stanza back begins other writes: those have an end of their own.
    this.#done?.resolve()
    this.#done = undefined
    this.#listener?.onSettled(this)
  }

  fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = { error }
    this.#done?.reject(error)
    this.#listener?.onUnsettled(this, error)
  }

  /** Nothing is waited for, and nothing failed. */
  get isSettled(): boolean {
    return this.#open === 0 && this.#failure === undefined
  }

  /** Tells one listener what becomes of it. */
  tell(listener: SettlementListener): void {
    this.#listener = listener
    if (this.#failure !== undefined) listener.onUnsettled(this, this.#failure.error)
  }

  /** Resolves when all is safe; `undefined` if nothing is waited for. Rejects if a write failed. */
  get done(): Promise<void> | undefined {
    if (this.isSettled) return undefined
    if (this.#done === undefined) {
      this.#done = Promise.withResolvers()
      this.#done.promise.catch(() => {})
      if (this.#failure !== undefined) this.#done.reject(this.#failure.error)
    }
    return this.#done.promise
  }
}

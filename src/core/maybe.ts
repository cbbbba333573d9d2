/**
 * A value that is there, or will be: what is done for each stanza seldom waits for anything, and must
 * not pay for a promise.
 */
export type Maybe<T> = T | Promise<T>

/** `next` of a value that may have to be waited for. */
export function after<T, R>(value: Maybe<T>, next: (value: T) => Maybe<R>): Maybe<R> {
  return value instanceof Promise ? value.then(next) : next(value)
}

/** Waits for what there is to wait for. */
export function settled(work: readonly Maybe<unknown>[]): Maybe<void> {
  const pending = work.filter((one) => one instanceof Promise)
  return pending.length === 0 ? undefined : Promise.all(pending).then(() => {})
}
